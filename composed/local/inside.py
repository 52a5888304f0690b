"""Commands of local mode: ordinary processes in the server's folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence

from composed.errors import NotFoundError
from composed.gateway import Answer
from composed.local.server import ServerPrograms, with_own_python
from composed.stack import Inside, Stack, url_of

__all__ = ["LocalInside"]


class LocalInside(Inside):
    """Runs commands with the Python that runs ``inv``."""

    def __init__(self, stack: Stack, server: ServerPrograms) -> None:
        self._stack, self._server = stack, server

    def manage(self, *args: str, env: Mapping[str, str] | None = None) -> int:
        """Run ``manage.py``."""
        self._server.check()
        self._stack.gateway.make_folder(self._server.database.parent)
        return self._server.run(self._server.manage(*args), env)

    def ask_one_off(self, *args: str, env: Mapping[str, str] | None = None) -> Answer:
        """Return the answer of ``manage.py``."""
        return self._server.ask(self._server.manage(*args), env)

    def current_url(self) -> str:
        """Return the URL of Gunicorn, which runs from the source."""
        return url_of(self._stack.runner.ps())

    def shell(self, service: str, argv: Sequence[str]) -> int:
        """Run ``argv`` in the server's folder, with its settings."""
        self._server.check_services([service])
        return self._server.run([*with_own_python(argv[:1]), *argv[1:]])

    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        """Open the SQLite file with the ``sqlite3`` command, or with Python's own."""
        file = self._server.database
        if not file.exists():
            raise NotFoundError(f"There is no {file}.", "Type: inv migrate")
        client = ["sqlite3"] if shutil.which("sqlite3") else [sys.executable, "-m", "sqlite3"]
        if client[0] != "sqlite3" and sys.version_info < (3, 12):
            raise NotFoundError("There is no sqlite3 command here.", "Type: inv shell --django")
        question = [command] if command else []
        return self._stack.gateway.run([*client, *args, str(file), *question])
