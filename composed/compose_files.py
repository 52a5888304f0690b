"""The Compose files of a folder, where neither Compose nor a key names the files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from composed import files
from composed.errors import SettingError

# The names that Compose looks for, in Compose's order, and those of the file that it adds, whatever
# name the first has. Compose 2.26 takes the first of each list, and warns where there are more.
STANDARD = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_ADDED = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)

# Other names: docker-compose.local.yml, compose.dev.yaml, local.yml; a laptop's before others.
_OTHER = re.compile(r"(?:docker-)?compose[.-](.+)\.ya?ml|(local|dev)\.ya?ml")
_FOR_A_LAPTOP = ("local", "dev", "development")

_SET = re.compile(r"^[ \t]*(?:export[ \t]+)?COMPOSE_FILE[ \t]*=[ \t]*[\"']?([^\"'#\s]+)", re.M)
_SKIPPED = {"node_modules", "site-packages", "tests", "test", "examples", "template", "templates"}
_DEPTH = 2  # sub folders of a sub folder


class ComposeFiles(NamedTuple):
    """The files to name for Compose, none where Compose finds its own; Compose's folder."""

    named: tuple[Path, ...]
    folder: Path

    def all(self, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
        """Return the files that Compose reads, for a command that has to name every file."""
        if self.named:
            return self.named
        if chosen := _chosen(self.folder, environ):
            return tuple(self.folder / name for name in chosen)
        if not (first := _first(self.folder, STANDARD)):
            return ()
        added = _first(self.folder, _ADDED)
        return (first, added) if added else (first,)


def compose_files(
    root: Path, keys: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> ComposeFiles:
    """Return the Compose files of ``root``: of ``keys``, as Compose does, else the likeliest.

    Raises :class:`SettingError` where several files are equally likely, and for a file of
    ``keys`` that is not there.
    """
    if chosen := tuple(root / name for name in keys):
        if missing := [file for file in chosen if not file.is_file()]:
            cure = 'Name yours in pyproject.toml: [tool.composed] compose_files = ["FILE"]'
            raise SettingError(f"There is no Compose file {missing[0]}.", cure)
        return ComposeFiles(chosen, chosen[0].parent)
    if names := _chosen(root, environ):
        return ComposeFiles((), (root / names[0]).parent)
    if _first(root, STANDARD):
        return ComposeFiles((), root)
    for candidates in _candidates(root):
        if len(candidates) > 1:
            listed = ", ".join(os.path.relpath(file, root) for file in candidates)
            example = os.path.relpath(candidates[0], root)
            cure = f'Name yours in pyproject.toml: [tool.composed] compose_files = ["{example}"]'
            raise SettingError(f"There are several Compose files: {listed}.", cure)
        if candidates:
            return ComposeFiles((candidates[0],), candidates[0].parent)
    return ComposeFiles((), root)


def stack_name(files_: ComposeFiles) -> str:
    """Return the name that Compose gives the project by itself; "" where only Compose knows.

    That is ``name:`` of the last file that has one, else the folder's name without the
    characters that a project name cannot have.
    """
    for file in reversed(files_.all()):
        if named := re.search(r"^name:[ \t]*[\"']?([^\"'\s#]+)", _text(file), re.M):
            return "" if "$" in named[1] else named[1]
    return re.sub(r"[^a-z0-9_-]", "", files_.folder.name.lower()).lstrip("_-")


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _candidates(root: Path) -> Iterator[list[Path]]:
    """Yield the files of each likelihood, the likeliest first."""
    folders = [root]
    for depth in range(_DEPTH + 1):
        if depth:
            yield [file for folder in folders if (file := _first(folder, STANDARD))]
        others = [(file, kind) for folder in folders for file, kind in _others(folder)]
        for wanted in _FOR_A_LAPTOP:
            yield [file for file, kind in others if kind == wanted]
        yield [file for file, _ in others]
        folders = [child for folder in folders for child in _sub_folders(folder)]


def _others(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in _entries(folder):
        match = _OTHER.fullmatch(file.name)
        if match and match[1] != "override" and file.is_file():
            yield file, match[1] or match[2]


def _sub_folders(folder: Path) -> list[Path]:
    children = [
        child
        for child in _entries(folder)
        if not (child.name.startswith(".") or child.name in _SKIPPED or child.is_symlink())
    ]
    return [c for c in children if c.is_dir() and os.access(c, os.R_OK | os.X_OK)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _chosen(root: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the names in COMPOSE_FILE, of the environment or of ``.env``."""
    match = None if environ.get("COMPOSE_FILE") else _SET.search(_text(root / ".env"))
    value = environ.get("COMPOSE_FILE") or (match[1] if match else "")
    separator = environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return [name for name in value.split(separator) if name]


def _text(file: Path) -> str:
    try:
        return files.read(file).decode(errors="replace")
    except OSError:
        return ""
