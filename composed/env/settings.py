"""The settings in force: process environment, then env files, then ``.env.example``."""

import errno
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream

from composed.compose_files import assigned, interpolated, stack_name
from composed.errors import SettingError
from composed.files import text as read
from composed.files import unusable
from composed.project import Project

NAME = "COMPOSE_PROJECT_NAME"
_SAVE = "Save it as plain UTF-8."
MOST = 1 << 20  # bytes of an env file
# For a comment, python-dotenv would search each of the blanks to the end of the run.
_BLANKS = re.compile(r"[^\S\r\n]{2000,}")


class Problem(NamedTuple):
    """A setting that no verb would accept; ``given`` unless the value is missing."""

    name: str
    seen: str
    cure: str
    given: bool = True


@dataclass(frozen=True)
class Settings:
    """The values and defaults of all settings; Compose reads the same ``files``.

    ``generated`` names the settings without a default: each project needs values of its own.
    """

    values: Mapping[str, str]
    files: tuple[Path, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)
    generated: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str:
        """Return the value, else the default; raises :class:`SettingError` without both."""
        if value := self.values.get(name) or self.defaults.get(name):
            return value
        cure = "Type: inv env" if name in self.generated else f"Write there: {name}=…"
        raise SettingError(f"{name} has no value in {self.files[-1].name}.", cure)

    def file_of(self, name: str) -> Path:
        """Return the last env file that sets the name, else the first, which may not be there."""
        there = [file for file in self.files if os.path.lexists(file)]
        naming = [file for file in there if name in assignments(read_text(file))]
        return naming[-1] if naming else self.files[0]

    def check(self) -> None:
        """Raise :class:`SettingError` for the first problem."""
        for problem in self.problems():
            raise SettingError(f"{problem.name} {problem.seen}.", problem.cure)

    def problems(self) -> Iterator[Problem]:
        """Yield each value that is missing or of the wrong kind; an empty value is the default."""
        for name in self.generated:
            if not (self.values.get(name) or self.defaults.get(name)):
                seen = f"has no value in {self.files[-1].name}"
                yield Problem(name, seen, "Type: inv env", given=False)
        names = (NAME, *self.generated)
        for name, default in {**dict.fromkeys(names, ""), **self.defaults}.items():
            value = self.values.get(name, "")
            is_port = name.rpartition("_")[2] == "PORT" and default.isdecimal()
            kind = _PORT if is_port else _NAMED.get(name)  # None: only the server knows the kind
            if kind and value and not kind.matches(value):
                yield Problem(name, f"is {value!r}", f"Valid: {kind.valid}.")


class _Kind(NamedTuple):
    """The valid values of a setting, in words and as a pattern."""

    valid: str
    pattern: str

    def matches(self, value: str) -> bool:
        matches = re.fullmatch(self.pattern, value, re.ASCII | re.IGNORECASE)
        return bool(matches) and (self is not _PORT or int(value) <= 65535)


_PORT = _Kind("a port from 1 to 65535, or 0 for any", r"\d+")
_COUNT = _Kind("a whole number from 1", r"0*[1-9]\d*")
_TRUTH = _Kind("true or false", "1|true|yes|on|0|false|no|off")
_NAME = _Kind("lower-case letters, digits, - and _", "(?-i:[a-z0-9][a-z0-9_-]*)")
_NAMED = {
    **dict.fromkeys(("GUNICORN_THREADS", "GUNICORN_TIMEOUT", "GUNICORN_GRACEFUL_TIMEOUT"), _COUNT),
    **dict.fromkeys(("WEB_CONCURRENCY", "STATEMENT_TIMEOUT", "MOST_PROCESSES"), _COUNT),
    **dict.fromkeys(
        ("BACKEND_MEMORY", "DB_MEMORY"), _Kind("a size like 512m or 2g", r"\d+[bkmg]?b?")
    ),
    **dict.fromkeys(("DEBUG", "HTTPS_ONLY"), _TRUTH),
    **dict.fromkeys(("APP_UID", "APP_GID"), _Kind("the number of a user or group", r"\d+")),
    "COMPOSE_PROJECT_NAME": _NAME,
    "COMPOSED_MODE": _Kind("auto, docker, local", "(?-i:auto|docker|local)"),
}


_DECLARED = r"^(?:# ?)?(?:export[ \t]+)?([A-Z][A-Z0-9_]*)=(.*)$"


def declared(example: str) -> dict[str, str]:
    """Return name and default of each ``NAME=value`` or ``# NAME=value`` in ``.env.example``."""
    lines = re.findall(_DECLARED, example, re.MULTILINE)
    return {name: "" if value.strip() in ('""', "''") else value for name, value in lines}


def example_of(project: Project) -> dict[str, str]:
    """Return names and defaults from the project's ``.env.example``, if there is one."""
    return declared(read_text(project.example)) if os.path.lexists(project.example) else {}


def generated_names(project: Project, example: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings to generate: the project name, and empty ids and ``secrets``.

    Compose names the stack of a project that does not ask for a name in ``.env.example``. Any
    further setting that ``.env.example`` leaves empty may stay empty.
    """
    made = ("APP_UID", "APP_GID", *project.secrets)
    named = ("COMPOSE_PROJECT_NAME",) if project.owns_env else ()
    return (*named, *(name for name in made if example.get(name) == ""))


def env_files(project: Project, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the env files: ``COMPOSE_ENV_FILES``, as Compose reads this variable, or ``.env``.

    Two are the ``.env`` of Compose's folder and the one above, which names that folder and wins.
    """
    if names := environ.get("COMPOSE_ENV_FILES"):
        return tuple(project.root / name.strip() for name in names.split(","))
    first, *more = project.compose.settings
    return tuple(more) if more and not os.path.lexists(first) else (first, *more)


def load_settings(
    project: Project, environ: Mapping[str, str] = os.environ, drafts: Mapping[Path, str] = {}
) -> Settings:
    """Read the settings; raises :class:`SettingError` when an env file is missing.

    A project whose ``.env`` is not made by Composed may have none, or one with lines that only
    other programs read, and the values of its ``.env.example`` are examples: no defaults.
    ``drafts`` are texts of env files that a dry run has not written. The process environment stays
    as it is: a setting there would win over Compose's ``--env-file``.
    """
    files, is_ours = env_files(project, environ), project.owns_env
    example = example_of(project) if is_ours else {}
    # Settings that the verbs read, for a project whose .env.example does not name them.
    fallbacks = {"COMPOSED_MODE": "auto", "GUNICORN_GRACEFUL_TIMEOUT": "30"}  # Gunicorn's default
    fallbacks |= {project.backend_port: "8000", "SQLITE_PATH": project.sqlite}
    values = dict(example)
    for file in files:
        if file in drafts or is_ours or os.path.lexists(file):
            text = drafts[file] if file in drafts else read_text(file)
            values |= assignments(text, file.name if is_ours else "")
    generated = generated_names(project, example)
    known = {*values, *fallbacks, *generated, NAME}
    values |= {name: environ[name] for name in known if name in environ}
    if not is_ours:  # as Compose does, which for ours reads the plain name in the env file
        known_values = {**values, **environ}
        own = interpolated(values.get(NAME, ""), known_values)
        values[NAME] = own or stack_name(project.compose, known_values) or "stack"
    return Settings(values, files, fallbacks | example, generated)


def assignments(text: str, name: str = "") -> dict[str, str]:
    """Return the settings in the text of an env file; a bare ``NAME`` sets nothing.

    With the ``name`` of the file, raises :class:`SettingError` for a line that is no assignment:
    python-dotenv would pass over the line, and Compose would fail. Without, such a line is left
    out, except ``NAME: value``, which Compose takes and python-dotenv does not.
    """
    values: dict[str, str | None] = {}
    for line in bindings(text):
        if line.error and name:
            problem = f"{name} has a line that is no assignment: line {line_number(line)}."
            cure = "Write it as NAME=value; see every problem: inv env --check"
            raise SettingError(problem, cure)
        if line.error:
            values |= assigned(line.original.string)
        elif line.key is not None:
            values[line.key] = line.value
    return {key: value for key, value in values.items() if value is not None}


def bindings(text: str) -> list[Binding]:
    """Return the lines of an env file as python-dotenv parses them, without interpolation."""
    return list(parse_stream(io.StringIO(text)))


def line_number(line: Binding) -> int:
    """Return the number of the assignment's line from 1; the binding starts with empty lines."""
    text = line.original.string
    return line.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def read_text(file: Path) -> str:
    """Return the text of an env file.

    Raises :class:`SettingError`, and :class:`RefusedError` for another user's file.
    """
    try:
        text = read(file, MOST)
    except FileNotFoundError:
        raise SettingError(f"There is no {file.name} in {file.parent}.", "Type: inv up") from None
    except PermissionError as error:
        raise unusable(file, error, "read") from None
    except OSError as error:
        cures = [_SAVE] if error.errno == errno.EILSEQ else []
        raise SettingError(f"{file} cannot be read: {error.strerror}.", *cures) from None
    if blanks := _BLANKS.search(text):
        number = text.count("\n", 0, blanks.start()) + 1
        problem = f"{file} cannot be read: line {number} has {len(blanks[0])} blanks in a row."
        raise SettingError(problem)
    return text
