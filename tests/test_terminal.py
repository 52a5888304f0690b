"""Tables, status lines and progress, on a terminal and in a log."""

import io
import os
import sys

import pytest

from composed import terminal
from composed.terminal import Progress, StatusLine, size, table
from tests.samples import Capsys, MonkeyPatch

ROWS = [("SERVICE", "ADDRESS", "TYPE"), ("backend", "http://127.0.0.1:8000", ""), ("db", "-", "x")]
WIDE = """\
SERVICE  ADDRESS                TYPE
backend  http://127.0.0.1:8000
db       -                      x"""
BLOCKS = """\
service: backend
address: http://127.0.0.1:8000

service: db
address: -
type: x"""


@pytest.mark.parametrize(("columns", "text"), [(0, WIDE), (36, WIDE), (35, BLOCKS), (10, BLOCKS)])
def test_a_wide_table_is_a_block_per_row(columns: int, text: str, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("composed.terminal.columns", lambda: columns)

    assert table(ROWS) == text


@pytest.mark.parametrize(
    ("is_terminal", "width", "columns"), [(False, 40, 0), (True, 40, 40), (True, None, 0)]
)
def test_only_a_terminal_with_a_known_width_has_columns(
    is_terminal: bool, width: int | None, columns: int, monkeypatch: MonkeyPatch
) -> None:
    def terminal_size(_: int) -> os.terminal_size:
        if width is None:
            raise OSError
        return os.terminal_size((width, 10))

    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    monkeypatch.setattr(os, "get_terminal_size", terminal_size)

    assert terminal.columns() == columns


@pytest.mark.parametrize(
    ("environ", "plain"),
    [
        ({"TERM": "xterm"}, {}),
        ({"NO_COLOR": ""}, {}),
        ({"NO_COLOR": "x"}, {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor"}),
        ({"TERM": "dumb"}, {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor", "TERM": "dumb"}),
    ],
)
def test_commands_inside_get_plain_text(environ: dict[str, str], plain: dict[str, str]) -> None:
    assert terminal.plain_environment(environ) == plain


@pytest.fixture
def clock(monkeypatch: MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    return seconds


def test_logs_get_a_line_every_5_seconds_and_at_the_end(clock: list[float], capsys: Capsys) -> None:
    with Progress("Dumping", 4096) as progress:
        progress.add(1024)
        clock[0] = 5.0
        progress.add(1024)
        clock[0] = 8.0
        progress.add(2048)

    assert capsys.readouterr().err == (
        "Dumping: 2.0 KiB of 4.0 KiB, 5.0 s, 409 B/s\nDumping: 4.0 KiB, 8.0 s, 512 B/s\n"
    )


def test_quick_work_shows_no_progress(clock: list[float], capsys: Capsys) -> None:
    with Progress("Dumping") as progress:
        clock[0] = 0.9
        progress.add(2048)

    assert capsys.readouterr().err == ""


def test_one_line_is_updated(clock: list[float], capsys: Capsys, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("Dumping") as progress:
        clock[0] = 1.0
        progress.reach(2048)

    line = "\r\x1b[2KDumping: 2.0 KiB, 1.0 s, 2.0 KiB/s"
    assert capsys.readouterr().err == f"{line}{line}\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_a_size_has_a_unit(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("is_terminal", "variables", "text"),
    [
        (True, {"TERM": "xterm"}, "\r\x1b[2Ka (0 s)\r\x1b[2Ka (0 s)\r\x1b[2Kb (0 s)\r\x1b[2K"),
        (True, {"TERM": "dumb"}, "a\nb\n"),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, "a\nb\n"),
        (False, {"TERM": "xterm"}, "a\nb\n"),
    ],
)
def test_a_status_line_is_rewritten_on_a_terminal(
    is_terminal: bool, variables: dict[str, str], text: str, monkeypatch: MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(terminal, "SECONDS_OF_SILENCE", 0)
    line = StatusLine()

    for shown in ("a", "a", "b"):
        line.show(shown, " (0 s)")
    line.end()

    assert stderr.getvalue() == text


def test_a_short_wait_shows_nothing(capsys: Capsys) -> None:
    line = StatusLine()
    line.show("a")
    line.end()

    assert capsys.readouterr().err == ""
