"""Whether this folder is a copy of another, whose stack it must leave alone.

The env file has the folder of its stack written down, as a comment. A copied
folder, or an env file copied into another clone, names a folder that is still
there; a moved one names a folder that is gone, and keeps its stack.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from composed.env.settings import assignments, env_files, read_text
from composed.findings import Finding
from composed.project import Project

__all__ = ["ORIGIN", "findings", "is_same", "original", "settle"]

NAME = "COMPOSE_PROJECT_NAME"
ORIGIN = re.compile(r'^# The folder of this stack, by which inv tells a copy: (".*")\n', re.M)


def original(project: Project, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that this one is a copy of, or None.

    A name in the process environment was meant, and an env file elsewhere is
    meant to be shared.
    """
    file = env_files(project, environ)[0]
    if environ.get(NAME) or not file.is_relative_to(project.root) or not file.exists():
        return None
    text = read_text(file)
    there = _recorded(text)
    if there is None or is_same(there, project.root) or not _exists(there):
        return None
    theirs = _name_in(there / file.relative_to(project.root))
    return there if theirs in (None, assignments(text).get(NAME)) else None


def is_same(one: Path, other: Path) -> bool:
    """Say whether two paths lead to one folder, as they may where case does not count."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True  # nobody can tell; to share a stack by mistake would be worse
    except OSError:
        return False
    return True


def _recorded(text: str) -> Path | None:
    found = ORIGIN.search(text)
    try:
        return Path(json.loads(found[1])) if found else None
    except ValueError:
        return None


def _name_in(file: Path) -> str | None:
    """Return the project name in another folder's env file; None where it may not be read."""
    try:
        return assignments(file.read_text(encoding="utf-8")).get(NAME, "")
    except PermissionError:
        return None
    except (OSError, ValueError):
        return ""


def settle(
    project: Project, there: Path | None, text: str, generated: Callable[[], Mapping[str, str]]
) -> tuple[str, list[str]]:
    """Return the env file's text as this folder's own, and the names that have changed.

    ``there`` is the folder that it was copied from. What would lead to that
    one's data is commented out.
    """
    changed: list[str] = []
    if there:
        own = generated()
        other = _owner(there / project.relative(project.tree)) != _owner(project.tree)
        ids = [name for name in ("APP_UID", "APP_GID") if other and name in assignments(text)]
        names = [NAME, *ids]
        text = _set(text, {name: own[name] for name in names})
        shared = _shared(assignments(text))
        text = _comment_out(text, shared)
        changed = [*names, *shared]
    return _written_down(text, project.root), changed


def _owner(folder: Path) -> int:
    try:
        return folder.stat().st_uid
    except OSError:
        return -1


def _line(name: str) -> str:
    return rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=.*$"


def _set(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = re.sub(_line(name), f"{name}={value}", text, flags=re.MULTILINE)
    return text


def _shared(values: Mapping[str, str]) -> list[str]:
    """Return the settings that lead to one place from whichever folder."""
    volume, file = values.get("POSTGRES_VOLUME", ""), values.get("SQLITE_PATH", "")
    found = {"POSTGRES_VOLUME": volume and NAME not in volume, "SQLITE_PATH": file.startswith("/")}
    return [name for name, leads_there in found.items() if leads_there]


def _comment_out(text: str, names: list[str]) -> str:
    for name in names:
        text = re.sub(_line(name), lambda found: f"# {found[0]}", text, flags=re.MULTILINE)
    return text


def _written_down(text: str, root: Path) -> str:
    line = f"# The folder of this stack, by which inv tells a copy: {json.dumps(str(root))}\n"
    if ORIGIN.search(text):
        return ORIGIN.sub(lambda _: line, text)
    return re.sub(_line(NAME), lambda found: line + found[0], text, count=1, flags=re.MULTILINE)


def findings(project: Project, environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """Return a row on whether the stack's name is this folder's own."""
    if there := original(project, environ):
        cure = "inv env (gives it a name of its own)"
        return [Finding("folder", "warning", f"a copy of {there}", cure)]
    return [Finding("folder", "ok", str(project.root))]
