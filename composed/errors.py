"""The errors of verbs, each with an exit code from sysexits(3)."""

import re
import signal

from invoke.exceptions import Exit

from composed.naming import named

# Characters that change the terminal, or the direction of the text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return lines that a terminal can show: a path or a value in them may hold any character.

    Commands in them begin with the name of the program.
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], named(text))


class ComposedError(Exit):
    """The base of all errors; only subclasses are raised.

    ``problem`` names the fault with the value seen, each of ``hints`` a command to type. Invoke
    prints all of them to stderr, without a traceback, and exits with ``exit_code``.
    """

    exit_code = 1

    def __init__(self, problem: str, *hints: str) -> None:
        super().__init__(printable("\n  ".join((problem, *hints))), self.exit_code)
        self.problem, self.hints = problem, hints

    def __str__(self) -> str:
        return str(self.message)


class ValueWrongError(ComposedError):
    """The value of an option is not valid."""

    exit_code = 64


class DataError(ComposedError):
    """A snapshot or a dump is damaged, or of another database."""

    exit_code = 65


class NotFoundError(ComposedError):
    """The thing with the name that was typed does not exist."""

    exit_code = 66


class NotSupportedError(NotFoundError):
    """The verbs on data support neither the database of Django nor its place."""


class EngineError(ComposedError):
    """There is no Docker Engine, or the engine does not answer."""

    exit_code = 69


class PortTakenError(ComposedError):
    """Another process has a port that the stack publishes."""

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


class OtherDatabaseError(SettingError):
    """Django uses another database than the one that the verbs would save."""


class Interrupted(Exit):
    """A signal ended the verb: 128 and the signal's number, 130 for Ctrl-C, as in shells."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(None, 128 + number)


class DryRunEnded(Exit):
    """A dry run has shown all commands that need no result of an earlier command."""

    def __init__(self) -> None:
        super().__init__(None, 0)


def end_with(code: int) -> None:
    """End the verb silently with the exit code of a command that has printed the error."""
    if code:
        # Popen counts a death by signal as negative; shells count from 128.
        raise Exit(None, code if code > 0 else 128 - code)
