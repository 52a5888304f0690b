"""The check of the env contract: the env files against the declarations of the project."""

import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding

from composed.doctor.env_form import check_form, check_readings
from composed.doctor.env_uses import COMPOSE_FILE, Uses, uses
from composed.env.settings import (
    Settings,
    bindings,
    env_files,
    example_of,
    load_settings,
    read_text,
)
from composed.errors import ComposedError
from composed.findings import Finding
from composed.gateway import Gateway
from composed.project import Project
from composed.redaction import is_secret

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
    r"<.*>|change[-_ ]?(me|it|this).*|your[-_ ].*|replace[-_ ].*|django-insecure-.*|todo|x{3,}",
    re.IGNORECASE,
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
    files, rows = env_files(project, environ), []
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
    used, unread = uses(project, gateway, read)
    example = example_of(project) if project.example.exists() else None
    contract = _Contract(example, settings, assigned, used, environ)
    rows += [*contract.findings(whole=whole), *unread]
    return rows + (check_readings(gateway, read, contract.shared(), environ) if whole else [])


def _unread(file: Path, error: ComposedError) -> Finding:
    if not os.path.lexists(file):
        cure = "inv env" if file.name == ".env" else "Make it, or take it out of COMPOSE_ENV_FILES"
        return Finding(file.name, "wrong", "missing: there is no such file", cure)
    return Finding.of(file.name, error)


def _valid(text: str) -> str:
    return "".join(line.original.string for line in bindings(text) if not line.error)


@dataclass(frozen=True)
class _Contract:
    """The settings in ``.env.example``, the env files, the Compose files and the server."""

    example: Mapping[str, str] | None
    settings: Settings
    assigned: Mapping[str, Binding]
    used: Uses
    environ: Mapping[str, str]

    def findings(self, *, whole: bool) -> list[Finding]:
        """Return the faults of the settings, or a finding that there are none.

        Missing settings count only if the env files are ``whole``.
        """
        rows = [*self._malformed_or_missing(whole=whole), *self._unknown(), *self._empty_or_weak()]
        if self.assigned and not rows:
            rows = [Finding("settings", "ok", f"{len(self.assigned)} set, all known")]
        return [*rows, *self._undeclared()]

    def shared(self) -> dict[str, Binding]:
        """Return all lines but a ``${NAME}`` that only Compose reads, and resolves."""
        return {
            name: line
            for name, line in self.assigned.items()
            if self.used.readers.get(name) != COMPOSE_FILE or "${" not in (line.value or "")
        }

    def _malformed_or_missing(self, *, whole: bool) -> Iterator[Finding]:
        missing = set()
        for name, seen, cure, given in self.settings.problems():
            if given:
                yield Finding(name, "wrong", f"malformed: it {seen}", cure)
            elif whole:
                missing.add(name)
                yield Finding(name, "wrong", "missing: it has no default", "inv env")
        values = {**self.settings.values, **self.environ}
        for name in self.used.required if whole else ():
            if name not in missing and not values.get(name):
                seen = "missing: a Compose file requires it"
                yield Finding(name, "wrong", seen, f"Write it in .env: {name}=…")

    def _unknown(self) -> Iterator[Finding]:
        known = {*(self.example or ()), *self.settings.defaults, *self.used.readers, *_PREDEFINED}
        for name in self.assigned:
            if not _knows(known, name):
                near = difflib.get_close_matches(name, known, 1)
                cure = f"Rename it: {near[0]}" if near else "Remove it, or write it in .env.example"
                yield Finding(name, "warning", "unknown: nothing reads it", cure)

    def _undeclared(self) -> Iterator[Finding]:
        if self.example is None:
            seen = "missing: nothing says which settings there are"
            yield Finding(".env.example", "warning", seen, "Write it: every name and its default")
            return
        for name, reader in self.used.readers.items():
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
                yield Finding(name, "warning", f"empty: its default counts, {default}")
            elif _PLACEHOLDER.fullmatch(value):
                yield Finding(name, "wrong", "placeholder: a text to be replaced", cure)
            elif value and is_secret(name) and value == (self.example or {}).get(name):
                yield Finding(name, "warning", "placeholder: the value of .env.example", cure)
            elif is_secret(name) and _WEAK.fullmatch(value):
                yield Finding(name, "warning", "placeholder: a word that is tried first", cure)


def _knows(known: Collection[str], name: str) -> bool:
    """Return whether the name is known, or names a file with a known secret."""
    return name in known or name.removesuffix("_FILE") in known
