"""What the terminal can show: how many columns, and whether anything but plain text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

__all__ = ["columns", "is_plain", "plain_environment"]


def is_plain(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether the caller wants text without escape codes: NO_COLOR, or a dumb terminal."""
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"


def plain_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what asks commands inside for the same; Django knows a variable of its own."""
    if not is_plain(environ):
        return {}
    plain = {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor"}
    return plain | ({"TERM": "dumb"} if environ.get("TERM") == "dumb" else {})


def columns() -> int:
    """Return the width of the terminal that stdout is; 0 where it is none or does not say."""
    if not sys.stdout.isatty():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 0
