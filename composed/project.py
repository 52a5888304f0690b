"""The folder of a project, and the names of the parts."""

import functools
import os
import re
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from invoke import Context

from composed import files
from composed.compose_files import ComposeFiles, compose_files, sub_folders, text_of
from composed.errors import SettingError

__all__ = [
    "DEPTH",
    "MOST",
    "NAME_SOURCE",
    "Project",
    "folders_of_clone",
    "has_tasks",
    "root_of",
    "tasks_folder",
    "text_of",
]

_VALID: dict[type[Any], str] = {
    str: 'a text, as in "web"',
    tuple: 'a list of texts, as in ["python", "manage.py"]',
    dict: 'names with texts, as in { DATABASE_ENGINE = "sqlite" }',
}

DEPTH = 3  # sub folders of sub folders, for a manage.py that no key names

_ASKS = r"^COMPOSE_PROJECT_NAME=[ \t]*(?:\"\"|'')?[ \t\r]*(?:#.*)?$"  # for a name, in .env.example

MOST = 1 << 20  # bytes of pyproject.toml

# In a line that imports: Celery's tasks are invoked by their own program.
_IMPORTS = r"(?m)^\s*(?:from|import)\s+(?:[\w.]+\s*,\s*)*"
_IMPORTS_INVOKE = re.compile(rf"{_IMPORTS}(?:invoke|composed)\b")
_IMPORTS_VERBS = re.compile(rf"{_IMPORTS}composed(?:\.verbs\b|\s+import\b.*\bverbs\b)")

NAME_SOURCE = 'Name yours in pyproject.toml: [tool.composed] source = "FOLDER"'


@dataclass(frozen=True)
class Project:
    """A folder with a Compose file, and the names that the verbs use.

    ``root`` is the folder of ``tasks.py``, or see :func:`root_of`: every path starts there, never
    from the current directory. ``[tool.composed]`` in ``pyproject.toml`` can set all further
    fields, which ``docs/adopt.md`` explains. An empty name is looked for in the project's files.
    """

    root: Path
    backend: str = ""
    database: str = ""
    compose_files: tuple[str, ...] = ()
    source: str = ""
    manage: tuple[str, ...] = ()
    settings_files: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    health: str = ""
    ready: str = ""
    sqlite: str = ""
    local_environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ("POSTGRES_PASSWORD", "SECRET_KEY")
    backend_port: str = "BACKEND_PORT"
    database_user: str = ""
    database_name: str = ""
    sessions: tuple[str, ...] = ()
    engine_sessions: tuple[str, ...] = ()

    @classmethod
    def of(cls, c: Context) -> Self:
        """Return the project whose ``tasks.py`` Invoke loaded; without one, by its other files.

        Raises :class:`SettingError` when its ``pyproject.toml`` cannot be followed.
        """
        module = sys.modules.get(c.config.tasks.collection_name)
        if not (name := getattr(module, "__file__", None)):
            return cls.at(root_of(Path.cwd()))
        file = Path(name).resolve()  # tasks.py, or the package ``tasks``
        return cls.at(file.parents[1] if file.name == "__init__.py" else file.parent)

    @classmethod
    @functools.cache  # a verb asks more than once
    def at(cls, root: Path) -> Self:
        """Return the project in this folder, as its ``pyproject.toml`` describes it."""
        project = cls(root)
        return cls(root, **{k: _checked(project, k, v) for k, v in _configured(root).items()})

    def folder(self, name: str) -> Path:
        """Return the folder of Composed's own files about a stack; all of them may be removed."""
        return self.root / ".composed" / name

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots, which only ``db.prune`` removes."""
        return self.root / "data" / "snapshots"

    @functools.cached_property
    def compose(self) -> ComposeFiles:
        """The Compose files; raises :class:`SettingError` where several could be meant."""
        return compose_files(self.root, self.compose_files)

    @property
    def example(self) -> Path:
        """The file that names and explains every setting."""
        names = (".env.example", ".env.sample", ".env.dist", ".env-dist", "env.example")
        files = [folder / name for folder in (self.root, self.compose.folder) for name in names]
        return next((file for file in files if os.path.lexists(file)), files[0])

    @functools.cached_property
    def owns_env(self) -> bool:
        """Whether ``.env`` is made by Composed: ``.env.example`` has an empty COMPOSE_PROJECT_NAME.

        In any other project, ``.env`` belongs to the project and to Compose. One whose example
        has a name there has named its stack, and asks for no other.
        """
        return re.search(_ASKS, text_of(self.example), re.M) is not None

    def with_services(self, backend: str | None = None, database: str | None = None) -> Self:
        """Return the project with these names of services where no key names the services.

        Without a backend, the usual name is used: an error then lists the services and the key.
        An empty ``database`` is a project without such a service.
        """
        database = "db" if database is None else database
        backend = self.backend or backend or "backend"
        return replace(self, backend=backend, database=self.database or database)

    def relative(self, path: Path) -> str:
        """Return the path as a user in ``root`` writes it."""
        return os.path.relpath(path, self.root)

    @functools.cached_property
    def tree(self) -> Path:
        """The folder of ``manage.py``: ``source``, else the nearest one to ``root``.

        Raises :class:`SettingError` for no such folder, and for several at the same depth.
        """
        if not self.source:
            return _nearest(self.root)
        if (tree := self.root / self.source).is_dir():
            return tree
        raise SettingError(f"There is no folder {self.source!r} in {self.root}.", NAME_SOURCE)

    @property
    def has_source(self) -> bool:
        """Whether there is a ``manage.py``, or more than one, or a key that replaces the file."""
        if self.source:
            return bool(self.manage) or (self.root / self.source / "manage.py").is_file()
        return bool(self.manage) or _has_manage(self.root)

    @property
    def has_compose_file(self) -> bool:
        """Whether there is a Compose file, or several of which one could be meant."""
        try:
            return bool(self.compose.all())
        except SettingError:
            return True

    @functools.cached_property
    def settings_module(self) -> str:
        """The dotted name that ``manage.py`` gives DJANGO_SETTINGS_MODULE; else empty."""
        text = text_of(self.tree / "manage.py")
        named = re.search(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""", text)
        return named[1] if named else ""

    @functools.cached_property
    def settings_paths(self) -> tuple[Path, ...]:
        """The files that read settings: ``settings_files``, else Django's settings module."""
        if self.settings_files or not self.settings_module:
            return tuple(self.tree / name for name in self.settings_files)
        module = self.tree.joinpath(*self.settings_module.split("."))
        files = (module.with_suffix(".py"), module / "__init__.py")
        return tuple(file for file in files if file.is_file())

    @property
    def server(self) -> tuple[str, ...]:
        """The command that serves in local mode: ``serve``, else Gunicorn with hot reload.

        Raises :class:`SettingError` when no WSGI application is found.
        """
        if self.serve:
            return self.serve
        package, _, _ = self.settings_module.partition(".")
        text = "\n".join(text_of(file) for file in self.settings_paths)
        if named := re.search(r"""^WSGI_APPLICATION\s*=\s*["']([\w.]+)\.(\w+)["']""", text, re.M):
            application = f"{named[1]}:{named[2]}"
        elif package and (self.tree / package / "wsgi.py").is_file():
            application = f"{package}.wsgi:application"
        else:
            manage = self.relative(self.tree / "manage.py")
            cure = 'Name the server in pyproject.toml: [tool.composed] serve = ["python", …]'
            raise SettingError(f"No settings of {manage} name a WSGI application.", cure)
        return ("python", "-m", "gunicorn", "--reload", application)

    @property
    def base(self) -> Path:
        """``tree``, or ``root`` where no source is found: for messages on another failure."""
        try:
            return self.tree
        except SettingError:
            return self.root

    def find(self, *names: str) -> str:
        """Return the first of these files beside ``manage.py`` or in ``root``; else empty."""
        files = (folder / name for name in names for folder in (self.base, self.root))
        return next((self.relative(file) for file in files if file.is_file()), "")

    @property
    def owner(self) -> os.stat_result:
        """The status of ``tree``: files that a verb makes in ``tree`` get the same owner."""
        return self.tree.stat()


def root_of(here: Path) -> Path:
    """Return the folder of the project that ``here`` is in, for a project without ``tasks.py``.

    That is the folder of a ``tasks.py``; else the nearest folder of the clone with a ``manage.py``
    and a Compose file, in it or below; else the folder of the clone if it has one of them; else
    ``here``.
    """
    if with_tasks := tasks_folder(here):
        return with_tasks
    folders = folders_of_clone(here)
    parts = {folder: (_has_manage(folder), _has_compose_file(folder)) for folder in folders}
    whole = [folder for folder in folders if all(parts[folder])]
    partly = [folder for folder in folders[-1:] if any(parts[folder])]
    return [*whole, *partly, here][0]


def folders_of_clone(here: Path) -> list[Path]:
    """Return ``here`` and the folders above up to the folder with ``.git``; else only ``here``."""
    folders = [here, *here.parents]
    tops = [n for n, folder in enumerate(folders, 1) if os.path.lexists(folder / ".git")]
    return folders[: tops[0] if tops else 1]


def tasks_folder(here: Path) -> Path | None:
    """Return the nearest folder of the clone whose ``tasks.py`` is of Invoke.

    Celery's tasks have the same name, and that file would be imported for nothing.
    """
    return next((folder for folder in folders_of_clone(here) if has_tasks(folder)), None)


def has_tasks(folder: Path) -> bool:
    """Return whether the folder has tasks of Invoke: a file or a package."""
    return _IMPORTS_INVOKE.search(_tasks_text(folder)) is not None


def has_verbs(folder: Path) -> bool:
    """Return whether the folder has tasks of Invoke with the verbs of Composed."""
    return _IMPORTS_VERBS.search(_tasks_text(folder)) is not None


def _tasks_text(folder: Path) -> str:
    """Return the text that Invoke would load from a folder: a file ``tasks.py`` hides a package."""
    files = (folder / "tasks.py", folder / "tasks/__init__.py")
    # Not Path.is_file, which raises PermissionError for the folder of another user.
    return next((text_of(file) for file in files if os.path.isfile(file)), "")  # noqa: PTH113


def _has_manage(folder: Path) -> bool:
    try:
        return bool(_all_nearest(folder))
    except OSError:
        return False


def _has_compose_file(folder: Path) -> bool:
    try:
        files = compose_files(folder).all()
    except SettingError:  # several
        return True
    return any(file.is_file() and file.is_relative_to(folder) for file in files)


def _nearest(root: Path) -> Path:
    named = _all_nearest(root)
    if len(named) > 1:
        files = ", ".join(os.path.relpath(folder / "manage.py", root) for folder in named)
        raise SettingError(f"More than one manage.py is in {root}: {files}.", NAME_SOURCE)
    if not named:
        raise SettingError(f"There is no manage.py in {root}.", NAME_SOURCE)
    return named[0]


def _all_nearest(root: Path) -> list[Path]:
    """Return the folders with a ``manage.py`` that are the least deep below ``root``."""
    folders = [root]
    for _ in range(DEPTH + 1):
        if named := [folder for folder in folders if (folder / "manage.py").is_file()]:
            return named
        folders = [child for folder in folders for child in sub_folders(folder)]
    return []


def _configured(root: Path) -> dict[str, Any]:
    """Return ``[tool.composed]``; a project without this table needs no parser."""
    file = root / "pyproject.toml"
    try:
        if b"tool.composed" not in files.read(file, MOST):
            return {}
        text = files.text(file, MOST)
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise files.unusable(file, error, "read") from None
    except OSError as error:
        raise SettingError(f"{file} cannot be read: {error.strerror}.") from None
    import tomllib  # noqa: PLC0415  # takes milliseconds, and `inv ps` has to be quick

    try:
        table: Any = tomllib.loads(text)
    except ValueError as error:
        raise SettingError(f"{file} is not valid TOML: {error}.") from None
    except RecursionError:
        raise SettingError(f"{file} is not valid TOML: it is nested too deeply.") from None
    for name in ("tool", "composed"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise SettingError(f"{name} in {file} is not a table.", "Write: [tool.composed]")
    return dict(table)


def _checked(project: Project, key: str, value: object) -> Any:
    """Return the value as the field takes it; raises :class:`SettingError`."""
    known = [field.name for field in fields(project) if field.name != "root"]
    if key not in known:
        problem = f"pyproject.toml sets {key!r} in [tool.composed], which is not a key."
        raise SettingError(problem, f"Valid: {', '.join(known)}.")
    given: Any = tuple(value) if isinstance(value, list) else value
    kind = type(getattr(project, key))
    texts = [*given, *given.values()] if isinstance(given, dict) else given
    if isinstance(given, kind) and all(isinstance(t, str) and "\0" not in t for t in texts):
        return given  # no file, and no argument of a program, has a NUL
    problem = f"pyproject.toml sets {key} in [tool.composed] to {reprlib.repr(value)}."
    raise SettingError(problem, f"Valid: {_VALID[kind]}.")
