"""The model of a Compose project: the output of ``docker compose config --format json``."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from composed.docker.dockerfile import Dockerfile, inside
from composed.errors import SettingError
from composed.ports.published import ANYWHERE, Published

SEE_MODEL = "See the model: inv dc -- config"

# ${NAME}, ${NAME:-default} and $NAME, as Compose writes them. $$ is a plain $. The closing
# brace is optional: Compose 2.26 cuts a mount's target short at the colon of ${NAME:-default}.
_SETTING = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_]\w*)(?::?-([^}]*))?")
# The fields of a port or mount in short form; a ${NAME:-default} or an [IPv6] stays whole.
_FIELD = re.compile(r"(?:\$\{[^}]*\}|\[[^]]*\]|[^:])+")

_UID = re.compile(r"(?i)uid|user_?id")

_KINDS: Mapping[type, str] = {dict: "a mapping", list: "a list"}


class NamedVolume(NamedTuple):
    """A volume's name on the engine; an ``external`` volume does not belong to the project."""

    name: str
    external: bool


class Mount(NamedTuple):
    """A mount of a service; ``volume`` is the name on the engine of a named volume, else ""."""

    type: str
    source: str
    target: str
    volume: str

    @property
    def is_lasting(self) -> bool:
        """Whether the mount is a folder of this machine, or a volume with a name."""
        return self.type in ("bind", "volume") and bool(self.source)


class Port(NamedTuple):
    """A published port as written: a number, a range, a ``${NAME}``, or "" for any number."""

    published: str
    host: str
    protocol: str
    target: str = ""


class Build(NamedTuple):
    """The build context of an image, the path of the Dockerfile, the labels, the stage."""

    context: Path
    dockerfile: Path
    labels: Mapping[str, str]
    target: str = ""

    def read(self) -> Dockerfile:
        """Return the Dockerfile; without instructions for a remote context, such as a Git URL."""
        return Dockerfile.at(self.dockerfile, self.target)


class ComposeService(NamedTuple):
    """A service; ``environment`` has only the variables that the model gives a value.

    ``secrets`` are the files of this machine, by their paths in the container. Compose starts the
    service when the services ``awaits`` are healthy. ``aliases`` are further names on the network.
    """

    name: str
    image: str = ""
    build: Build | None = None
    command: str = ""
    entrypoint: str = ""
    working_dir: str = ""
    container_name: str = ""
    environment: Mapping[str, str] = {}
    mounts: Sequence[Mount] = ()
    ports: Sequence[Port] = ()
    depends_on: Sequence[str] = ()
    secrets: Mapping[str, Path] = {}
    awaits: Sequence[str] = ()
    aliases: Sequence[str] = ()
    health_check: bool = False
    profiles: Sequence[str] = ()
    user: str = ""
    build_args: Mapping[str, str] = {}

    @property
    def hosts(self) -> set[str]:
        """The names under which other services reach the service."""
        return {self.name, *self.aliases, *filter(None, [self.container_name])}

    @property
    def starts(self) -> str:
        """The entrypoint and the command; an entrypoint of the model drops the image's command."""
        own = self.build.read() if self.build and not (self.entrypoint and self.command) else None
        command = self.command or (own.command if own and not self.entrypoint else "")
        return f"{self.entrypoint or (own.entrypoint if own else '')} {command}".strip()

    @property
    def folder(self) -> str:
        """The folder in which the container starts; "" where only the base image knows."""
        return self.working_dir or (self.build.read().workdir if self.build else "")

    @property
    def setting_of_user(self) -> str:
        """The setting that chooses the user, of a written model; of a build, by the name UID."""
        chosen = [text for name, text in self.build_args.items() if _UID.search(name)]
        return next(filter(None, map(setting_of, [self.user, *chosen])), "")

    def on_host(self, path: str) -> Path | None:
        """Return the project's file that is at a path of the container; None for no such file."""
        whole = inside(self.folder or "/", path)
        mounts = [mount for mount in self.mounts if mount.type == "bind"]
        for mount in sorted(mounts, key=lambda mount: len(mount.target), reverse=True):
            if PurePosixPath(whole).is_relative_to(mount.target):
                file = Path(mount.source, PurePosixPath(whole).relative_to(mount.target))
                return file if file.is_file() else None
        context = self.build.context if self.build else Path()
        sources = self.build.read().sources(whole) if self.build else ()
        return next((context / name for name in sources if (context / name).is_file()), None)


def innermost(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Return the innermost mount at or above a path."""
    above = [mount for mount in mounts if PurePosixPath(path).is_relative_to(mount.target)]
    return max(above, key=lambda mount: len(mount.target), default=None)


class Model:
    """The services and volumes of a project; raises :class:`SettingError` for unexpected JSON."""

    def __init__(self, data: object) -> None:
        top = _Value(data, "")
        self.name = top["name"].text()
        self.volumes = {
            key: NamedVolume(volume["name"].text(), bool(volume["external"].data))
            for key, volume in top["volumes"].mapping().items()
        }
        self._secrets = {k: v["file"].text() for k, v in top["secrets"].mapping().items()}
        services = top["services"].mapping().items()
        self.services = {name: self._service(name, value) for name, value in services}

    @classmethod
    def resolved(cls, text: str) -> Model:
        """Read the output of ``docker compose config``, which doubles every ``$``."""
        return cls.written(text.replace("$$", "$"))

    @classmethod
    def written(cls, text: str) -> Model:
        """Read the output of ``docker compose config --no-interpolate``: ``${NAME}`` stays."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise SettingError("docker compose config printed no JSON.", SEE_MODEL) from None
        return cls(data)

    def service(self, name: str) -> ComposeService:
        """Return the service of this name; an empty service where the model has none."""
        return self.services.get(name) or ComposeService(name)

    def image(self, service: ComposeService) -> str:
        """Return the name of a service's image, which Compose makes up for a build without one."""
        return service.image or f"{self.name}-{service.name}"

    def published(self, services: Sequence[str] = ()) -> list[Published]:
        """Return the fixed ports of services and their dependencies, by default of all services."""
        return [
            Published(service.name, port.host or ANYWHERE, int(port.published))
            for service in self.with_dependencies(services or self.services)
            for port in service.ports
            # The engine chooses from a range, and in place of 0.
            if port.protocol == "tcp" and port.published.isdecimal() and int(port.published)
        ]

    def setting_of_port(self, port: Published, values: Mapping[str, str]) -> str:
        """Return the setting that, by its value in ``values``, chooses a port; "" for none."""
        texts = (entry.published for entry in self.service(port.service).ports)
        settings = (setting for text in texts for setting in _SETTING.findall(text))
        chosen = (n for n, default in settings if (values.get(n) or default) == str(port.port))
        return next(chosen, "")

    def with_dependencies(self, names: Iterable[str]) -> list[ComposeService]:
        """Return these services and all that they depend on."""
        order = list(names)
        for name in order:  # grows while the loop runs
            order += [other for other in self.service(name).depends_on if other not in order]
        return [self.services[name] for name in order if name in self.services]

    def _service(self, name: str, service: _Value) -> ComposeService:
        build, needs = service["build"], service["depends_on"]
        return ComposeService(
            name,
            service["image"].text(),
            None if build.data is None else _build(build),
            service["command"].words(),
            service["entrypoint"].words(),
            service["working_dir"].text(),
            service["container_name"].text(),
            service["environment"].pairs(),
            [self._mount(mount) for mount in service["volumes"].entries()],
            [_port(port) for port in service["ports"].entries()],
            list(needs.data if isinstance(needs.data, list) else needs.mapping()),
            dict(self._secret(secret) for secret in service["secrets"].entries()),
            [] if isinstance(needs.data, list) else _awaited(needs),
            _aliases(service["networks"]),
            bool(service["healthcheck"].data) and not service["healthcheck"]["disable"].data,
            tuple(profile.text() for profile in service["profiles"].entries()),
            service["user"].text(),
            build["args"].pairs() if isinstance(build.data, dict) else {},
        )

    def _secret(self, secret: _Value) -> tuple[str, Path]:
        names = secret.mapping() if isinstance(secret.data, dict) else {"source": secret}
        source = names["source"].text() if "source" in names else ""
        target = names["target"].text() if "target" in names else source
        return posixpath.join("/run/secrets", target), Path(self._secrets.get(source, ""))

    def _mount(self, mount: _Value) -> Mount:
        if isinstance(mount.data, str):
            source, target = ["", "", *_FIELD.findall(mount.data)[:2]][-2:]
            kind = "bind" if source.startswith(("/", ".", "~")) else "volume"
        else:
            kind, source, target = (mount[key].text() for key in ("type", "source", "target"))
        volume = self.volumes.get(source) if kind == "volume" else None
        return Mount(kind, source, target, volume.name if volume else "")


def setting_of(text: str) -> str:
    """Return the setting of the ``${NAME…}`` that a text of a written model begins with, or ""."""
    match = _SETTING.match(text)
    return match[1] if match else ""


def _awaited(needs: _Value) -> list[str]:
    pairs = needs.mapping().items()
    return [name for name, need in pairs if need["condition"].text() == "service_healthy"]


def _aliases(networks: _Value) -> list[str]:
    given = [] if isinstance(networks.data, list) else networks.mapping().values()
    return [alias.text() for network in given for alias in network["aliases"].entries()]


def _build(build: _Value) -> Build:
    if isinstance(build.data, str):
        return Build(Path(build.data), Path(build.data, "Dockerfile"), {})
    context = Path(build["context"].text())
    dockerfile = context / (build["dockerfile"].text() or "Dockerfile")
    return Build(context, dockerfile, build["labels"].pairs(), build["target"].text())


def _port(port: _Value) -> Port:
    if isinstance(port.data, Mapping):
        keys = ("published", "host_ip", "protocol", "target")
        published, host, protocol, target = (port[key].text() for key in keys)
    else:
        addresses, _, protocol = port.text().partition("/")
        host, published, target = ["", "", "", *_FIELD.findall(addresses)][-3:]
    return Port(published, host.strip("[]"), protocol or "tcp", target)


@dataclass(frozen=True)
class _Value:
    """A value of the model; a ``place`` is like ``services.web.ports``."""

    data: Any
    place: str

    def __getitem__(self, key: str) -> _Value:
        return self.mapping().get(key) or _Value(None, "")

    def mapping(self) -> dict[str, _Value]:
        pairs = (self._checked("a mapping") or {}).items()
        return {key: _Value(data, f"{self.place}.{key}".lstrip(".")) for key, data in pairs}

    def entries(self) -> list[_Value]:
        return [_Value(entry, self.place) for entry in self._checked("a list") or []]

    def text(self) -> str:
        """Return a single value as text; ``true`` and numbers as YAML writes them."""
        data = self._checked("a single value")
        return "" if data is None else data if isinstance(data, str) else json.dumps(data)

    def words(self) -> str:
        """Return a command, in text or list form, as a text."""
        entries = self.entries() if isinstance(self.data, list) else [self]
        return " ".join(entry.text() for entry in entries)

    def pairs(self) -> dict[str, str]:
        """Return an ``environment`` or ``labels``, in map or list form, without bare names."""
        if isinstance(self.data, list):
            lines = (entry.text().partition("=") for entry in self.entries())
            return {name: value for name, sign, value in lines if sign}
        return {name: v.text() for name, v in self.mapping().items() if v.data is not None}

    def _checked(self, wanted: str) -> Any:
        kind = _KINDS.get(type(self.data), "a single value")
        if self.data is None or kind == wanted:
            return self.data
        place = self.place or "the top level"  # without the value, which may be a secret
        problem = f"In the Compose model, {place} is {kind} instead of {wanted}."
        raise SettingError(problem, SEE_MODEL)
