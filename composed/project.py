"""What a verb needs to know about a project: where it is and what its parts are called."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from invoke import Context

from composed.errors import SettingError

__all__ = ["Project"]

_VALID: dict[type[Any], str] = {
    str: 'a text, as in "web"',
    tuple: 'a list of texts, as in ["python", "manage.py"]',
    dict: 'names with texts, as in { DATABASE_ENGINE = "sqlite" }',
}


@dataclass(frozen=True)
class Project:
    """A folder with a Compose file, and the names the verbs use in it.

    ``root`` is the folder of ``tasks.py``: every path starts there, never from
    the current directory. The other fields can be set under ``[tool.composed]``
    in its ``pyproject.toml``; README's table "Use it in your project" explains
    them. The defaults are those of the task API.
    """

    root: Path
    backend: str = "backend"
    database: str = "db"
    source: str = "server"
    manage: tuple[str, ...] = ("python", "manage.py")
    settings_files: tuple[str, ...] = ("task_api/settings.py", "gunicorn.conf.py")
    serve: tuple[str, ...] = (
        *("python", "reload.py"),
        *("python", "-m", "gunicorn", "guarded_wsgi:application"),
    )
    health: str = "/healthz"
    ready: str = "/readyz"
    sqlite: str = "data/db.sqlite3"
    local_environment: Mapping[str, str] = field(
        default_factory=lambda: {"DATABASE_ENGINE": "sqlite"}
    )
    secrets: tuple[str, ...] = ("POSTGRES_PASSWORD", "SECRET_KEY")
    backend_port: str = "BACKEND_PORT"
    database_user: str = "POSTGRES_USER"
    database_name: str = "POSTGRES_DB"
    sessions: tuple[str, ...] = ("lint", "unit", "package(local)", "integration(local)")
    engine_sessions: tuple[str, ...] = ("integration(docker)", "package(docker)", "faults")

    @classmethod
    def of(cls, c: Context) -> Project:
        """Return the project whose ``tasks.py`` Invoke loaded.

        Raises :class:`SettingError` when its ``pyproject.toml`` cannot be followed.
        """
        module = sys.modules.get(c.config.tasks.collection_name)
        file = getattr(module, "__file__", None)
        return cls.at(_folder(Path(file).resolve()) if file else Path.cwd())

    @classmethod
    @functools.cache  # a verb asks more than once
    def at(cls, root: Path) -> Project:
        """Return the project in this folder, as its ``pyproject.toml`` describes it."""
        project = cls(root)
        return cls(root, **{k: _checked(project, k, v) for k, v in _configured(root).items()})

    def folder(self, name: str) -> Path:
        """Return where our own files about a stack are; all of it may be thrown away."""
        return self.root / ".composed" / name

    @property
    def snapshots(self) -> Path:
        """Where snapshots are kept; no verb but ``db.prune`` removes one."""
        return self.root / "data" / "snapshots"

    @property
    def example(self) -> Path:
        """The file that names and explains every setting."""
        return self.root / ".env.example"

    @property
    def tree(self) -> Path:
        """The folder of ``manage.py``; raises :class:`SettingError` when it is not there."""
        if (tree := self.root / self.source).is_dir():
            return tree
        raise SettingError(
            f"There is no folder {self.source!r} in {self.root}.",
            'Name yours in pyproject.toml: [tool.composed] source = "FOLDER"',
        )

    @property
    def owner(self) -> os.stat_result:
        """Who owns the source: the uid and gid that files made in it should have."""
        return self.tree.stat()


def _folder(file: Path) -> Path:
    """Return the folder that ``tasks.py``, or the package ``tasks``, stands in."""
    return file.parents[1] if file.name == "__init__.py" else file.parent


def _configured(root: Path) -> dict[str, Any]:
    """Return ``[tool.composed]``; nothing is parsed for a project that has none."""
    file = root / "pyproject.toml"
    text = file.read_bytes() if file.exists() else b""
    if b"tool.composed" not in text:
        return {}
    import tomllib  # noqa: PLC0415  # takes milliseconds, and `inv ps` has to be quick

    try:
        table: Any = tomllib.loads(text.decode())
    except ValueError as error:
        raise SettingError(f"{file} is no TOML: {error}.") from None
    for name in ("tool", "composed"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise SettingError(f"{name} in {file} is no table.", "Write: [tool.composed]")
    return dict(table)


def _checked(project: Project, key: str, value: object) -> Any:
    """Return the value as the field takes it; raises :class:`SettingError`."""
    known = [field.name for field in fields(project) if field.name != "root"]
    if key not in known:
        raise SettingError(
            f"pyproject.toml sets {key!r} in [tool.composed], which is no name there.",
            f"Valid: {', '.join(known)}.",
        )
    given = tuple(value) if isinstance(value, list) else value
    kind = type(getattr(project, key))
    if isinstance(given, kind) and all(isinstance(text, str) for text in _texts(given)):
        return given
    raise SettingError(
        f"pyproject.toml sets {key} in [tool.composed] to {value!r}.", f"Valid: {_VALID[kind]}."
    )


def _texts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, tuple) else ()
