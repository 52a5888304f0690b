"""Status lines and progress: rewritten on a terminal, plain lines in a log."""

from __future__ import annotations

import io
import sys

import pytest

from composed import terminal
from composed.terminal import Progress, StatusLine, size


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a clock whose only value can be set."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_few_seconds_and_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
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


def test_what_is_quick_is_not_worth_a_word(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("Dumping") as progress:
        clock[0] = 0.9
        progress.add(2048)

    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_that_is_updated(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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
    ("is_terminal", "variables", "shown"),
    [
        (True, {"TERM": "xterm"}, "\r\x1b[2Ka (0 s)\r\x1b[2Ka (0 s)\r\x1b[2Kb (0 s)\r\x1b[2K"),
        (True, {"TERM": "dumb"}, "a\nb\n"),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, "a\nb\n"),
        (False, {"TERM": "xterm"}, "a\nb\n"),
    ],
)
def test_a_status_line_is_rewritten_on_a_terminal(
    is_terminal: bool, variables: dict[str, str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(terminal, "SECONDS_OF_SILENCE", 0)
    line = StatusLine()

    for text in ("a", "a", "b"):
        line.show(text, " (0 s)")
    line.end()

    assert stderr.getvalue() == shown


def test_a_short_wait_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = StatusLine()
    line.show("a")
    line.end()

    assert capsys.readouterr().err == ""
