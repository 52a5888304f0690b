"""The format of the log."""

import logging
from typing import Any

import pytest
from one_line import OneLine

HOSTILE = "a\nFAKE\r\x1b[31m\x9b31m\x85\u2028\u202e\ufeff\x00\x7f\ud800z"


def formatted(message: str, *arguments: object) -> str:
    record = logging.LogRecord("name", logging.ERROR, "file", 1, message, arguments, None)
    return OneLine("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize("message", [(HOSTILE,), ("%s", HOSTILE), ("%(a)s", {"a": HOSTILE})])
def test_a_message_is_a_printable_line(message: Any) -> None:
    line = formatted(*message)

    assert line.isprintable()
    assert line.startswith(r"ERROR a\nFAKE\r\x1b[31m\x9b31m\x85\u2028\u202e")


def test_a_readable_message_stays_as_it_is() -> None:
    text = "Grüße, 練習 ✓ \\ \"'"

    assert formatted(text) == f"ERROR {text}"


def test_the_text_of_an_error_forges_no_line() -> None:
    values = {"msg": "failed", "exc_info": (ValueError, ValueError(HOSTILE), None)}
    record = logging.makeLogRecord(values)

    first, *traceback = OneLine(indent="  ").format(record).splitlines()

    assert first == "failed"
    assert traceback[0].startswith("  ValueError: a")
    assert all(line.isprintable() and line.startswith("  ") for line in traceback)
