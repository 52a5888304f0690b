"""The volume of the database service, compared with the image and the credentials."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.model import Model, setting_of
from composed.docker.volume.credentials import VARIABLES, Credentials, Server
from composed.errors import ComposedError, SettingError
from composed.findings import Finding
from composed.gateway import Gateway
from composed.project import text_of
from composed.records import read_object, text_map

# The data of all layouts: the mount itself, a folder in it, and `18/docker` from 18 on.
_LOOK = """\
postgres --version
cd /volume && cat PG_VERSION */PG_VERSION */docker/PG_VERSION 2>/dev/null
true
"""


class DataVolume(NamedTuple):
    """The name of a volume on the engine, the path of the mount, and the image of the service."""

    name: str
    mount: str
    image: str


class Versions(NamedTuple):
    """The major versions of the server in an image and of the data; 0 for unknown or none."""

    server: int
    data: int


class VolumeCheck:
    """Compares the volume with a Compose model; ``file`` records the settings that fitted."""

    def __init__(self, dc: Compose, model: Model, service: str, file: Path) -> None:
        self._dc, self._service, self._file = dc, service, file
        self.volume, self.server = volume_of(model, service), None
        self._environment = environment_of(dc.gateway, model, service)
        wanted = Credentials.of(self._environment)
        if wanted.password:
            self.server = Server(dc, service, wanted)

    @property
    def is_known(self) -> bool:
        """Whether these settings fitted before, or no volume could contradict them."""
        return self.volume is None or self._read() == self._current()

    @property
    def old_image(self) -> str:
        """The image that fitted this volume before the current image; "" for none."""
        old, new = self._read(), self._current()
        same = old.get("volume") == new["volume"] and old.get("image") != new["image"]
        return old.get("image", "") if same else ""

    def remember(self) -> None:
        """Record that the volume fits."""
        self._dc.gateway.write(self._file, json.dumps(self._current(), indent=2))

    def check_volume(self) -> bool:
        """Return whether the volume exists; raise :class:`SettingError` on a misfit."""
        if self.volume is None:
            return False
        gateway, image = self._dc.gateway, self.volume.image
        config = configured(gateway, image)
        if not config and self._dc.run("pull", self._service):
            return False  # `up` fails too, and explains the failure
        config = config or configured(gateway, image)
        given = [f"{name}={value}" for name, value in self._environment.items()]
        config["Env"] = [*(config.get("Env") or ()), *given]
        settings = settings_of(self._dc.written_model(), self._service)
        if (mount := mount_for(config, self.volume.mount)) != self.volume.mount:
            setting = settings.mount or "The mount"
            problem = f"{setting} is {self.volume.mount}, where {image} does not keep its data."
            fixed = f"In the Compose file, mount the volume of {self._service} at {mount}"
            raise SettingError(
                problem, f"Write {setting}={mount} into .env" if settings.mount else fixed
            )
        if self.volume.name not in self._dc.volumes():
            return False
        check_versions(self.volume, versions(gateway, self.volume), settings.image)
        return True

    def check_credentials(self) -> None:
        """Log in to the running server; raise :class:`SettingError` with the cures."""
        if self.server and self.volume and (misfit := self.server.misfit()):
            raise self.server.refusal(misfit, self.volume.name, self._read())

    def findings(self, *, running: bool) -> list[Finding]:
        """Return rows on the volume and, for a running server, on roles and test databases."""
        is_pulled = self.volume and configured(self._dc.gateway, self.volume.image)
        rows = [self._finding("volume", self.check_volume)] if is_pulled else []
        if running and self.server:
            rows.append(self._finding("credentials", self.check_credentials))
            for name in self.server.test_databases():
                drop = f"""inv dbshell --command 'DROP DATABASE "{name}"'"""
                rows.append(Finding("test database", "warning", name, drop))
        return rows

    def _finding(self, name: str, check: Callable[[], object]) -> Finding:
        try:
            check()
        except ComposedError as error:
            return Finding.of(name, error)
        return Finding(name, "ok", self.volume.name if self.volume else "")

    def _read(self) -> dict[str, str]:
        try:
            return text_map(read_object(self._file))
        except (OSError, ValueError):
            return {}

    def _current(self) -> dict[str, str]:
        name, mount, image = self.volume or DataVolume("", "", "")
        user, password, database = self.server.wanted if self.server else ("", "", "")
        return {
            "volume": name,
            "mount": mount,
            "image": image,
            "POSTGRES_USER": user,
            "POSTGRES_DB": database,
            "hash": hashlib.sha256(f"{name}\0{user}\0{password}".encode()).hexdigest(),
        }


def volume_of(model: Model, name: str) -> DataVolume | None:
    """Return the first volume of the service; None for none, and for a folder of the host."""
    service = model.service(name)
    mounts = (mount for mount in service.mounts if mount.type == "volume" and service.image)
    return next((DataVolume(mount.volume, mount.target, service.image) for mount in mounts), None)


def environment_of(gateway: Gateway, model: Model, name: str) -> dict[str, str]:
    """Return the variables of the database's container: of the image, then of the model.

    A variable like POSTGRES_USER_FILE names a file: then the text of the secret counts.
    """
    service = model.service(name)
    is_whole = all(service.environment.get(key) for key in ("POSTGRES_USER", "POSTGRES_DB"))
    lines = () if is_whole else _image_lines(gateway, model, name)
    of_image = {key: value for key, _, value in (line.partition("=") for line in lines)}
    environment = of_image | dict(service.environment)
    for variable in VARIABLES:
        if file := service.secrets.get(environment.get(f"{variable}_FILE", "")):
            environment[variable] = text_of(file).strip()
    return environment


def _image_lines(gateway: Gateway, model: Model, name: str) -> list[str]:
    return configured(gateway, model.image(model.service(name))).get("Env") or []


def settings_of(written: Model, service: str) -> DataVolume:
    """Return the settings in a written model; "" for a value that no setting decides."""
    return DataVolume(*map(setting_of, volume_of(written, service) or ("", "", "")))


def configured(gateway: Gateway, image: str) -> dict[str, Any]:
    """Return the configuration of an image; empty for an image that is not on the engine."""
    answer = gateway.ask(["docker", "image", "inspect", "--format", "{{json .Config}}", image])
    try:
        return dict(json.loads(answer.out)) if answer.code == 0 else {}
    except ValueError:
        return {}


def versions(gateway: Gateway, volume: DataVolume) -> Versions:
    """Look into a volume; the volume and the image must be on the engine."""
    mounted = ("--volume", f"{volume.name}:/volume:ro", "--entrypoint", "sh")
    alone = ("--rm", "--network", "none", "--user", "0:0")
    answer = gateway.ask(["docker", "run", *alone, *mounted, volume.image, "-c", _LOOK])
    if answer.code and (error := engine.problem(gateway)):
        raise error
    server = re.search(r"PostgreSQL\) (\d+)", answer.out)
    data = re.search(r"^(\d+)$", answer.out, re.MULTILINE)
    return Versions(*(int(match[1]) if match else 0 for match in (server, data)))


def check_versions(volume: DataVolume, versions: Versions, setting: str) -> None:
    """Raise :class:`SettingError` when both versions are known and differ."""
    old = f"postgres:{versions.data}"
    keep = f"write {setting}={old} into .env" if setting else f"image: {old} in the Compose file"
    setting = setting or "The image"
    if all(versions) and versions.server != versions.data:
        raise SettingError(
            f"Volume {volume.name} holds data of PostgreSQL {versions.data}; "
            f"{setting} is {volume.image}, which is {versions.server}.",
            *(["Move the data: inv db.upgrade"] if versions.server > versions.data else []),
            f"Keep PostgreSQL {versions.data}: {keep}",
        )


def mount_for(config: Mapping[str, Any], mount: str) -> str:
    """Return the mount, or the path of the image's own volume when the mount misses the data.

    Up to 17 the official images have that volume at PGDATA, from 18 on above PGDATA. A mount
    above the image's own volume stays empty: the inner mount hides it.
    """
    own = [PurePosixPath(path) for path in config.get("Volumes") or {}]
    env = dict(line.partition("=")[::2] for line in config.get("Env") or ())
    given, data = PurePosixPath(mount), env.get("PGDATA")
    hidden = any(given in path.parents for path in own)
    if len(own) != 1 or not data or (PurePosixPath(data).is_relative_to(given) and not hidden):
        return mount
    return str(own[0])
