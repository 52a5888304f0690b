"""The database that Django itself uses: asked of Django once, and again after a change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from composed.errors import printable
from composed.gateway import Answer
from composed.project import text_of
from composed.records import read_object, record
from composed.stack import Stack

MARK = "composed: "
# For Django's shell: prints a line with the database that Django really uses. Django takes a name
# of SQLite as a URI where it begins with "file:", whatever OPTIONS say. Nothing is connected to,
# which would make an empty file.
SCRIPT = f"""\
import json, os
from urllib.parse import parse_qs, unquote, urlsplit
from django.conf import settings
from django.db import connection
found = connection.settings_dict
name = str(found["NAME"] or "")
if connection.vendor == "sqlite":
    url = urlsplit(name if name.startswith("file:") else "")
    file = unquote(url.path) if url.scheme else name
    in_memory = ":memory:" in name or "memory" in parse_qs(url.query).get("mode", ())
    name = ":memory:" if in_memory or not file else os.path.abspath(file)
answer = {{"vendor": connection.vendor, "name": name}}
answer.update(host=str(found["HOST"] or ""), hosts=list(settings.ALLOWED_HOSTS))
print("{MARK}" + json.dumps(answer))
"""
FILE = "django-{mode}.json"  # of a stack in one mode: the path on this machine is none inside


@dataclass(frozen=True)
class Connection:
    """Django's default database; ``vendor`` in the words of Django: postgresql, sqlite, mysql.

    ``hosts`` are the names in ALLOWED_HOSTS.
    """

    vendor: str
    name: str
    host: str
    hosts: tuple[str, ...] = ()


class UnknownError(Exception):
    """Django gave no answer; the text is the last line of the reason."""


def connection(stack: Stack, about: str, *, keeps: bool = True) -> Connection:
    """Return the database of Django, from the record where ``about`` and the settings are the same.

    ``about`` is all that decides on the container, as a text; with ``keeps`` an answer is recorded.
    Raises :class:`UnknownError`.
    """
    if kept := fresh(stack, about):
        return kept
    seen = _fingerprint(stack, about)  # before the answer: a file may change meanwhile
    found = _answered(stack.inside.ask_one_off("shell", "--command", SCRIPT))
    if keeps:
        text = json.dumps(asdict(found) | {"seen": seen}, indent=2)
        stack.gateway.write(_file(stack), text)
    return found


def fresh(stack: Stack, about: str) -> Connection | None:
    """Return the recorded database where nothing has changed since; see :func:`connection`."""
    kept = recorded(stack)
    return kept[0] if kept and kept[1] == _fingerprint(stack, about) else None


def in_container(stack: Stack) -> Connection | None:
    """Ask the Django that runs; without an answer return the last one, None for none.

    Nothing is recorded: the container may be older than the settings.
    """
    try:
        return _answered(stack.inside.ask_manage("shell", "--command", SCRIPT))
    except UnknownError:
        kept = recorded(stack)
        return kept[0] if kept else None


def recorded(stack: Stack) -> tuple[Connection, str] | None:
    """Return the answer that Django gave before in this mode, and the fingerprint of that time."""
    try:
        data = read_object(_file(stack))
        return record(Connection, data), str(data["seen"])
    except (OSError, ValueError, KeyError):
        return None


def read(out: str) -> Connection:
    """Return the database that the output of ``SCRIPT`` names; raise ValueError for none."""
    lines = [line for line in out.splitlines() if line.startswith(MARK)]
    return record(Connection, json.loads(lines[-1].removeprefix(MARK)) if lines else {})


def _file(stack: Stack) -> Path:
    return stack.folder / FILE.format(mode=stack.mode)


def _answered(answer: Answer) -> Connection:
    try:
        return read(answer.out)
    except ValueError:
        reason = (answer.err.strip().splitlines() or [f"it ended with {answer.code}"])[-1]
        raise UnknownError(printable(reason)) from None


def _fingerprint(stack: Stack, about: str) -> str:
    """Return a hash of ``about`` and of the files from which the settings are read."""
    project = stack.project
    folders = {path.parent for path in project.settings_paths}
    files = [file for folder in folders for file in folder.glob("*.py")]
    files += [project.base / "manage.py", *project.base.glob(".env*"), *project.root.glob(".env*")]
    texts = [f"{file}\0{text_of(file)}" for file in sorted({*files}) if file.is_file()]
    return hashlib.sha256("\0".join([about, *texts]).encode(errors="replace")).hexdigest()
