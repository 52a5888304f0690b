"""The Compose files of a folder, where neither Compose nor a key names the files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
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
_PRODUCTION = re.compile(r"(?<![a-z])prod(?:uction)?(?![a-z])", re.IGNORECASE)

_ASSIGNED = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*[=:](.*)$", re.M)
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-+?])([^${}]*))?\}|\$([A-Za-z_]\w*)")
_NAMED = re.compile(r"""^["']?name["']?[ \t]*:[ \t](.*)$""", re.M)
_NESTED, _LONGEST = 9, 4096  # rounds, as a value may have variables in it; characters
_NOT_OWN = {"__pycache__", "node_modules", "site-packages"}
# The Compose files there start no site.
_SAMPLES = {"tests", "test", "examples", "template", "templates"}
_DEPTH = 2  # sub folders of a sub folder


class ComposeFiles(NamedTuple):
    """The files to name for Compose, none where Compose finds its own; Compose's folder.

    ``chosen`` are the files of COMPOSE_FILE, which Compose finds. ``settings`` are the env files
    that Compose reads unasked; of two the last wins.
    """

    named: tuple[Path, ...]
    folder: Path
    chosen: tuple[Path, ...] = ()
    settings: tuple[Path, ...] = ()

    def all(self) -> tuple[Path, ...]:
        """Return the files that Compose reads, for a command that has to name every file."""
        if given := self.named or self.chosen:
            return given
        if not (first := _first(self.folder, STANDARD)):
            return ()
        added = _first(self.folder, _ADDED)
        return (first, added) if added else (first,)


def compose_files(
    root: Path, keys: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> ComposeFiles:
    """Return the Compose files of ``root``: of ``keys``, as Compose does, else the likeliest.

    Raises :class:`SettingError` where several files are equally likely, where only one for
    production is there, and for a file of ``keys`` that is not there or is no regular file.
    """
    if named := tuple(root / name for name in keys):
        _check(named)
        if missing := [file for file in named if not file.is_file()]:
            raise SettingError(f"There is no Compose file {missing[0]}.", _key("FILE"))
        return _beside(named[0], named)
    own = assigned(text_of(root / ".env"))
    if chosen := _chosen(root, {**own, **environ}):
        folder = chosen[0].parent
        # Compose reads the .env of its folder too, after the one that says which folder that is.
        origin = () if environ.get("COMPOSE_FILE") else (root / ".env",)
        return ComposeFiles((), folder, chosen, tuple(dict.fromkeys((folder / ".env", *origin))))
    if first := _first(root, STANDARD):
        return _beside(first)
    for candidates in _candidates(root):
        if len(candidates) > 1:
            listed = ", ".join(os.path.relpath(file, root) for file in candidates)
            problem = f"There are several Compose files: {listed}."
            raise SettingError(problem, _key(os.path.relpath(candidates[0], root)))
        for name in (os.path.relpath(file, root) for file in candidates):
            if _PRODUCTION.search(name):
                problem = f"The only Compose file is {name}, which looks like one for production."
                raise SettingError(problem, _key(name))
        if candidates:
            return _beside(candidates[0], (candidates[0],))
    above = (file for folder in root.parents if (file := _first(folder, STANDARD)))
    return _beside(next(above, root / STANDARD[0]))  # where Compose looks in the end


def check_files(root: Path, files_: ComposeFiles, *own: Path) -> None:
    """Raise :class:`SettingError` where Compose, in ``root``, would read what is no regular file.

    It would wait for the other end of a pipe, and read a device into memory without end. ``own``
    are further files for Compose, of ours.
    """
    _check((*(files_.named or files_.chosen or _standing(root)), *own))


def _standing(root: Path) -> list[Path]:
    """Return what stands under the names that Compose looks for, of any kind.

    Compose takes the nearest folder with one of the first names, and there what it adds.
    """
    for folder in (root, *root.parents):
        if any(os.path.exists(folder / name) for name in STANDARD):  # noqa: PTH110  # as in _first
            return [folder / name for name in (*STANDARD, *_ADDED)]
    return []


def _check(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            files.check(path)
        except PermissionError as error:
            raise files.unusable(path, error, "read") from None
        except OSError as error:
            raise SettingError(f"{path} cannot be read: {error.strerror}.") from None


def _key(file: str) -> str:
    return f'Name yours in pyproject.toml: [tool.composed] compose_files = ["{file}"]'


def _beside(file: Path, named: tuple[Path, ...] = ()) -> ComposeFiles:
    return ComposeFiles(named, file.parent, (), (file.with_name(".env"),))


def assigned(text: str) -> dict[str, str]:
    """Return what the lines of an env file give the names, for settings of Compose's own.

    Compose takes ``NAME: value`` too, which python-dotenv does not.
    """
    return {name: _value(rest) for name, rest in _ASSIGNED.findall(text.lstrip("\ufeff"))}


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """Return the text with the values in place of ``$NAME`` and ``${NAME}``, as Compose does.

    ``${NAME:-default}`` and the forms with ``-``, ``+`` and ``?`` may stand in one another.
    """
    text = text.replace("$$", "\0")
    for _ in range(_NESTED):
        if "$" not in text or len(text) > _LONGEST:  # a variable with itself in its value grows
            break
        text = _VARIABLE.sub(lambda found: _put(found, values), text)
    return text.replace("\0", "$")


def _put(found: re.Match[str], values: Mapping[str, str]) -> str:
    name, sign, word = found[1] or found[4], found[2] or "", found[3] or ""
    value = values.get(name)
    is_set = bool(value) if ":" in sign else value is not None
    if "+" in sign:
        return word if is_set else ""
    if is_set and value:
        return value
    return word if "-" in sign and not is_set else ""


def _value(rest: str) -> str:
    """Return the value that stands before a comment and between quotes, if there are any."""
    rest = rest.strip()
    if rest[:1] in ("'", '"'):
        return rest[1:].partition(rest[0])[0]
    return re.split(r"(?:^|[ \t])#", rest, maxsplit=1)[0].strip()


def stack_name(files_: ComposeFiles, values: Mapping[str, str] = os.environ) -> str:
    """Return the name that Compose gives the project by itself; "" for a name without letters.

    That is ``name:`` of the last file that has one, with the ``values`` of its variables, else the
    folder's name, each without the characters that a project name cannot have.
    """
    for file in reversed(files_.all()):
        named = _NAMED.search(text_of(file))
        if named and (name := _normal(interpolated(_value(named[1]), values))):
            return name
    return _normal(Path(os.path.normpath(as_typed(files_.folder))).name)


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def as_typed(folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of a folder by the links through which the shell has come, if any.

    The shell keeps that path in PWD. Compose takes it for its own where PWD is the folder that it
    runs in, and names the project in ``current -> releases/1`` by the link.
    """
    typed = Path(environ.get("PWD", ""))
    try:
        if not (typed.is_absolute() and typed.samefile(Path.cwd())):
            return folder
        for upper in (typed, *typed.parents):
            if folder.is_relative_to(real := os.path.realpath(upper)):
                return upper / folder.relative_to(real)
    except (OSError, ValueError):  # removed meanwhile; no path at all
        pass
    return folder


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    files_ = (folder / name for name in names)
    # Path.is_file raises an error in a folder above that this user may not look into.
    return next((file for file in files_ if os.path.isfile(file)), None)  # noqa: PTH113


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
        folders = [child for folder in folders for child in sub_folders(folder, _SAMPLES)]


def _others(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in _entries(folder):
        match = _OTHER.fullmatch(file.name)
        if match and match[1] != "override" and file.is_file():
            yield file, match[1] or match[2]


def sub_folders(folder: Path, without: Collection[str] = ()) -> list[Path]:
    """Return the folders in a folder that may hold the project's own source."""
    children = [
        child
        for child in _entries(folder)
        if not (child.name.startswith(".") or child.name in _NOT_OWN or child.is_symlink())
        and child.name not in without
    ]
    return [
        child
        for child in children
        if child.is_dir()
        and os.access(child, os.R_OK | os.X_OK)  # a database's own folder is not
        and not (child / "pyvenv.cfg").exists()
    ]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _chosen(root: Path, values: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files in COMPOSE_FILE: Compose takes the names from where it runs."""
    separator = values.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    names = interpolated(values.get("COMPOSE_FILE", ""), values).split(separator)
    return tuple(root / name for name in names if name)


def text_of(file: Path) -> str:
    """Return the text of a file; "" for a file that cannot be read."""
    try:
        return files.read(file).decode(errors="replace")
    except OSError:
        return ""
