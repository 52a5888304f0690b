"""What a developer has to know of a stack before the verbs act on its data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from composed.docker import detection
from composed.docker.model import ComposeService, Model
from composed.docker.volatile import data_folder, keeps_data
from composed.env.settings import env_files
from composed.init.places import code_of, service_place
from composed.init.report import Fact
from composed.project import Project

_EFFECTS = {
    "flush": "each start removes all data",
    "reset_db": "each start removes all data",
    "migrate": "each start applies migrations, without a snapshot",
    "loaddata": "each start loads data",
}


def warnings(project: Project, model: Model, backend: str, database: str) -> list[Fact]:
    """Return the warnings, the dangers for data first."""
    services = list(model.services.values())
    facts = changes(project, model, backend, harmful=True)
    facts += _facts(project, _of_volumes(services))
    facts += _of_env(project, bool(services))
    return facts + _facts(project, _of_services(model, backend, database))


def _facts(project: Project, told: Iterable[tuple[str, str]]) -> list[Fact]:
    return [Fact(name, text, service_place(project, name)) for name, text in told]


def _of_volumes(services: Iterable[ComposeService]) -> Iterator[tuple[str, str]]:
    for service in services:
        if detection.runs_postgresql(service) and not keeps_data(service):
            folder = data_folder(service)
            yield service.name, f"no volume has {folder}: docker compose down loses the data"


def _of_services(model: Model, backend: str, database: str) -> Iterator[tuple[str, str]]:
    services = model.services.values()
    for name, container in ((service.name, service.container_name) for service in services):
        if container:
            yield name, f"container_name {container}: only one copy of the project can run"
    for service in services:
        if database and service.name != database and detection.is_database(service):
            yield service.name, f"another database: snapshots are of {database} alone"
    for name in detection.same_image(model, backend) if backend else ():
        yield name, f"runs the image of {backend}: after a change of the code, inv restart"
    for name, answer in {backend: "an answer over HTTP", database: "a connection"}.items():
        if name and not is_checked(model.service(name)):
            yield name, f"no health check: inv up waits for {answer}, inv ps shows no later failure"


def changes(project: Project, model: Model, backend: str, *, harmful: bool) -> list[Fact]:
    """Return the commands that change data at each start of the services that run Django.

    Either the ``harmful`` ones, which are warnings, or the others: `inv doctor` judges alike.
    """
    names = [backend, *detection.same_image(model, backend)] if backend else []
    return [
        Fact(name, _in_words(danger.command), danger.place or _written(project, service, danger))
        for name, service in ((name, model.service(name)) for name in names)
        for danger in detection.dangers(service, project)
        if danger.is_harmful == harmful
    ]


def _in_words(command: str) -> str:
    return f"{command}: {_EFFECTS[command]}"


def _written(project: Project, service: ComposeService, danger: detection.Danger) -> str:
    """Return the line of the Compose files or of the Dockerfile that has a command."""
    built = [service.build.dockerfile] if service.build else []
    for file in (*project.compose.all(), *built):
        for number, line in code_of(file):
            if any(match[1] == danger.command for match in detection.CHANGE.finditer(line)):
                return f"{project.relative(file)}:{number}"
    return service_place(project, service.name)


def is_checked(service: ComposeService) -> bool:
    """Return whether the Compose file or the Dockerfile has a health check."""
    instructions = service.build.read().instructions if service.build else []
    checks = [rest for name, rest in instructions if name == "HEALTHCHECK"]
    return service.health_check or bool(checks and checks[-1].upper() != "NONE")


def _of_env(project: Project, runs: bool) -> Iterator[Fact]:
    runs_without = not any(map(os.path.lexists, env_files(project)))
    if os.path.lexists(project.example) and runs_without and not project.owns_env:
        name = project.relative(project.example)
        why = "the project runs" if runs else "no service is active"  # each has a profile
        yield Fact(".env", f"{why} without .env, although there is {name}", name)
