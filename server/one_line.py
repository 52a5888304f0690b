"""A log format for Gunicorn and Django: no client can forge a line or steer a terminal.

Paths, queries and headers reach the log, in messages of ours and of libraries.
"""

import logging
import textwrap
from typing import Any

__all__ = ["OneLine"]


class OneLine(logging.Formatter):
    """Write each message as a line; escape what is not printable, in tracebacks as well.

    ``indent`` goes before each line of a traceback: the text of an error may have line ends.
    """

    def __init__(self, *arguments: Any, indent: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._indent = indent

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        lines = super().formatException(ei).split("\n")
        return textwrap.indent("\n".join(map(_printable, lines)), self._indent)


def _printable(text: str) -> str:
    """Escape control characters, line ends of every kind, invisible and half characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
