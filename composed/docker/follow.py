"""Follows Django to its database, or refuses: data that Django does not use need no snapshot."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from composed.data.connection import Connection
from composed.docker.model import ComposeService, Model, innermost
from composed.docker.only_copy import copy_of
from composed.errors import NotSupportedError, OtherDatabaseError

_POOLER = re.compile("bouncer|pgcat|pgpool|odyssey|haproxy")


def check(found: Connection, model: Model, database: str, backend: str) -> None:
    """Raise an error unless Django uses the PostgreSQL of the service ``database``.

    :class:`NotSupportedError` where no verb could help, :class:`OtherDatabaseError` where the verbs
    would save another database than the one that Django uses.
    """
    if found.vendor not in ("postgresql", "sqlite"):
        problem = f"Django uses {found.vendor}: the verbs on data support PostgreSQL and SQLite."
        raise NotSupportedError(problem, "Django's own: inv manage -- dumpdata")
    if found.vendor == "sqlite":
        problem = f"Django uses SQLite, {found.name or 'in memory'}, in no folder of this machine."
        cure = "mount a folder of this machine there in the Compose file, and put the file into it."
        if found.name[:1] == "/":
            raise OtherDatabaseError(problem, copy_of(backend, found.name), f"Then {cure}")
        raise OtherDatabaseError(problem, "Let Django use a file in a mounted folder.")
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
    mount = innermost(service.mounts, path)
    if not mount or mount.type != "bind":
        return None
    return Path(mount.source, PurePosixPath(path).relative_to(mount.target))
