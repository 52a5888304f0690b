"""Shows how far a stream of bytes has come."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from composed.talk import say

__all__ = ["Progress", "size"]

UNITS = ("KiB", "MiB", "GiB", "TiB")

# Often enough for eyes on a terminal, seldom enough for a log.
SECONDS_ON_A_TERMINAL, SECONDS_IN_A_LOG = 0.2, 5.0
WORTH_A_WORD = 1.0  # seconds


class Progress:
    """One line that is updated on a terminal, else a line every few seconds and at the end."""

    def __init__(self, what: str, total: int = 0) -> None:
        self._what, self._total = what, total
        self._terminal = sys.stderr.isatty()
        self._every = SECONDS_ON_A_TERMINAL if self._terminal else SECONDS_IN_A_LOG
        self._done, self._start = 0, time.monotonic()
        self._shown = self._start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show where it ended, well or not, unless nobody had time to wonder."""
        if self._shown > self._start or time.monotonic() - self._start >= WORTH_A_WORD:
            self._show(last=True)

    def add(self, count: int) -> None:
        """Count so many bytes more."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """Say how many bytes are done altogether."""
        self._done = done
        if time.monotonic() - self._shown >= self._every:
            self._show()

    def _show(self, *, last: bool = False) -> None:
        self._shown = time.monotonic()
        seconds = self._shown - self._start
        of = f" of {size(self._total)}" if self._total and not last else ""
        rate = f", {size(int(self._done / seconds))}/s" if seconds > 0 else ""
        text = f"{self._what}: {size(self._done)}{of}, {seconds:.1f} s{rate}"
        say(f"\r{text}\x1b[K" if self._terminal else text, end="\n" if last else self._between)

    @property
    def _between(self) -> str:
        return "" if self._terminal else "\n"


def size(count: int) -> str:
    """Return a number of bytes for people: ``1.4 GiB``."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(UNITS))
    return f"{count / 1024**power:.1f} {UNITS[power - 1]}"
