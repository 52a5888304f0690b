"""Databases whose data end with the container: no volume or folder of the project has the data.

The images of databases declare a volume. Where a Compose file names no volume for that path, the
engine makes an anonymous volume for each container: ``docker compose down`` loses the data, while
``stop``, and a container that Compose makes anew, keep the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from composed.docker.compose import PROJECT_LABEL
from composed.docker.model import ComposeService, Mount
from composed.gateway import Gateway

POSTGRESQL = "/var/lib/postgresql"
BITNAMI = "/bitnami/postgresql"
_OTHER_PLACES = (BITNAMI, "/home/postgres/pgdata", "/var/lib/pgsql")  # Timescale's, Red Hat's
# Where the images of other databases keep the data; PostgreSQL's have the variable PGDATA.
FOLDERS = {
    "mysql": "/var/lib/mysql",
    "mysql-server": "/var/lib/mysql",
    "mariadb": "/var/lib/mysql",
    "percona": "/var/lib/mysql",
    "percona-server": "/var/lib/mysql",
    "mongo": "/data/db",
}
_RARE = {
    "mssql": "/var/opt/mssql/data",
    "oracle-xe": "/opt/oracle/oradata",
    "oracle-free": "/opt/oracle/oradata",
}
_BITNAMI = re.compile("postgresql|mysql|mariadb|mongodb")  # its other images hold no database
_FORMAT = (
    '{"service":{{json (index .Config.Labels "com.docker.compose.service")}},'
    '"image":{{json .Config.Image}},"env":{{json .Config.Env}},"mounts":{{json .Mounts}},'
    '"declared":{{json .Config.Volumes}},"tmpfs":{{json .HostConfig.Tmpfs}}}'
)
_DATA = f"{POSTGRESQL}/data"  # of the images before PostgreSQL 18
ANONYMOUS = re.compile(r"[0-9a-f]{64}")


class Volatile(NamedTuple):
    """The service of a container, and the anonymous volume with its path; "" without a volume."""

    service: str
    volume: str
    path: str


def volatile(gateway: Gateway, project: str, backend: str = "") -> list[Volatile]:
    """Return the databases of a stack whose data end with the container.

    With ``backend``, also that service where its image declares a volume, for uploads, which the
    Compose file does not name.
    """
    found = [_in_container(row) or _uploads(row, backend) for row in _containers(gateway, project)]
    return [one for one in found if one]


def nameless(gateway: Gateway, project: str) -> list[str]:
    """Return the volumes without a name of a stack's containers.

    A container that Compose makes anew gets such a volume by its digits. From then on the engine
    takes the digits for a name, and ``docker compose down --volumes`` leaves the volume.
    """
    mounts = [mount for row in _containers(gateway, project) for mount in row.get("mounts") or ()]
    names = dict.fromkeys(mount.get("Name") or "" for mount in mounts)
    return [name for name in names if ANONYMOUS.fullmatch(name)]


def _containers(gateway: Gateway, project: str) -> list[Mapping[str, Any]]:
    label = f"label={PROJECT_LABEL}={project}"
    lasting = ("--filter", "label=com.docker.compose.oneoff=False")
    ids = gateway.ask(["docker", "ps", "--all", "--quiet", "--filter", label, *lasting]).out.split()
    lines = gateway.ask(["docker", "inspect", "--format", _FORMAT, *ids]).out if ids else ""
    return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]


def _uploads(row: Mapping[str, Any], backend: str) -> Volatile | None:
    declared = {*(row.get("declared") or ())}
    for mount in row.get("mounts") or () if row.get("service") == backend else ():
        name, path = mount.get("Name") or "", mount["Destination"]
        if mount.get("Type") == "volume" and path in declared and ANONYMOUS.fullmatch(name):
            return Volatile(backend, name, path)
    return None


def _in_container(row: Mapping[str, Any]) -> Volatile | None:
    if not (data := _folder(row)):
        return None
    mounts = [mount for mount in row.get("mounts") or () if _is_in(data, mount["Destination"])]
    mounts.sort(key=lambda mount: len(mount["Destination"]))
    mount: dict[str, str] = mounts[-1] if mounts else {}
    kind, name = mount.get("Type", ""), mount.get("Name", "")
    in_memory = any(_is_in(data, path) for path in row.get("tmpfs") or ())  # ends with a stop too
    kept = kind == "volume" and not ANONYMOUS.fullmatch(name)
    if kind in ("bind", "tmpfs") or kept or in_memory:
        return None
    return Volatile(row["service"], name, mount.get("Destination", data))


def _folder(row: Mapping[str, Any]) -> str:
    """Return the folder of a database's data; "" for a container of another program.

    A variable or a volume of the image tells more than the name, which a project may choose.
    """
    variables: dict[str, str] = dict(line.partition("=")[::2] for line in row.get("env") or ())
    if data := variables.get("PGDATA"):
        return data
    *path, name = str(row.get("image")).partition("@")[0].split("/")
    name, source = name.partition(":")[0], "".join(path[-1:])
    of_bitnami = name if source.startswith("bitnami") else ""
    if _BITNAMI.match(app := variables.get("BITNAMI_APP_NAME") or of_bitnami):
        return f"/bitnami/{app.partition('-')[0]}/data"
    known = FOLDERS | _RARE
    places = (POSTGRESQL, *_OTHER_PLACES, *known.values())
    declared: list[str] = sorted(row.get("declared") or ())
    own = (path for path in declared if any(_is_in(path, place) for place in places))
    return next(own, "") or known.get(name) or known.get(source, "")


def _is_in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def data_folder(service: ComposeService) -> str:
    """Return the folder of PostgreSQL's data in the container."""
    of_bitnami = "bitnami" in service.image.split("/")
    return service.environment.get("PGDATA") or (BITNAMI if of_bitnami else _DATA)


def keeps_data(service: ComposeService) -> bool:
    """Return whether a named volume, or a folder of this machine, has PostgreSQL's data."""
    return any(_keeps(mount, service) for mount in service.mounts)


def _keeps(mount: Mount, service: ComposeService) -> bool:
    if not mount.is_lasting:
        return False
    target, data = PurePosixPath(mount.target), PurePosixPath(data_folder(service))
    version = re.search(r":(\d+)", service.image)
    if version and int(version[1]) < 18 and str(target) == POSTGRESQL:
        return not data.is_relative_to(_DATA)  # the image's own volume hides that part
    return holds_data(mount, service)


def holds_data(mount: Mount, service: ComposeService) -> bool:
    """Return whether PostgreSQL's data would be in the mount, and not a file of its settings."""
    is_place = any(_is_in(mount.target, place) for place in (POSTGRESQL, *_OTHER_PLACES))
    is_file = bool(PurePosixPath(mount.target).suffix)
    return _is_in(data_folder(service), mount.target) or (is_place and not is_file)
