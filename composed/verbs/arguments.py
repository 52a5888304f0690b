"""What follows ``--`` on the command line, word by word."""

from __future__ import annotations

import sys

__all__ = ["after_dashes"]


def after_dashes() -> list[str]:
    """Return the words after the first ``--``; Invoke's own remainder loses their quotes."""
    words = sys.argv
    return words[words.index("--") + 1 :] if "--" in words else []
