"""PostgreSQL's own programs in the database container: command lines, answers, errors."""

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from composed.database import identifier, literal
from composed.errors import InputOutputError
from composed.gateway import Answer, Gateway
from composed.terminal import Progress

LAST_LINES, WIDTH = 10, 300

# The words of a program before the reason; the server writes them in the language of its setting.
_REASON = re.compile(r"\b(?:ERROR|FATAL|PANIC|error):")

# A template cannot be dropped.
_DROP = """\
SELECT format('ALTER DATABASE %I WITH IS_TEMPLATE false', datname)
  FROM pg_database WHERE datname = {text} AND datistemplate \\gexec
DROP DATABASE IF EXISTS {name} WITH (FORCE);
"""

_NO_ROLE = re.compile(r'FATAL: +role ".*" does not exist')
_KILLED = (137, 143)  # exit codes of a program in a container that ends: SIGKILL, SIGTERM
_OTHER_USER = "The volume was made for another user. For the ways out: inv up"


@dataclass
class Psql:
    """Runs PostgreSQL's programs as the role ``user`` of a server.

    ``inside`` turns words into a command that runs the words in the database container.
    ``note`` tells the readers of an error the state of their data; ``secret`` is a
    password that no error may show.
    """

    gateway: Gateway
    inside: Callable[..., list[str]]
    user: str
    note: str = ""
    secret: str = field(default="", repr=False)

    def program(self, name: str, *args: str) -> list[str]:
        """Return the command of a program that logs in to the server."""
        return self.inside(name, "--username", self.user, *args)

    def command(self, database: str, *args: str) -> list[str]:
        """Return the command of a psql that prints bare rows and stops at the first error."""
        # A prompt for a password would read the script.
        bare = ("--no-password", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
        return self.program("psql", *bare, "--set", "ON_ERROR_STOP=1", "--dbname", database, *args)

    def sql(self, script: str, database: str = "postgres") -> str:
        """Run a script and return the rows; raise :class:`InputOutputError` when it fails."""
        return self.checked("psql", self.feed(self.command(database), [script.encode()]))

    def feed(
        self, argv: list[str], chunks: Iterable[bytes], progress: Progress | None = None
    ) -> Answer:
        """Write the chunks to the stdin of a program and wait for the end of the program.

        A program that ends before the last chunk is not an error here: see the exit code.
        """
        with self.gateway.pipe(argv) as pipe, progress or contextlib.nullcontext():
            with contextlib.suppress(BrokenPipeError):
                for chunk in chunks:
                    pipe.stdin.write(chunk)
                    if progress:
                        progress.add(len(chunk))
            return pipe.end()

    def checked(self, program: str, answer: Answer) -> str:
        """Return the stdout of a program; raise :class:`InputOutputError` when it failed."""
        if answer.code:
            raise self.error(program, answer)
        return answer.out

    def error(self, program: str, answer: Answer) -> InputOutputError:
        """Return the error of a program that failed, with the note and without the secret."""
        return failure(program, answer, self.note, self.secret)


def unless_exists(command: str) -> str:
    """Return SQL that runs a command such as CREATE ROLE; a role that exists stays as it is."""
    return f"DO {literal(f'BEGIN {command}; EXCEPTION WHEN duplicate_object THEN NULL; END')};\n"


def drop_database(name: str) -> str:
    """Return SQL that drops a database, also a template, if there is one of this name."""
    return _DROP.format(name=identifier(name), text=literal(name))


def failure(program: str, answer: Answer, note: str = "", secret: str = "") -> InputOutputError:
    """Return the error of a program: the exit code, the caller's note, the last lines."""
    hidden = answer.err
    for form in (secret, literal(secret)[1:-1]) if secret else ():
        hidden = hidden.replace(form, "[secret]")
    problem = f"{program} ended with {answer.code}{note and f'; {note}'}:"
    if was_stopped(answer):
        return stopped(problem, answer)
    cures = [_OTHER_USER] if _NO_ROLE.search(answer.err) else []
    return InputOutputError(problem, *last_lines(hidden), *cures)


def was_stopped(answer: Answer) -> bool:
    """Return whether a signal ended a program before it could say anything.

    That is so where its container is stopped, as by `inv restart` beside this verb.
    """
    return (answer.code < 0 or answer.code in _KILLED) and not answer.err.strip()


def stopped(problem: str, answer: Answer) -> InputOutputError:
    """Return the error of such a program; ``problem`` ends with a colon."""
    what = "the database" if answer.code > 0 else "the command"  # `docker` of this machine
    problem = f"{problem} {what} was stopped meanwhile."
    return InputOutputError(problem, "Type the same command again.")


def last_lines(text: str) -> list[str]:
    """Return the lines in which a program says why it failed: from the first error on."""
    lines = [line[:WIDTH] for line in text.strip().splitlines()]
    first = next((n for n, line in enumerate(lines) if _REASON.search(line)), -LAST_LINES)
    return lines[first:][:LAST_LINES]
