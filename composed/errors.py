"""What can go wrong, each with its exit code from sysexits(3)."""

from __future__ import annotations

import signal

from invoke.exceptions import Exit

__all__ = [
    "ComposedError",
    "DataError",
    "DryRunEnded",
    "EngineError",
    "InputOutputError",
    "Interrupted",
    "NotFoundError",
    "NotReadyError",
    "PortTakenError",
    "RefusedError",
    "SettingError",
    "ValueWrongError",
    "end_with",
]


class ComposedError(Exit):
    """Superclass of all errors here; never raised directly.

    The first argument says what is wrong, with the name and the value seen;
    the others, a line each, say what to type. Invoke prints the message to
    stderr without a traceback and ends with the class's ``exit_code``.
    """

    exit_code = 1

    def __init__(self, problem: str, *hints: str) -> None:
        super().__init__("\n  ".join((problem, *hints)), self.exit_code)
        self.problem, self.hints = problem, hints

    def __str__(self) -> str:
        return str(self.message)


class ValueWrongError(ComposedError):
    """An option has a value it cannot have."""

    exit_code = 64


class DataError(ComposedError):
    """A snapshot or a dump is damaged, or not for this database."""

    exit_code = 65


class NotFoundError(ComposedError):
    """What was named is not there."""

    exit_code = 66


class EngineError(ComposedError):
    """There is no Docker Engine, or it does not answer."""

    exit_code = 69


class PortTakenError(ComposedError):
    """A port the stack publishes belongs to something else."""

    exit_code = 73


class InputOutputError(ComposedError):
    """A disk or the database failed while data was read or written."""

    exit_code = 74


class NotReadyError(ComposedError):
    """The stack did not become ready."""

    exit_code = 75


class RefusedError(ComposedError):
    """Nothing was done: consent or permission is missing."""

    exit_code = 77


class SettingError(ComposedError):
    """A setting is missing or wrong."""

    exit_code = 78


class Interrupted(Exit):
    """A signal ended the verb: 128 and its number, 130 for Ctrl-C, as shells count."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(None, 128 + number)


class DryRunEnded(Exit):
    """A dry run has shown all commands that need no result of an earlier command."""

    def __init__(self) -> None:
        super().__init__(None, 0)


def end_with(code: int) -> None:
    """End the verb with the exit code of what ran, which has spoken for itself."""
    if code:
        # Popen counts a death by signal as negative; shells count it from 128.
        raise Exit(None, code if code > 0 else 128 - code)
