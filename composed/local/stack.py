"""Local mode: Gunicorn and SQLite as ordinary processes, for a machine without an engine."""

from __future__ import annotations

from composed.env.settings import Settings
from composed.gateway import Gateway
from composed.local.daemon import Daemon
from composed.local.inside import LocalInside
from composed.local.runner import LocalRunner
from composed.local.server import ServerPrograms
from composed.local.store import FileStore
from composed.project import Project
from composed.stack import Report, Stack

__all__ = ["LocalStack"]


class LocalStack(Stack):
    """A stack with a single service, the backend; the database is a SQLite file."""

    mode = "local"
    database_engine = "sqlite"

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        super().__init__(project, settings, gateway)
        self._server = ServerPrograms(project, settings, gateway)
        self._daemon = Daemon(gateway, self.folder)
        self.runner = LocalRunner(self, self._server, self._daemon)
        self.inside = LocalInside(self, self._server)
        self.store = self._store = FileStore(self, self._server.database)

    @property
    def report(self) -> Report:
        """The facts for a diagnosis."""
        from composed.local.report import LocalReport  # noqa: PLC0415  # few verbs need it

        return LocalReport(self, self._server, self._daemon)

    def clean_up(self) -> None:
        """Rotate the log, and remove the leftovers of a killed restore."""
        if not self.gateway.dry:
            self._daemon.rotate()
            self._store.clean_up()
