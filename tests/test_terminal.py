"""What is shown where colours or columns are few."""

import os
import sys

import pytest

from composed import terminal
from composed.terminal import table
from tests.samples import MonkeyPatch

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


@pytest.mark.parametrize(("columns", "shown"), [(0, WIDE), (36, WIDE), (35, BLOCKS), (10, BLOCKS)])
def test_a_table_too_wide_for_the_terminal_is_a_block_a_row(
    columns: int, shown: str, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr("composed.terminal.columns", lambda: columns)

    assert table(ROWS) == shown


def test_a_pipe_has_no_width(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)

    assert terminal.columns() == 0


def test_a_terminal_has_its_own_width(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((40, 10)))
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)

    assert terminal.columns() == 40


def test_a_terminal_may_not_say_its_width(monkeypatch: MonkeyPatch) -> None:
    def refuse(_: int) -> os.terminal_size:
        raise OSError

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    monkeypatch.setattr(os, "get_terminal_size", refuse)

    assert terminal.columns() == 0


@pytest.mark.parametrize(
    ("environ", "plain"),
    [
        ({"TERM": "xterm"}, {}),
        ({"NO_COLOR": ""}, {}),
        ({"NO_COLOR": "x"}, {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor"}),
        ({"TERM": "dumb"}, {"NO_COLOR": "1", "DJANGO_COLORS": "nocolor", "TERM": "dumb"}),
    ],
)
def test_commands_inside_are_told(environ: dict[str, str], plain: dict[str, str]) -> None:
    assert terminal.plain_environment(environ) == plain
