"""A second stack of a project beside the developer's: what tells it apart, and its removal.

A name of its own is not enough: a Compose file can fix the names of containers, volumes and
images, and the ports. A Compose file of ours gives the second stack others; what cannot be given
twice is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from composed.data.connection import Connection
from composed.docker.compose import PROJECT_LABEL, Compose
from composed.docker.follow import file_on_host
from composed.docker.model import ComposeService, Model
from composed.docker.override import in_short, service_line
from composed.docker.store import KINDS
from composed.docker.volatile import FOLDERS, POSTGRESQL, data_folder
from composed.errors import ComposedError, InputOutputError, RefusedError
from composed.gateway import Gateway

_COMMENT = "# Written by composed.sessions: all that a second stack cannot have as well.\n"

ROUNDS = 5  # of a removal: what was being made a moment ago is there in the next round
SECONDS_BETWEEN_ROUNDS = 0.5

Table = Mapping[str, Any]


def override(text: str, stack: str, *, build: bool) -> str:
    """Return the Compose file for the ``stack``; ``text`` is its model as Compose prints it.

    With ``build``, the images that the Compose file names are built under other names. Raises
    :class:`RefusedError` for data or addresses that both stacks would share.
    """
    model, raw = Model.resolved(text), json.loads(text)
    services = raw.get("services") or {}
    for problem, cure in _shared(model, raw):
        raise RefusedError(problem, cure)
    images = _images(services, stack) if build else {}
    lines = [
        service_line(name, _apart(services[name], images), [_any(p) for p in service.ports])
        for name, service in model.services.items()
    ]
    parts = (_services(lines), _volumes(raw, stack), _networks(raw, stack))
    return f"{_COMMENT}{''.join(parts)}"


def check_database(text: str, found: Connection) -> None:
    """Raise :class:`RefusedError` where Django uses a database that is of no stack alone.

    ``text`` is as for :func:`override`.
    """
    services = Model.resolved(text).services.values()
    if found.vendor == "sqlite":
        for file in filter(None, (file_on_host(service, found.name) for service in services)):
            problem = (
                f"Django uses the SQLite file {file}, which is the file of your stack as well."
            )
            raise RefusedError(problem, "Without containers: sessions.stack(session, mode='local')")
    elif found.host not in {known for service in services for known in service.hosts}:
        problem = (
            f"Django uses the database on {found.host or 'a socket'}, which is no service here."
        )
        raise RefusedError(problem, "Both stacks would use that database. See DATABASES.")


def remove(gateway: Gateway, stack: str) -> None:
    """Remove all that the engine has of the stack, by the label: no Compose file is needed.

    Raises the error of the last round: an earlier round may have met Compose at the same work.
    """
    failure: ComposedError
    for number in range(ROUNDS):
        if number:
            time.sleep(SECONDS_BETWEEN_ROUNDS)
        try:
            if not _remove_once(Compose(gateway, ()), stack):
                return
            failure = InputOutputError(f"The engine still has containers or volumes of {stack}.")
        except ComposedError as error:
            failure = error
    raise failure


def _remove_once(dc: Compose, stack: str) -> bool:
    """Return whether something was there."""
    found = False
    for listing, removal in KINDS:
        asked = ["docker", *listing, "--filter", f"label={PROJECT_LABEL}={stack}"]
        if ids := dc.output(asked).split():
            found = True
            dc.output(["docker", *removal, *dict.fromkeys(ids)], effect=True)
    return found


def _shared(model: Model, raw: Table) -> Iterator[tuple[str, str]]:
    """Yield what both stacks would share, with the cure."""
    other = "Or use another Compose file for the session: COMPOSE_FILE=FILE nox"
    for key, volume in (raw.get("volumes") or {}).items():
        if volume.get("external"):
            problem = f"The volume {key} is external: the session would use the data of your stack."
            yield problem, f"Take `external` out of the Compose file. {other}"
        if device := (volume.get("driver_opts") or {}).get("device"):
            problem = f"The volume {key} is the place {device}, which your stack uses."
            yield problem, f"Take `driver_opts` out of the Compose file. {other}"
    for key, network in (raw.get("networks") or {}).items():
        if (network.get("ipam") or {}).get("config"):
            problem = f"The network {key} has fixed addresses, which two stacks cannot have."
            yield problem, f"Take `ipam` out of the Compose file. {other}"
    for name, service in (raw.get("services") or {}).items():
        mode = str(service.get("network_mode") or "")
        if mode == "host" or mode.startswith("container:"):
            problem = f"The service {name} has network_mode {mode}, which reaches your stack."
            yield problem, f"Publish ports instead. {other}"
    for compose_service in model.services.values():
        if source := _shared_folder(compose_service):
            problem = f"The data of {compose_service.name} is in the folder {source}."
            cure = "The session would use the same data. Mount a named volume there instead."
            yield problem, f"{cure} {other}"


def _shared_folder(service: ComposeService) -> str:
    """Return the folder of this machine that holds the data of a database; "" for none."""
    places = {POSTGRESQL, data_folder(service), *FOLDERS.values()}
    for mount in service.mounts:
        if mount.type == "bind" and not Path(mount.source).is_file():  # a file of settings
            target = PurePosixPath(mount.target)
            if any(
                target.is_relative_to(p) or PurePosixPath(p).is_relative_to(target) for p in places
            ):
                return mount.source
    return ""


def _any(port: Any) -> str:
    """Return the port for a number that the engine chooses: nobody can have taken that one."""
    return in_short(port._replace(published="0"))


def _images(services: Table, stack: str) -> dict[str, str]:
    """Return a new name for each image that is built: the name is the developer's image."""
    return {
        service["image"]: f"{stack}-{name}"
        for name, service in services.items()
        if service.get("build") and service.get("image")
    }


def _apart(service: Table, images: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of a service that get another value, as YAML."""
    keys = {}
    if container := service.get("container_name"):
        keys["container_name"] = "!reset null"
        # Other services may use the name of the container as a host.
        aliases = {key: {"aliases": [container]} for key in service.get("networks") or {}}
        keys |= {"networks": json.dumps(aliases)} if aliases else {}
    if image := images.get(service.get("image", "")):
        keys["image"] = json.dumps(image)
    return keys


def _services(lines: list[str]) -> str:
    return f"services:\n{''.join(lines)}" if any(lines) else ""


def _volumes(raw: Table, stack: str) -> str:
    lines = [
        f"  {json.dumps(key)}: {json.dumps({'name': f'{stack}_{key}'})}\n"
        for key in raw.get("volumes") or {}
    ]
    return f"volumes:\n{''.join(lines)}" if lines else ""


def _networks(raw: Table, stack: str) -> str:
    """Name each network; an external one becomes a network of this stack alone.

    On a shared network the name of a service would stand for the services of both stacks.
    """
    lines = [
        f"  {json.dumps(key)}: {'!override ' if network.get('external') else ''}"
        f"{json.dumps({'name': f'{stack}_{key}'})}\n"
        for key, network in (raw.get("networks") or {}).items()
    ]
    return f"networks:\n{''.join(lines)}" if lines else ""
