"""The programs of the server in local mode: ordinary processes in the source folder."""

import contextlib
import functools
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from composed.contract import MIGRATE_LOCK
from composed.data.connection import UnknownError, connection
from composed.database import SIDE_FILES
from composed.errors import EngineError, NotFoundError, SettingError
from composed.gateway import Answer
from composed.stack import Inside, Stack, url_of
from composed.terminal import plain_environment

HOST = "127.0.0.1"
# Local mode decides these settings; the server gets all others.
_FIXED = re.compile(
    r"POSTGRES_.+|COMPOSED?_.+|APP_[UG]ID|PORT|DB_PORT|(BACKEND|DB)_MEMORY|MOST_PROCESSES"
)


class LocalInside(Inside):
    """Runs programs with the Python that runs ``inv``; ``database`` is the SQLite file."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._project, self._gateway = stack, stack.project, stack.gateway

    @functools.cached_property
    def database(self) -> Path:
        """The SQLite file: of the setting, of the key, else the file that Django uses.

        Raises :class:`SettingError` where Django uses another kind of database.
        """
        return self._database()

    def database_problem(self) -> SettingError | None:
        """Return the error of :attr:`database`, else None; record nothing."""
        try:
            self._database(keeps=False)
        except SettingError as error:
            return error
        return None

    def _database(self, *, keeps: bool = True) -> Path:
        settings, project = self._stack.settings, self._project
        if chosen := settings.values.get("SQLITE_PATH") or settings.defaults["SQLITE_PATH"]:
            return project.root / chosen
        default = project.tree / "db.sqlite3"
        if project.owns_env or self.problem():
            return default
        try:
            about = json.dumps(dict(self._stack.of_compose), sort_keys=True)
            found = connection(self._stack, about, keeps=keeps)
        except UnknownError:  # the start explains more
            return default
        if found.vendor == "sqlite":
            return Path(found.name)
        problem = f"Django uses {found.vendor}, and local mode has SQLite."
        raise SettingError(problem, self._way_to_sqlite())

    def _way_to_sqlite(self) -> str:
        """Return the files with the settings, which would have to allow SQLite."""
        files = ", ".join(map(self._project.relative, self._project.settings_paths))
        return f"Let a variable choose the engine in DATABASES of {files or 'the settings'}."

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the server, added to the environment of ``inv``."""
        values = self._stack.settings.values
        chosen = {n: v for n, v in values.items() if v and not _FIXED.fullmatch(n)}
        chosen.pop(self._project.backend_port, None)
        own = dict(self._project.local_environment)
        if self._is_chosen():
            own["SQLITE_PATH"] = str(self.database)
        python = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        return dict(self._stack.of_compose) | chosen | own | python

    @property
    def _manage_command(self) -> list[str]:
        return with_own_python(self._project.manage or ("python", "manage.py"))

    def _is_chosen(self) -> bool:
        """Return whether the path of the database is ours to choose, not Django's."""
        settings = self._stack.settings
        return bool(
            self._project.owns_env
            or settings.values.get("SQLITE_PATH")
            or settings.defaults["SQLITE_PATH"]
        )

    def server(self, port: int) -> list[str]:
        """Return the command that serves at a port: Gunicorn, else Django's own server."""
        if self._project.serve or find_spec("gunicorn"):
            with contextlib.suppress(SettingError):  # no WSGI application is named
                return _at(with_own_python(self._project.server), port)
        return [*self._manage_command, "runserver", f"{HOST}:{port}"]

    def manage(self, *args: str, env: Mapping[str, str] | None = None) -> int:
        if problem := self.problem():
            raise problem
        self.make_database_private()
        return self._run([*self._manage_command, *args], env)

    def make_database_private(self) -> None:
        """Make an empty database file, if there is none, that the owner alone can read.

        SQLite gives the side files the rights of the database file. A database outside of the
        project keeps the rights that it has.
        """
        self.check_files()
        self._gateway.make_file(self.database)
        if self.database.resolve().is_relative_to(self._project.root.resolve()):
            data = self._project.snapshots.parent.resolve()
            folders = [data] if self.database.resolve().is_relative_to(data) else []
            self._gateway.make_private(*folders, *self.files)

    @property
    def files(self) -> list[Path]:
        """The files of the database, the database itself last."""
        suffixes = (*SIDE_FILES, MIGRATE_LOCK, "")
        return [self.database.with_name(self.database.name + suffix) for suffix in suffixes]

    def check_files(self) -> None:
        """Raise :class:`RefusedError` where a thing stands that is no file.

        SQLite would fail without the name of that thing, or write to a device.
        """
        for file in self.files:
            self._gateway.check_file(file)

    def ask_one_off(self, *args: str, env: Mapping[str, str] | None = None) -> Answer:
        argv = [*self._manage_command, *args]
        added = self.environment | dict(env or {})
        return self._gateway.ask(argv, cwd=self._project.tree, env=added)

    def current_url(self) -> str:
        return url_of(self._stack.runner.ps())

    def shell(self, service: str, argv: Sequence[str]) -> int:
        self.check_services([service])
        return self._run([*with_own_python(argv[:1]), *argv[1:]])

    def django_shell(self, args: Sequence[str]) -> int:
        return self._run([*self._manage_command, "shell", *args])

    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        self.check_files()
        from composed.data.sqlite import client  # noqa: PLC0415  # few verbs need it

        return self._gateway.run(client(self.database, args, command))

    def check_services(self, names: Sequence[str]) -> None:
        """Raise :class:`NotFoundError` for a service that local mode does not have."""
        backend = self._project.backend
        for name in names:
            if name != backend:
                problem = f"There is no service {name!r} in local mode."
                raise NotFoundError(problem, f"Services: {backend}.")

    @property
    def server_name(self) -> str:
        """The server, for people."""
        serve = self._project.serve
        default = "gunicorn" if serve or find_spec("gunicorn") else "Django's own server"
        name = next(reversed(_modules(serve)), default)
        return "Gunicorn" if name == "gunicorn" else name

    def problem(self) -> EngineError | None:
        """Return the error for a Python without the server, or a missing program; else None."""
        serve = self._project.serve
        if serve and serve[0] != "python" and "/" not in serve[0] and not shutil.which(serve[0]):
            problem = f"There is no program {serve[0]} to run the server with."
            key = 'Name a module in pyproject.toml: [tool.composed] serve = ["python", "-m", …]'
            return EngineError(problem, key)
        modules = _modules(serve) if serve else [] if find_spec("django") else ["gunicorn"]
        missing = next((module for module in modules if not self._has(module)), "")
        if not missing:
            return None
        file = self._project.find("requirements.txt")
        packages = f"--requirement {file}" if file else missing
        name = "Gunicorn" if missing == "gunicorn" else missing
        problem = f"{sys.executable} has no {name} to run the server with."
        return EngineError(problem, f"Install it: pip install {packages}")

    def _has(self, module: str) -> bool:
        """Return whether the Python that runs ``inv``, or the source, has the module."""
        own = self._project.base / module
        return bool(own.is_dir() or own.with_suffix(".py").is_file() or find_spec(module))

    def _run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        added = self.environment | plain_environment() | dict(env or {})
        return self._gateway.run(argv, cwd=self._project.tree, env=added)


def with_own_python(argv: Sequence[str]) -> list[str]:
    """Return the command with the Python that runs ``inv``, which has the server's packages."""
    return [sys.executable if word == "python" else word for word in argv]


def _modules(argv: Sequence[str]) -> list[str]:
    """Return the top modules that our Python runs in a command: of ``python -m shop.run``, shop."""
    text = "\0".join(argv)
    return re.findall(r"(?:^|\0)python(?:\0-[^m\0][^\0]*)*\0-m\0([A-Za-z_]\w*)", text)


def _at(argv: Sequence[str], port: int) -> list[str]:
    """Return the command of a server with its address: in its place, else as ``--bind``."""
    bind = [] if any("{port}" in word for word in argv) else ["--bind", f"{HOST}:{port}"]
    return [word.replace("{host}", HOST).replace("{port}", f"{port}") for word in (*argv, *bind)]
