"""Names that another stack on the engine has already."""

import shlex
from pathlib import Path

from composed.docker.compose import PROJECT_LABEL, Compose
from composed.docker.model import Model
from composed.env.settings import NAME
from composed.errors import NotFoundError, RefusedError
from composed.project import has_tasks


def check_owner(dc: Compose, project: str, folder: Path) -> list[list[str]]:
    """Raise :class:`RefusedError` where a stack of another folder has the name of this stack.

    Return the name, the stack and the stack's folder of each container on the engine.
    """
    containers = _containers(dc)
    for _, owner, other in containers:
        if owner == project and other and _is_another(folder, other):
            down = "inv down" if has_tasks(Path(other)) else "composed down"
            raise RefusedError(
                f"The stack {owner} exists already: it belongs to the folder {other}.",
                f"Give this stack another name: write {NAME}={owner}-2 into .env",
                # `docker compose down` would lose a database without a volume.
                f"Or end that stack, which keeps its data: cd {shlex.quote(other)} && {down}",
            )
    return containers


def _is_another(folder: Path, other: str) -> bool:
    """Return whether another folder is there; a folder of a user who lets nobody look is one."""
    try:
        return not folder.samefile(other)
    except (FileNotFoundError, NotADirectoryError):  # removed, or moved to here
        return False
    except OSError:
        return True


def check_names(dc: Compose, model: Model, project: str, folder: Path) -> None:
    """Raise :class:`RefusedError` where a stack of another folder has the name of this stack.

    Compose would take the containers and volumes of that stack for its own. A name that the
    Compose file fixes for a container can be in use too, and an external volume can be missing.
    """
    containers = check_owner(dc, project, folder)
    fixed = {service.container_name for service in model.services.values()}
    for name, owner, _ in containers:
        if owner != project and name in fixed:
            of = f" of the stack {owner}" if owner else ""
            raise RefusedError(
                f"A container{of} is called {name}, as in the Compose file here (container_name).",
                # To remove it would lose a database without a volume.
                f"Give that container another name: docker rename {name} {name}-old",
            )
    external = [volume for volume in model.volumes.values() if volume.external]
    existing = dc.volumes() if external else {}
    for volume in external:
        if volume.name not in existing:
            problem = f"There is no volume {volume.name}, and the Compose file calls it external."
            raise NotFoundError(problem, f"Type: docker volume create {volume.name}")


def _containers(dc: Compose) -> list[list[str]]:
    """Return the name, the project and the project's folder of each container on the engine."""
    labels = (PROJECT_LABEL, f"{PROJECT_LABEL}.working_dir")
    form = "\\t".join(["{{.Names}}", *(f'{{{{.Label "{label}"}}}}' for label in labels)])
    answer = dc.gateway.ask(["docker", "ps", "--all", "--format", form])
    rows = [line.split("\t") for line in answer.out.splitlines()]
    return [row for row in rows if len(row) == len(labels) + 1]
