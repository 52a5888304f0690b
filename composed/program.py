"""The program ``inv``: Invoke, with our version, and with the nearest verb for a word unknown."""

import difflib
import platform
import re
import sys

import invoke
from invoke import Program
from invoke.exceptions import Exit, ParseError

from composed import __version__
from composed.errors import InputOutputError, printable
from composed.signals import end_quietly, open_closed_streams
from composed.terminal import say, write_results

# Words of other programs, and what they mean here.
MEANINGS = {
    "help": "--list",
    "start": "up",
    "run": "up",
    "serve": "up",
    "runserver": "up",
    "stop": "down",
    "status": "ps",
    "log": "logs",
    "exec": "shell",
    "bash": "shell",
    "sh": "shell",
    "psql": "dbshell",
    "sql": "dbshell",
    "compose": "dc",
    "docker": "dc",
    "rebuild": "build",
    "init": "env",
    "check": "doctor",
    "version": "--version",
    "dump": "db.snapshot",
    "backup": "db.snapshot",
}


class Inv(Program):
    """Invoke's program, in the words of Composed; ``called`` is the word that users type."""

    called = "inv"

    def print_version(self) -> None:
        """Print the version of Composed, and of what Composed runs on."""
        parts = f"Invoke {invoke.__version__}, Python {platform.python_version()}"
        print(f"composed {__version__} ({parts})")  # noqa: T201

    def no_tasks_given(self) -> None:
        """Show the verbs."""
        print(f"Usage: {self.called} VERB [--options] [-- words for the command inside]\n")  # noqa: T201
        self.list_tasks()
        print(f"Explain a verb: {self.called} VERB --help")  # noqa: T201
        raise Exit

    def parse_tasks(self) -> None:
        """Raise :class:`ParseError` with the nearest verb or option."""
        try:
            super().parse_tasks()
        except ParseError as error:
            raise self._in_our_words(error) from None

    def parse_cleanup(self) -> None:
        """Raise :class:`ParseError` with the nearest verb: ``--help VERB`` names one."""
        try:
            super().parse_cleanup()
        except ParseError as error:
            raise self._in_our_words(error) from None

    def _in_our_words(self, error: ParseError) -> ParseError:
        match = re.fullmatch(r"No idea what '(.+)' is!", str(error))
        if not match:
            return ParseError(printable(str(error)), error.context)
        word, context = match[1], error.context
        if word.startswith("-"):
            verb = f" {context.name}" if context and context.name else ""
            kind, known, see = (
                f"option of {self.called}{verb}",
                [*(context.flags if context else ())],
                "--help",
            )
        else:
            verb, kind, known, see = "", "verb", [*self.parser.contexts], "--list"
        hints = [f"Perhaps: {self.called}{verb} {near}"] if (near := nearest(word, known)) else []
        lines = (f"{word!r} is no {kind}.", *hints, f"See all: {self.called}{verb} {see}")
        return ParseError("\n  ".join(lines), context)


def nearest(word: str, known: list[str]) -> str:
    """Return the known word that was probably meant, "" for none."""
    meaning = MEANINGS.get(word, "")
    if meaning in known or meaning.startswith("--"):
        return meaning
    own = {name.rpartition(".")[2]: name for name in known} | {name: name for name in known}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), own, n=1, cutoff=0.6)
    return own[close[0]] if close else ""


def adopt() -> None:
    """Give the ``inv`` that imports the verbs, a program of Invoke, the ways of this program."""
    if main := sys.modules.get("invoke.main"):
        end_quietly()
        main.program.__class__ = Inv


def main() -> None:
    """Run ``inv``."""
    names = ["invoke", "inv"]  # of Invoke's scripts for the completion
    run(Inv(version=__version__, name="Composed", binary="inv", binary_names=names))


def run(program: Program) -> None:
    """Run a verb, or print what Invoke prints; no traceback for an output that is full or gone."""
    end_quietly()
    open_closed_streams()
    try:
        try:
            program.run()
        finally:
            write_results()
    except OSError as error:
        say(f"{error.filename or 'stdout'}: {error.strerror}.")
        sys.exit(InputOutputError.exit_code)
