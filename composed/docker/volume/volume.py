"""The volume that the database's service keeps its data on, as a Compose model has it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from composed.docker import engine
from composed.docker.model import Model, setting_of
from composed.errors import InputOutputError, SettingError
from composed.gateway import Gateway

__all__ = [
    "Versions",
    "Volume",
    "check",
    "check_mount",
    "configured",
    "exists",
    "mount_for",
    "settings_of",
    "versions",
    "volume_of",
]

# The data of all layouts: the mount itself, a folder in it, and `18/docker` from 18 on.
_LOOK = """\
postgres --version
cd /volume && cat PG_VERSION */PG_VERSION */docker/PG_VERSION 2>/dev/null
true
"""


class Volume(NamedTuple):
    """A volume's name on the engine, where it is mounted, and the image that uses it.

    Of a model before interpolation, the settings that these three come from.
    """

    name: str
    mount: str
    image: str


class Versions(NamedTuple):
    """The major versions of the server in an image and of the data; 0 is unknown or none."""

    server: int
    data: int


def volume_of(model: Model, name: str) -> Volume | None:
    """Return the first volume of the service; None for none, and for a folder of the host."""
    service = model.service(name)
    mounts = (mount for mount in service.mounts if mount.type == "volume" and service.image)
    return next((Volume(mount.volume, mount.target, service.image) for mount in mounts), None)


def settings_of(written: Model, service: str) -> Volume:
    """Return the settings in a model before interpolation; "" where a value is fixed."""
    return Volume(*map(setting_of, volume_of(written, service) or ("", "", "")))


def exists(gateway: Gateway, name: str) -> bool:
    """Say whether the engine has the volume; raises when it cannot tell."""
    asked = gateway.ask(["docker", "volume", "inspect", name])
    if asked.code and "no such volume" not in asked.err.lower():
        raise engine.problem(gateway) or InputOutputError(
            f"docker volume inspect failed: {asked.err.strip()}"
        )
    return asked.code == 0


def configured(gateway: Gateway, image: str) -> dict[str, Any]:
    """Return how the image is configured; empty when it is not here."""
    asked = gateway.ask(["docker", "image", "inspect", "--format", "{{json .Config}}", image])
    try:
        return dict(json.loads(asked.out)) if asked.code == 0 else {}
    except ValueError:
        return {}


def versions(gateway: Gateway, volume: Volume) -> Versions:
    """Look with the volume's image, which is here, into the volume, which exists."""
    mounted = ("--volume", f"{volume.name}:/volume:ro", "--entrypoint", "sh")
    alone = ("--rm", "--network", "none", "--user", "0:0")
    looked = gateway.ask(["docker", "run", *alone, *mounted, volume.image, "-c", _LOOK])
    if looked.code and (error := engine.problem(gateway)):
        raise error
    said = looked.out
    server, data = re.search(r"PostgreSQL\) (\d+)", said), re.search(r"^(\d+)$", said, re.M)
    return Versions(*(int(found[1]) if found else 0 for found in (server, data)))


def check(volume: Volume, found: Versions, setting: str) -> None:
    """Raise :class:`SettingError` when the server cannot start on the data."""
    if not all(found) or found.server == found.data:
        return
    raise SettingError(
        f"Volume {volume.name} holds data of PostgreSQL {found.data}; {setting} is "
        f"{volume.image}, which is {found.server}.",
        *(["Move the data: inv db.upgrade"] if found.server > found.data else []),
        f"Stay where it is: write {setting}=postgres:{found.data} into .env",
    )


def check_mount(volume: Volume, config: Mapping[str, Any], setting: str) -> None:
    """Raise :class:`SettingError` where the image would keep its data beside the volume."""
    if (fitting := mount_for(config, volume.mount)) != volume.mount:
        raise SettingError(
            f"{setting} is {volume.mount}, where {volume.image} does not keep its data.",
            f"Write {setting}={fitting} into .env",
        )


def mount_for(config: Mapping[str, Any], mount: str) -> str:
    """Return the mount, or where the image's own volume is when its data would not be in it.

    To 17 the official images have theirs at PGDATA, from 18 on above it; a mount
    above the image's own volume gets nothing, since that one is on top.
    """
    own = [PurePosixPath(path) for path in config.get("Volumes") or {}]
    env = dict(line.partition("=")[::2] for line in config.get("Env") or ())
    given, data = PurePosixPath(mount), env.get("PGDATA")
    hidden = any(given in path.parents for path in own)
    if len(own) != 1 or not data or (PurePosixPath(data).is_relative_to(given) and not hidden):
        return mount
    return str(own[0])
