"""The facts about a stack in docker mode."""

import contextlib

from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.database import DatabaseService
from composed.docker.images import recipe, stale_rows
from composed.errors import ComposedError
from composed.findings import Finding, any_wrong
from composed.ports.choice import findings as port_rows
from composed.redaction import is_secret
from composed.stack import Report, Stack, service_rows


class EngineReport(Report):
    """Asks the engine and Compose."""

    def __init__(self, stack: Stack, dc: Compose, database: DatabaseService) -> None:
        self._stack, self._dc, self._database = stack, dc, database

    def findings(self) -> list[Finding]:
        gateway = self._stack.gateway
        rows = engine.findings(gateway)
        if any_wrong(rows):
            return rows
        model, services = self._dc.model(), self._stack.runner.ps()
        ours = {host for service in services for host in service.ports.values()}
        running = any(s.service == self._database.name and s.ready for s in services)
        return [
            *rows,
            *port_rows(gateway, model.published(), ours),
            *stale_rows(gateway, recipe(model)),
            *self._database.volume_check(model).findings(running=running),
            *service_rows(services),
        ]

    def evidence(self) -> dict[str, str]:
        ask, argv = self._stack.gateway.ask, self._dc.argv
        ids = ask(argv("ps", "--all", "--quiet")).out.split()
        commands = {
            "logs.txt": argv("logs", "--no-color", "--timestamps", "--tail", "2000"),
            "ps.txt": argv("ps", "--all"),
            "health.txt": ["docker", "inspect", "--format", "{{.Name}} {{json .State}}", *ids],
            "config.yml": argv("config", "--no-interpolate"),
            "engine.txt": ["docker", "version"],
            "compose.txt": ["docker", "compose", "version"],
        }
        answers = {name: ask(command) for name, command in commands.items()}
        return {name: answer.out + answer.err for name, answer in answers.items()}

    def secrets(self) -> list[str]:
        names = self._stack.project.secrets
        with contextlib.suppress(ComposedError):
            services = self._dc.model().services.values()
            pairs = [pair for service in services for pair in service.environment.items()]
            return [value for name, value in pairs if value and (name in names or is_secret(name))]
        return []
