"""The server's programs as local mode runs them: which Python, which environment, where."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from composed.env.settings import Settings
from composed.errors import EngineError, NotFoundError
from composed.gateway import Answer, Gateway
from composed.project import Project
from composed.terminal import plain_environment

__all__ = ["ServerPrograms", "with_own_python"]

# Local mode decides these itself; the server gets all other settings.
FIXED = re.compile(r"POSTGRES_.+|COMPOSED?_.+|APP_[UG]ID|PORT|DB_PORT")


class ServerPrograms:
    """Runs programs of the server in its source folder; ``database`` is the SQLite file."""

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        self._project, self._settings, self._gateway = project, settings, gateway
        chosen = settings.values.get("SQLITE_PATH") or settings.defaults["SQLITE_PATH"]
        self.database = project.root / chosen if chosen else project.tree / "db.sqlite3"

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the server, added to those of ``inv``."""
        values = self._settings.values
        chosen = {n: v for n, v in values.items() if v and not FIXED.fullmatch(n)}
        chosen.pop(self._project.backend_port, None)
        own = {**self._project.local_environment, "SQLITE_PATH": str(self.database)}
        return chosen | own | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Run a program on the terminal; return its exit code."""
        added = self.environment | plain_environment() | dict(env or {})
        return self._gateway.run(argv, cwd=self._project.tree, env=added)

    def ask(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Answer:
        """Return the answer of a program."""
        added = self.environment | dict(env or {})
        return self._gateway.ask(argv, cwd=self._project.tree, env=added)

    def manage(self, *args: str) -> list[str]:
        """Return the command line of a management command."""
        return [*with_own_python(self._project.manage), *args]

    def check_services(self, names: Sequence[str]) -> None:
        """Raise :class:`NotFoundError` for a service that local mode does not have."""
        backend = self._project.backend
        for name in names:
            if name != backend:
                raise NotFoundError(
                    f"There is no service {name!r} in local mode.", f"Services: {backend}."
                )

    def check(self) -> None:
        """Raise :class:`EngineError` when the server cannot run."""
        if problem := self.problem():
            raise problem

    def problem(self) -> EngineError | None:
        """Return the error if Gunicorn is missing."""
        if find_spec("gunicorn"):
            return None
        file = self._project.find("requirements.txt")
        packages = f"--requirement {file}" if file else "gunicorn"
        return EngineError(
            f"{sys.executable} has no Gunicorn to run the server with.",
            f"Install it: pip install {packages}",
        )


def with_own_python(argv: Sequence[str]) -> list[str]:
    """Return the command with the Python that runs ``inv``, which has the server's packages."""
    return [sys.executable if word == "python" else word for word in argv]
