"""Follows Django to its database, or refuses: data that Django does not use need no snapshot."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from composed.data.connection import Connection, fresh, in_container, recorded
from composed.docker.compose import Compose
from composed.docker.model import ComposeService, Model, Mount
from composed.errors import NotSupportedError, OtherDatabaseError, RefusedError
from composed.stack import Stack

_SQLITE = re.compile(r"\.(?:sqlite3?|s3db|db3?)$")
_POOLER = re.compile("bouncer|pgcat|pgpool|odyssey|haproxy")


def check(found: Connection, model: Model, database: str) -> None:
    """Raise an error unless Django uses the PostgreSQL of the service ``database``.

    :class:`NotSupportedError` where no verb could help, :class:`OtherDatabaseError` where the verbs
    would save another database than the one that Django uses.
    """
    if found.vendor not in ("postgresql", "sqlite"):
        problem = f"Django uses {found.vendor}: the verbs on data support PostgreSQL and SQLite."
        raise NotSupportedError(problem, "Django's own: inv manage -- dumpdata")
    if found.vendor == "sqlite":
        problem = f"Django uses SQLite, {found.name or 'in memory'}, in no folder of this machine."
        raise OtherDatabaseError(problem, "Mount the folder of that file in the Compose file.")
    if not database:
        problem = f"Django uses PostgreSQL on {found.host or 'a socket'}, which is no service here."
        raise NotSupportedError(problem, "The verbs on data support a PostgreSQL service.")
    known = {host for service in _ways(model, database) for host in service.hosts}
    if found.host not in known:
        named = [s.name for s in model.services.values() if found.host in s.hosts]
        problem = f"Django uses the database on {found.host or 'a socket'}, not service {database}."
        key = f'Name it in pyproject.toml: [tool.composed] database = "{"".join(named)}"'
        hint = key if named else "See DATABASES in the settings of Django."
        raise OtherDatabaseError(problem, hint)


def _ways(model: Model, database: str) -> list[ComposeService]:
    """Return the service of the database, and the poolers before it."""
    poolers = [s for s in model.services.values() if _POOLER.search(f"{s.image} {s.name}")]
    return [model.service(database), *poolers]


def file_on_host(service: ComposeService, path: str) -> Path | None:
    """Return the file of this machine that is at a path of the service; it may not exist yet."""
    mount = _mount_of(service, path)
    if not mount or mount.type != "bind":
        return None
    return Path(mount.source, PurePosixPath(path).relative_to(mount.target))


def ends_with_container(
    found: Connection, service: ComposeService, *, renewed: bool = False
) -> bool:
    """Return whether Django uses a SQLite file that only the container has.

    A volume without a name is of one container; a ``renewed`` container gets it from the old one.
    """
    if found.vendor != "sqlite" or found.name[:1] != "/":
        return False
    mount = _mount_of(service, found.name)
    return not mount or (mount.type == "volume" and not mount.source and not renewed)


def only_in_container(stack: Stack, dc: Compose, *, renewed: bool = False) -> str:
    """Return the path of a SQLite file of Django that only the container has; "" for none.

    By the last answer of Django. With ``renewed``, of a file that a container which Compose makes
    anew would not have.
    """
    kept = recorded(stack)
    if not kept or kept[0].vendor != "sqlite":
        return ""
    backend = dc.model().service(stack.project.backend)
    return kept[0].name if ends_with_container(kept[0], backend, renewed=renewed) else ""


def asked_of_container(stack: Stack, dc: Compose, *, renewed: bool = False) -> str | None:
    """Return the same as :func:`only_in_container`, asked of Django after a change.

    The container may be of a plain ``docker compose up``, of which there is no record. None where
    Django gives no answer and never gave one.
    """
    if not stack.follows_django or stack.gateway.dry:
        return only_in_container(stack, dc, renewed=renewed)
    text = dc.ask("config", "--format", "json")
    model, name = Model.resolved(text), stack.project.backend
    if not (found := fresh(stack, text)):
        if name not in model.services or not _containers(dc, name):
            return ""
        found = in_container(stack)
    if not found:
        return None
    lost = ends_with_container(found, model.service(name), renewed=renewed)
    return found.name if lost else ""


def at_stake(stack: Stack, dc: Compose, *, renewed: bool = False) -> str:
    """Return the same as :func:`asked_of_container`; for None, a file that looks like SQLite's.

    Else a Django that has never worked could never be corrected.
    """
    path = asked_of_container(stack, dc, renewed=renewed)
    return _written(dc, stack.project.backend) if path is None else path


def check_not_lost(stack: Stack, dc: Compose, deed: str, *, renewed: bool = False) -> None:
    """Raise :class:`RefusedError` where ``deed`` would end the container with the only SQLite file.

    ``deed`` is a sentence without its end, such as "A restart makes a new container". For
    ``renewed``, see :func:`only_in_container`.
    """
    name, path = stack.project.backend, at_stake(stack, dc, renewed=renewed)
    if path and _containers(dc, name):
        problem = f"{deed}, and only the container of {name} has Django's database, {path}."
        copy = f"Save the file: inv dc -- cp {name}:{path} ."
        raise RefusedError(problem, copy, "Then mount the folder of that file in the Compose file.")


def _containers(dc: Compose, service: str) -> list[str]:
    return dc.ask("ps", "--all", "--quiet", service).split()


def _written(dc: Compose, service: str) -> str:
    """Return a file with an ending of SQLite's that a container of the service has written."""
    lines: list[str] = []
    for container in _containers(dc, service):
        lines += dc.output(["docker", "diff", container]).splitlines()
    changes = (line.partition(" ") for line in lines)  # A, C or D, and a path
    return next((path for kind, _, path in changes if kind in "AC" and _SQLITE.search(path)), "")


def _mount_of(service: ComposeService, path: str) -> Mount | None:
    mounts = [m for m in service.mounts if PurePosixPath(path).is_relative_to(m.target)]
    return max(mounts, key=lambda mount: len(mount.target), default=None)
