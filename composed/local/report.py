"""The facts about a stack in local mode."""

from __future__ import annotations

import sys

from composed.findings import Finding
from composed.local.daemon import Daemon
from composed.local.runner import HOST
from composed.local.server import ServerPrograms
from composed.ports.choice import findings as port_rows
from composed.ports.published import Published
from composed.stack import Report, Stack, as_json, service_rows

__all__ = ["LocalReport"]

LINES = 2000


class LocalReport(Report):
    """Looks at the server's packages, its port, its process and its log."""

    def __init__(self, stack: Stack, server: ServerPrograms, daemon: Daemon) -> None:
        self._stack, self._server, self._daemon = stack, server, daemon

    def findings(self) -> list[Finding]:
        """Return the findings on the server's packages, its port and its process."""
        project, services = self._stack.project, self._stack.runner.ps()
        port = int(self._stack.settings[project.backend_port])
        ours = {host for service in services for host in service.ports.values()}
        wanted = [Published(project.backend, HOST, port)] if port else []
        return [
            Finding.of("server", self._server.problem(), f"Gunicorn of {sys.executable}"),
            *port_rows(self._stack.gateway, wanted, ours),
            *service_rows(services),
        ]

    def evidence(self) -> dict[str, str]:
        """Return the end of the log, and the services."""
        log = self._daemon.log
        lines = log.read_text(errors="replace").splitlines(keepends=True) if log.exists() else []
        services = as_json(self._stack, self._stack.runner.ps())
        return {"logs.txt": "".join(lines[-LINES:]), "ps.json": services}
