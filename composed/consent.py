"""Asks before data is destroyed, with No as default."""

from __future__ import annotations

import sys

from composed.errors import RefusedError
from composed.talk import say

__all__ = ["ask"]


def ask(question: str, *, yes: bool, again: str) -> None:
    """Return when the answer is yes; raise :class:`RefusedError` otherwise.

    ``yes`` answers beforehand. Without a terminal nobody can be asked: the error
    then names ``again``, the command that says yes.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RefusedError(f"{question} Nobody is here to answer.", f"To say yes: {again}")
    say(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError("Nothing was changed.")
