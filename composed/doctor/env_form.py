"""The form of an env file: lines, encoding, privacy, and the values as Compose reads them."""

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from dotenv.parser import Binding

from composed.docker.compose import Compose, refuses_env_file
from composed.docker.model import Model
from composed.env.settings import bindings, line_number
from composed.files import read
from composed.findings import Finding
from composed.gateway import Gateway
from composed.project import text_of

# Signs that Compose and python-dotenv treat differently, the likeliest first.
_READS_FILE = re.compile(r"^(?:import|from) environ\b.*?\bread_env\(", re.MULTILINE | re.DOTALL)
_FAULTS = {"$": "a $", "\\": "a backslash", '"': "a quote", "'": "a quote", "#": "a #"}


def check_form(gateway: Gateway, file: Path, text: str) -> list[Finding]:
    """Return the faults of a file with this text, or a finding that there are none."""
    rows = [*_lines(file.name, bindings(text)), *_bytes_and_privacy(gateway, file)]
    return rows or [Finding(file.name, "ok", "well-formed, private")]


def _is_usable(name: str) -> bool:
    """Return whether a Compose file can name the setting: ``${NAME}``."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII))


def _lines(file: str, lines: Sequence[Binding]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for line in lines:
        key, number = line.key, line_number(line)
        place = f"{file}, line {number}"
        if line.error:
            yield Finding(place, "wrong", "malformed: no assignment", "Write it as NAME=value")
        elif key and line.value is None:
            seen = f"malformed: {key} without = sets nothing"
            yield Finding(place, "warning", seen, f"Write {key}=…")
        elif key and key in first:
            seen = f"{key} is set in line {first[key]} too; the last line counts"
            yield Finding(place, "warning", seen, "Remove a line")
        if key:
            first.setdefault(key, number)
            if not _is_usable(key):
                seen = f"malformed: no Compose file can name {key!r}"
                yield Finding(place, "warning", seen, "Use letters, digits and _")


def _bytes_and_privacy(gateway: Gateway, file: Path) -> Iterator[Finding]:
    data = read(file)  # a shell keeps the bytes that Windows adds
    if data.startswith(b"\xef\xbb\xbf"):
        yield Finding(file.name, "warning", "begins with a byte order mark", "Save as plain UTF-8")
    if b"\r" in data:
        seen = "lines end with a carriage return (CRLF)"
        yield Finding(file.name, "warning", seen, f"sed -i 's/\\r$//' {file.name}")
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(file.name, "warning", f"readable by others: {mode:04o}", f"chmod 600 {file}")
    words = ("--cached", "--others", "--exclude-standard", "-t", "--", str(file))
    status = gateway.ask(["git", "ls-files", *words]).out  # empty without git or a repository
    if status.startswith("?"):
        cure = f"echo {file.name} >> .gitignore"
        yield Finding(file.name, "warning", "git does not ignore it", cure)
    elif status:
        cure = f"git rm --cached {file.name}, then change its secrets"
        yield Finding(file.name, "wrong", "tracked by git, with its secrets", cure)


def check_environ(settings: Sequence[Path], lines: Mapping[str, Binding]) -> list[Finding]:
    """Return the values that django-environ, where the settings use it, reads in a third way.

    It takes a comment behind a value, and the quotes before the comment, for the value:
    https://github.com/joke2k/django-environ, ``Env.read_env``.
    """
    if not any(_READS_FILE.search(text_of(file)) for file in settings):
        return []
    rows = []
    for name, line in lines.items():
        read = _environ(line.original.string.strip().partition("=")[2])
        if read != line.value:
            seen = f"read differently by django-environ: {_fault(read)} in its value"
            rows.append(Finding(name, "warning", seen, _cure(name, line)))
    return rows


def _environ(raw: str) -> str:
    for sign in "'\"":
        if len(raw) > 1 and raw[0] == raw[-1] == sign:
            return raw[1:-1] if sign == "'" else re.sub(r"\\(.)", r"\1", raw[1:-1])
    return raw


def check_readings(
    gateway: Gateway, files: Sequence[Path], lines: Mapping[str, Binding], environ: Container[str]
) -> list[Finding]:
    """Return the values that Compose and python-dotenv read differently, or that none are.

    ``lines`` are the lines that count, by name. Names in ``environ`` are left out: the
    environment wins over both. Nothing is compared without Docker.
    """
    names = [name for name in lines if _is_usable(name) and name not in environ]
    # Compose resolves a model that names each setting, without an engine. The model gets a
    # project name of its own: the setting may be malformed.
    asked = {name: f"${{{name}-}}" for name in names if name != "COMPOSE_PROJECT_NAME"}
    model = json.dumps({"services": {"check": {"image": "check", "environment": asked}}})
    words = ("--project-name", "check", "--file", "-", "config", "--format", "json")
    answer = gateway.ask(Compose(gateway, files).argv(*words), text=model)
    if refuses_env_file(answer.err):
        return _refused(gateway, lines)
    if answer.code:  # no Docker, no Compose
        return []
    values = Model.resolved(answer.out).service("check").environment
    compared = [(name, lines[name]) for name in names if name in values]
    rows = [_difference(name, line) for name, line in compared if values[name] != line.value]
    return rows or [Finding("readings", "ok", f"alike in {len(values)} values")] * bool(values)


def _difference(name: str, line: Binding) -> Finding:
    fault = _fault(line.original.string.partition("=")[2])
    seen = f"read differently by Compose and python-dotenv: {fault} in its value"
    return Finding(name, "warning", seen, _cure(name, line))


def _fault(raw: str) -> str:
    return next((words for sign, words in _FAULTS.items() if sign in raw), "a line break")


def _refused(gateway: Gateway, lines: Mapping[str, Binding]) -> list[Finding]:
    """Return the lines that Compose refuses; each is tried alone: Compose quotes only values.

    If python-dotenv accepts a line, the reason is a ``$``: ``${`` without an end, or
    ``${NAME:?}`` without a value.
    """
    words = ["--env-file", "/dev/stdin", "--project-name", "check", "--file", "/dev/null", "config"]
    seen, rows = "malformed: Compose refuses the $ in its value", []
    for name, line in lines.items():
        text = line.original.string
        answer = gateway.ask(["docker", "compose", *words], text=text) if "$" in text else None
        if answer and refuses_env_file(answer.err):
            rows.append(Finding(name, "wrong", seen, _cure(name, line)))
    cure = "docker compose config --quiet"
    return rows or [Finding("readings", "wrong", "malformed: Compose refuses the files", cure)]


def _cure(name: str, line: Binding) -> str:
    """Return a way to write the value that Compose and python-dotenv read alike."""
    if "'" in (line.value or ""):
        return "Use letters, digits, - and _ alone"
    return f"Put it in single quotes: {name}='…'"
