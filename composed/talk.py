"""Talk goes to stderr, so that the results on stdout can be piped."""

from __future__ import annotations

import sys

__all__ = ["say"]


def say(text: str, end: str = "\n") -> None:
    """Tell the person at the terminal, at once."""
    print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201  # the one place that talks
