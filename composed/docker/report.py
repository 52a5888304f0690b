"""The facts about a stack in docker mode."""

import json
from collections.abc import Iterator

from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.database import DatabaseService
from composed.docker.detection import dangers
from composed.docker.images import recipe, stale_rows
from composed.docker.model import Model
from composed.docker.profiles import inactive, problem
from composed.docker.volatile import keeps_data, volatile
from composed.findings import Finding, State, any_wrong
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
        model, found = self._dc.model(), self._stack.runner.ps()
        # A service of another profile, or one that has left the file, may end.
        services = [s for s in found if s.service in model.services or s.state == "running"]
        ours = {host for service in services for host in service.ports.values()}
        running = any(s.service == self._database.name and s.ready for s in services)
        return [
            *rows,
            *self._names(model),
            *port_rows(gateway, model.published(), ours),
            *stale_rows(gateway, recipe(model)),
            *self._database.volume_check(model).findings(running=running),
            *self._volatile(model),
            *self._at_each_start(model),
            *service_rows(services),
        ]

    def _at_each_start(self, model: Model) -> Iterator[Finding]:
        project = self._stack.project
        for danger in dangers(model.service(project.backend), project):
            state: State = "warning" if danger.is_harmful else "ok"
            seen = f"{danger.command}, in {danger.place or 'the command of the service'}"
            cure = "Take it out: it changes data at each start" if state == "warning" else ""
            yield Finding("at each start", state, seen, cure)

    def _names(self, model: Model) -> Iterator[Finding]:
        """Yield each service that the project needs and the Compose file does not have."""
        project = self._stack.project
        needed = (("backend", project.backend), ("database", project.database))
        if all(name in model.services for _, name in needed if name):
            return
        found = inactive(project, self._dc, model)
        for key, name in needed:
            if name in found.names or (name and found.names and not model.services):
                seen, cures = problem(project, found, name)
                yield Finding(f"service {key}", "wrong", seen, "; ".join(cures))
            elif name and name not in model.services:
                seen = f"no service {name!r}; there are: {', '.join(sorted(model.services))}"
                cure = f'[tool.composed] {key} = "SERVICE" in pyproject.toml'
                yield Finding(f"service {key}", "wrong", seen, cure)

    def _volatile(self, model: Model) -> Iterator[Finding]:
        lost = {found.service for found in volatile(self._stack.gateway, self._stack.name)}
        service = model.service(self._database.name)
        lost |= {service.name} if service.image and not keeps_data(service) else set()
        for name in sorted(lost):
            seen = "in no volume of the Compose file: docker compose down loses the data"
            yield Finding(f"data of {name}", "warning", seen, "inv down (keeps the data)")

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
        answer = self._stack.gateway.ask(self._dc.argv("config", "--format", "json"))
        try:
            model = json.loads(answer.out)
        except (ValueError, RecursionError):
            return []
        pairs = [*_pairs(model)]
        values = [value for name, value in pairs if name in names or is_secret(name)]
        return [spelled for value in values for spelled in {value, value.replace("$$", "$")}]


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    """Yield each name with its text, of mappings and of NAME=value, anywhere in a model.

    The model may be odd: each secret counts, where the whole could not be understood.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str | int) and inner and inner is not True:
                yield name, str(inner)
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)
    elif isinstance(value, str):
        name, _, text = value.partition("=")
        if text:
            yield name, text
