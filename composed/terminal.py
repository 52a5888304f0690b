"""The terminal: text on stderr, questions, tables, and a line that is rewritten."""

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Self

from composed.errors import RefusedError, printable
from composed.naming import named

ERASE_LINE = "\x1b[2K"
UNITS = ("KiB", "MiB", "GiB", "TiB")

SECONDS_OF_SILENCE = 1.0  # most work is done by then
SECONDS_ON_A_TERMINAL, SECONDS_IN_A_LOG = 0.2, 5.0  # between two lines of progress


def say(text: str, end: str = "\n") -> None:
    """Print a message to stderr at once: stdout is kept for results, which can be piped."""
    _write(printable(text), end)


def show(text: str) -> None:
    """Print a result that may name commands to stdout."""
    print(named(text))  # noqa: T201


def _write(text: str, end: str = "") -> None:
    print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201  # the only print to stderr


def shown(name: str) -> str:
    """Return the name of a file as a terminal can show it: the name may hold any bytes."""
    return name if name.isprintable() else ascii(name)


def write_results() -> None:
    """Write what stdout still keeps; after an OSError, stdout takes nothing more.

    Else Python would write again at the end, and print a second error.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "stdout") from None


def ask(question: str, *, yes: bool, again: str) -> None:
    """Return when the user agrees, at once with ``yes``; otherwise raise :class:`RefusedError`.

    Without a terminal the error names ``again``, the command that agrees.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RefusedError(f"{question} No terminal to confirm on.", f"To agree: {again}")
    say(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError("Nothing was changed.")


def is_plain(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the user wants text without escape codes: NO_COLOR, or a dumb terminal."""
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"


def plain_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return variables that ask commands in a container for plain text, Django included."""
    if not is_plain(environ):
        return {}
    plain = {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor"}
    return plain | ({"TERM": "dumb"} if environ.get("TERM") == "dumb" else {})


def columns() -> int:
    """Return the width of the terminal on stdout; 0 without a terminal or a known width."""
    if sys.stdout.isatty():
        with contextlib.suppress(OSError):
            return os.get_terminal_size(sys.stdout.fileno()).columns
    return 0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows, headings first, in columns as wide as their widest cell.

    In a terminal too narrow for the columns each row becomes a block of lines.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if not 0 < columns() < max(map(len, lines)):
        return "\n".join(lines)
    headings = [heading.lower() for heading in rows[0]]
    blocks = (
        "\n".join(f"{name}: {cell}" for name, cell in zip(headings, row, strict=True) if cell)
        for row in rows[1:]
    )
    return "\n\n".join(blocks)


def size(count: int) -> str:
    """Return a number of bytes with its unit: ``1.4 GiB``."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(UNITS))
    return f"{count / 1024**power:.1f} {UNITS[power - 1]}"


def choose(question: str, answers: Sequence[str]) -> str:
    """Return the answer whose number the user types; "" for none, and without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    say(question)
    for number, answer in enumerate(answers, 1):
        say(f"  {number}  {answer}")
    say("The number, or nothing to leave it open: ", end="")
    typed = sys.stdin.readline().strip()
    known = {str(number): answer for number, answer in enumerate(answers, 1)}
    return known.get(typed, "")


class StatusLine:
    """A line on stderr: rewritten on a terminal, else printed anew for each new text."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.rewrites = sys.stderr.isatty() and not is_plain()
        self._shown = ""

    @property
    def seconds(self) -> float:
        """The seconds since the start of the work."""
        return time.monotonic() - self.began

    def show(self, text: str, suffix: str = "") -> None:
        """Show the text after a second of silence; a terminal gets the ``suffix`` too."""
        if self.seconds < SECONDS_OF_SILENCE:
            return
        if self.rewrites:
            _write(f"\r{ERASE_LINE}{printable(text)}{suffix}")
        elif text != self._shown:
            say(text)
        self._shown = text

    def end(self, last: str = "") -> None:
        """Replace the line by ``last``; without ``last``, remove the line from a terminal."""
        if last:
            self.show(last, suffix="\n")
        elif self.rewrites and self._shown:
            _write(f"\r{ERASE_LINE}")


class Progress:
    """The number of bytes done so far, of ``total``, on a status line; 0 is an unknown total."""

    def __init__(self, label: str, total: int = 0) -> None:
        self._label, self._total, self._done = label, total, 0
        self._line = StatusLine()
        self._every = SECONDS_ON_A_TERMINAL if self._line.rewrites else SECONDS_IN_A_LOG
        self._shown = self._line.began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Show the last state, after an error too."""
        self._line.end(self._text())

    def add(self, count: int) -> None:
        """Count ``count`` more bytes."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """Set the number of bytes done so far."""
        self._done = done
        if time.monotonic() - self._shown >= self._every:
            self._shown = time.monotonic()
            self._line.show(self._text(f" of {size(self._total)}" if self._total else ""))

    def _text(self, total: str = "") -> str:
        seconds = self._line.seconds
        rate = f", {size(int(self._done / seconds))}/s" if seconds > 0 else ""
        return f"{self._label}: {size(self._done)}{total}, {seconds:.1f} s{rate}"
