"""Status lines and progress: rewritten on a terminal, plain lines in a log."""

import io
import sys

import pytest

from composed import terminal
from composed.terminal import Progress, StatusLine, size
from tests.samples import Capsys, MonkeyPatch


@pytest.fixture
def clock(monkeypatch: MonkeyPatch) -> list[float]:
    """Return a clock whose only value can be set."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_few_seconds_and_at_the_end(
    clock: list[float], capsys: Capsys
) -> None:
    with Progress("Dumping", 4096) as progress:
        progress.add(1024)
        clock[0] = 5.0
        progress.add(1024)
        clock[0] = 8.0
        progress.add(2048)

    assert capsys.readouterr().err == (
        "Dumping: 2.0 KiB of 4.0 KiB, 5.0 s, 409 B/s\nDumping: 4.0 KiB, 8.0 s, 512 B/s\n"
    )


def test_what_is_quick_is_not_worth_a_word(clock: list[float], capsys: Capsys) -> None:
    with Progress("Dumping") as progress:
        clock[0] = 0.9
        progress.add(2048)

    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_that_is_updated(
    clock: list[float], capsys: Capsys, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("Dumping") as progress:
        clock[0] = 1.0
        progress.reach(2048)

    assert capsys.readouterr().err == (
        "\r\x1b[2KDumping: 2.0 KiB, 1.0 s, 2.0 KiB/s\r\x1b[2KDumping: 2.0 KiB, 1.0 s, 2.0 KiB/s\n"
    )


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_a_size_for_people(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("is_terminal", "term", "shown"),
    [
        (True, "xterm", "\r\x1b[2Ka (0 s)\r\x1b[2Ka (0 s)\r\x1b[2Kb (0 s)\r\x1b[2K"),
        (True, "dumb", "a\nb\n"),
        (False, "xterm", "a\nb\n"),
    ],
)
def test_a_status_line_is_rewritten_on_a_terminal(
    is_terminal: bool, term: str, shown: str, monkeypatch: MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(terminal, "SECONDS_OF_SILENCE", 0)
    line = StatusLine()

    for text in ("a", "a", "b"):
        line.show(text, " (0 s)")
    line.end()

    assert stderr.getvalue() == shown


def test_a_short_wait_shows_nothing(capsys: Capsys) -> None:
    line = StatusLine()
    line.show("a")
    line.end()

    assert capsys.readouterr().err == ""
