"""The check of the env contract: the env files against the declarations of the project."""

import ast
import contextlib
import difflib
import os
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding

from composed.compose_files import check_files
from composed.docker.compose import Compose
from composed.doctor.env_form import check_environ, check_form, check_readings
from composed.env.settings import (
    Settings,
    bindings,
    env_files,
    example_of,
    load_settings,
    read_text,
)
from composed.errors import ComposedError
from composed.files import text
from composed.findings import Finding
from composed.gateway import NOT_FOUND, Gateway
from composed.project import Project
from composed.redaction import is_secret

COMPOSE_FILE = "a Compose file"

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# os.environ.get(…), os.getenv(…), env.bool(…) of django-environ, config(…) of python-decouple.
# A plain `environ` can belong to a WSGI request.
_READER = re.compile(r"os\.(environ(\.get|\.pop)?|getenv)|\w*env(\.\w+)?|config", re.IGNORECASE)
# Names that Compose and Docker read from an env file themselves.
_PREDEFINED = {
    *(f"COMPOSE_{name}" for name in ("ANSI", "BAKE", "CONVERT_WINDOWS_PATHS", "ENV_FILES")),
    *(f"COMPOSE_{name}" for name in ("DISABLE_ENV_FILE", "EXPERIMENTAL", "FILE", "MENU")),
    *(f"COMPOSE_{name}" for name in ("IGNORE_ORPHANS", "PARALLEL_LIMIT", "PATH_SEPARATOR")),
    *(f"COMPOSE_{name}" for name in ("PROFILES", "PROGRESS", "PROJECT_NAME", "REMOVE_ORPHANS")),
    *(f"DOCKER_{name}" for name in ("API_VERSION", "BUILDKIT", "CERT_PATH", "CONFIG", "CONTEXT")),
    *(f"DOCKER_{name}" for name in ("DEFAULT_PLATFORM", "HOST", "TLS_VERIFY")),
    "BUILDKIT_PROGRESS",
}
# Names in the environment of every process.
_OF_THE_SYSTEM = {"HOME", "LANG", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER"}

_PLACEHOLDER = re.compile(
    r"(?i)<.*>|change[-_ ]?(me|it|this).*|your[-_ ].*|replace[-_ ].*|django-insecure-.*|todo|x{3,}"
)
_WEAK = re.compile(
    r"(pass(word|wd)?|secret|admin|root|postgres|test|example|default|qwerty|letmein|\d{1,8})\d{0,4}",
    re.IGNORECASE,
)


def check_env(
    project: Project, gateway: Gateway, environ: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Return the findings about the settings; writes nothing, needs no engine.

    Compares ``.env.example``, the env files, the Compose files and the project's
    ``settings_files``. No finding holds a secret.
    """
    try:
        check_files(project.root, project.compose)
    except ComposedError as error:  # Compose would never answer
        return [Finding.of("Compose file", error)]
    files, rows = env_files(project, environ), []
    if not project.owns_env:  # Compose takes a missing .env for an empty one
        files = tuple(file for file in files if os.path.lexists(file))
    texts: dict[Path, str] = {}
    for file in files:
        try:
            texts[file] = read_text(file)
        except ComposedError as error:
            rows.append(_unread(file, error))
    rows += [row for file, text in texts.items() for row in check_form(gateway, file, text)]
    lines = [line for text in texts.values() for line in bindings(text)]
    assigned = {line.key: line for line in lines if line.key and line.value is not None}
    try:
        # Lines that are no assignment have a finding already.
        drafts = dict.fromkeys(files, "") | {file: _valid(text) for file, text in texts.items()}
        settings = load_settings(project, environ, drafts)
    except ComposedError as error:
        return [*rows, _unread(project.example, error)]
    whole = len(texts) == len(files) and not any(line.error for line in lines)
    # Compose refuses a faulty file, which has a finding already: compare the rest without files.
    read = list(texts) if whole else [Path(os.devnull)]
    readers, required, unread = uses(project, gateway, read)
    contract = _Contract(example_of(project), settings, assigned, readers, required, environ, whole)
    # Of a file that is not ours, the names and the values are the project's own affair.
    rows += [*contract.findings(), *unread] if project.owns_env else contract.faults()
    if not whole:
        return rows
    rows += check_readings(gateway, read, contract.shared(), environ)
    with contextlib.suppress(ComposedError):  # no source: a finding of its own
        rows += check_environ(project.settings_paths, contract.assigned)
    return rows or [Finding("settings", "ok", "there is no .env here")]


def _unread(file: Path, error: ComposedError) -> Finding:
    if not os.path.lexists(file):
        cure = "inv env" if file.name == ".env" else "Make it, or take it out of COMPOSE_ENV_FILES"
        return Finding(file.name, "wrong", "missing: there is no such file", cure)
    return Finding.of(file.name, error)


def _valid(text: str) -> str:
    return "".join(line.original.string for line in bindings(text) if not line.error)


@dataclass(frozen=True)
class _Contract:
    """The settings in all files; a missing setting counts only if the env files are ``whole``."""

    example: Mapping[str, str]
    settings: Settings
    assigned: Mapping[str, Binding]
    readers: Mapping[str, str]
    required: Sequence[str]
    environ: Mapping[str, str]
    whole: bool

    def faults(self) -> list[Finding]:
        """Return the settings that are malformed or missing."""
        return [*self._malformed_or_missing()]

    def findings(self) -> list[Finding]:
        rows = [*self._malformed_or_missing(), *self._unknown(), *self._empty_or_weak()]
        if self.assigned and not rows:
            rows = [Finding("settings", "ok", f"{len(self.assigned)} set, all known")]
        return [*rows, *self._undeclared()]

    def shared(self) -> dict[str, Binding]:
        """Return all lines but a ``${NAME}`` that only Compose reads, and resolves."""
        return {
            name: line
            for name, line in self.assigned.items()
            if self.readers.get(name) != COMPOSE_FILE or "${" not in (line.value or "")
        }

    def _malformed_or_missing(self) -> Iterator[Finding]:
        missing = set()
        for name, seen, cure, given in self.settings.problems():
            if given:
                yield Finding(name, "wrong", f"malformed: it {seen}", cure)
            elif self.whole:
                missing.add(name)
                yield Finding(name, "wrong", "missing: it has no default", "inv env")
        values = {**self.settings.values, **self.environ}
        for name in self.required if self.whole else ():
            if name not in missing and not values.get(name):
                seen = "missing: a Compose file requires it"
                yield Finding(name, "wrong", seen, f"Write it in .env: {name}=…")

    def _unknown(self) -> Iterator[Finding]:
        known = {*self.example, *self.settings.defaults, *self.readers, *_PREDEFINED}
        for name in self.assigned:
            if not _knows(known, name):
                near = difflib.get_close_matches(name, known, 1)
                cure = f"Rename it: {near[0]}" if near else "Remove it, or write it in .env.example"
                yield Finding(name, "warning", "unknown: nothing reads it", cure)

    def _undeclared(self) -> Iterator[Finding]:
        for name, reader in self.readers.items():
            if not _knows({*self.example, *_PREDEFINED, *_OF_THE_SYSTEM}, name):
                near = difflib.get_close_matches(name, self.example, 1)
                cure = f"Add it to .env.example{f', or is it {near[0]}?' if near else ''}"
                seen = f"undeclared: {reader} reads it, .env.example has no such name"
                yield Finding(name, "warning", seen, cure)

    def _empty_or_weak(self) -> Iterator[Finding]:
        for name, line in self.assigned.items():
            value, default = line.value or "", self.settings.defaults.get(name)
            renew = "Empty it, then: inv env (a database keeps the old password)"
            cure = renew if name in self.settings.generated else "Write your own"
            if default and not value:
                yield Finding(name, "warning", f"empty: the default {default} counts")
            elif _PLACEHOLDER.fullmatch(value):
                yield Finding(name, "wrong", "placeholder: a text to be replaced", cure)
            elif value and is_secret(name) and value == self.example.get(name):
                yield Finding(name, "warning", "placeholder: the value of .env.example", cure)
            elif name in self.settings.generated and _is_weak_key(name, value):
                seen = f"weak: {len(value)} characters, where a key has 32 random ones or more"
                yield Finding(name, "wrong", seen, cure)
            elif is_secret(name) and _WEAK.fullmatch(value):
                yield Finding(name, "warning", "placeholder: a word that is easy to guess", cure)


def _is_weak_key(name: str, value: str) -> bool:
    """Return whether the value is no key that the server of this repository starts with."""
    return name.endswith("SECRET_KEY") and bool(value) and (len(value) < 32 or len({*value}) < 8)


def _knows(known: Collection[str], name: str) -> bool:
    """Return whether the name is known, or names a file with a known secret."""
    return name in known or name.removesuffix("_FILE") in known


def uses(
    project: Project, gateway: Gateway, files: Sequence[Path]
) -> tuple[dict[str, str], list[str], list[Finding]]:
    """Return the reader of each setting, the settings that a Compose file requires, and findings.

    ``files`` are the env files, which may name other Compose files. No project code is run.
    """
    variables, unread = _compose_variables(project, gateway, files)
    readers = dict.fromkeys(variables, COMPOSE_FILE)
    paths: tuple[Path, ...] = ()
    try:
        paths = project.settings_paths
    except ComposedError as error:
        unread.append(Finding.of("source", error))
    for file in paths:
        try:
            readers |= dict.fromkeys(names_read(text(file)), file.name)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            seen = f"not compared: {getattr(error, 'strerror', None) or error}"
            cure = "Correct it, or name yours in [tool.composed] settings_files"
            unread.append(Finding(project.relative(file), "warning", seen, cure))
    return readers, [name for name, required in variables.items() if required], unread


def _compose_variables(
    project: Project, gateway: Gateway, files: Sequence[Path]
) -> tuple[dict[str, bool], list[Finding]]:
    """Return each variable, and whether it is required; no finding quotes Compose's error text."""
    # A project name of our own: the setting may be malformed.
    words = ("--project-name", "check", "config", "--variables")
    answer = gateway.ask(Compose(gateway, files, compose_files=project.compose).argv(*words))
    if answer.code == NOT_FOUND:
        return {}, [Finding("Compose files", "ok", "not compared: there is no docker here")]
    if answer.code:
        old = "unknown flag" in answer.err
        reason = "Compose lists their variables from 2.26 on" if old else "Compose fails"
        cure = "docker compose config --variables"
        return {}, [Finding("Compose files", "warning", f"not compared: {reason}", cure)]
    rows = [row.split() for row in answer.out.splitlines()[1:]]
    return {name: required == "true" for name, required, *_ in rows}, []


def names_read(source: str) -> set[str]:
    """Return the names of the environment variables that Python source reads.

    Names stand in ``os.environ["NAME"]``, ``os.getenv("NAME")``, ``env("NAME")``,
    ``env.bool("NAME")``, and in calls of the source's own functions that read the variable
    named by an argument. Raises :class:`SyntaxError`.
    """
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and _is_reader(node)}
    if any(isinstance(node, ast.ImportFrom) and node.module == "os" for node in nodes):
        own |= {"environ", "environ.get"}
    asked = (key for node in nodes for key in _keys(node, own))
    names = {str(key.value) for key in asked if isinstance(key, ast.Constant)}
    return {name for name in names if _NAME.fullmatch(name)}


def _is_reader(function: ast.FunctionDef) -> bool:
    """Return whether the function reads the variable that an argument names."""
    keys = [key for node in ast.walk(function) for key in _keys(node)]
    arguments = {argument.arg for argument in function.args.args}
    return any(isinstance(key, ast.Name) and key.id in arguments for key in keys)


def _keys(node: ast.AST, own: Container[str] = ()) -> Iterator[ast.expr]:
    """Yield the key if the node looks up a variable; ``own`` are names of further readers."""
    if isinstance(node, ast.Subscript):
        reader, key = node.value, node.slice
    elif isinstance(node, ast.Call) and node.args:
        reader, key = node.func, node.args[0]
    else:
        return
    name = ast.unparse(reader)
    if name in own or _READER.fullmatch(name):
        yield key
