"""A line on stderr that says what is being waited for."""

from __future__ import annotations

import os
import sys
import time

from composed.talk import say

__all__ = ["StatusLine"]

SECONDS_OF_SILENCE = 1.0  # most starts are over by then
ERASE = "\r\x1b[2K"


class StatusLine:
    """Shows one line: rewritten on a terminal, else a new one for each new text."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._rewrites = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""

    @property
    def seconds(self) -> int:
        """Whole seconds since the wait began."""
        return int(time.monotonic() - self._began)

    def show(self, text: str) -> None:
        """Show the text, unless the wait has only begun."""
        if time.monotonic() - self._began < SECONDS_OF_SILENCE:
            return
        if self._rewrites:
            say(f"{ERASE}{text} ({self.seconds} s)", end="")
        elif text != self._shown:
            say(text)
        self._shown = text

    def end(self) -> None:
        """Take a line away that was to be rewritten."""
        if self._rewrites and self._shown:
            say(ERASE, end="")
