"""The model of a Compose project: the output of ``docker compose config --format json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from composed.errors import SettingError
from composed.ports.published import ANYWHERE, Published

__all__ = ["SEE_MODEL", "Build", "ComposeService", "Model", "Mount", "Port", "setting_of"]

SEE_MODEL = "See what it reads: inv dc -- config"

# ${NAME}, ${NAME:-default} and $NAME, as Compose writes them. $$ is a plain $. The closing
# brace is optional: Compose 2.26 cuts a mount's target short at the colon of ${NAME:-default}.
_SETTING = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_]\w*)(?::?-([^}]*))?")
# The parts of a port or mount in short form; a ${NAME:-default} or an [IPv6] stays whole.
_PART = re.compile(r"(?:\$\{[^}]*\}|\[[^]]*\]|[^:])+")

_POSTGRESQL = re.compile("postgres|postgis|pgvector|timescale|pgautoupgrade")
_SERVERS = re.compile("gunicorn|runserver|uwsgi|uvicorn|daphne")
_WORKERS = re.compile("celery|worker|beat|flower|cron|scheduler")
_WORKER_COMMANDS = re.compile("celery|rqworker|qcluster|dramatiq|run_huey|db_worker")


class NamedVolume(NamedTuple):
    """The name that the engine gives a volume, and whether the project does not own it."""

    name: str
    external: bool


class Mount(NamedTuple):
    """A mount of a service; ``volume`` is the name on the engine of a named volume, else ""."""

    type: str
    source: str
    target: str
    volume: str


class Port(NamedTuple):
    """A published port as written: a number, a range, a ``${NAME}``, or "" for any port."""

    published: str
    host: str
    protocol: str

    @property
    def is_fixed(self) -> bool:
        """Whether this is one TCP port; the engine chooses in place of 0 and in a range."""
        return self.protocol == "tcp" and self.published.isdecimal() and int(self.published) > 0


class Build(NamedTuple):
    """The build context of an image, its Dockerfile and its labels."""

    context: Path
    dockerfile: Path
    labels: Mapping[str, str]

    def text(self) -> str:
        """Return the text of the Dockerfile; "" for a context elsewhere, such as a Git URL."""
        return self.dockerfile.read_text(errors="replace") if self.dockerfile.is_file() else ""

    def bases(self) -> list[str]:
        """Return the images that the stages of the Dockerfile start from, as written."""
        stages, bases = {"scratch"}, []
        pattern = r"(?im)^FROM\s+(?:--\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?"
        for base, stage in re.findall(pattern, self.text()):
            bases += [base] if base not in stages else []
            stages.add(stage)
        return bases


class ComposeService(NamedTuple):
    """A service; ``environment`` has only the variables that the model gives a value."""

    name: str
    image: str = ""
    build: Build | None = None
    command: str = ""
    environment: Mapping[str, str] = {}
    mounts: Sequence[Mount] = ()
    ports: Sequence[Port] = ()
    depends_on: Sequence[str] = ()

    @property
    def runs_postgresql(self) -> bool:
        """Whether the name of the image, or of the last base of its build, is PostgreSQL's."""
        images = [self.image, *(self.build.bases()[-1:] if self.build else ())]
        names = (image.rpartition("/")[2].partition(":")[0] for image in images)
        return any(_POSTGRESQL.search(name) for name in names)

    @property
    def starts(self) -> str:
        """The command of the service, or of its Dockerfile where the model has none."""
        text = self.build.text() if self.build else ""
        return self.command or " ".join(re.findall(r"(?im)^(?:CMD|ENTRYPOINT)\s.*", text))


class Model:
    """The services and volumes of a project.

    Raises :class:`SettingError` for a value of another kind than Compose writes; a
    value that is missing is empty.
    """

    def __init__(self, data: object) -> None:
        """Take the model as JSON gives it."""
        model = _mapping(data, "the top level")
        volumes = _mapping(model.get("volumes"), "volumes")
        services = _mapping(model.get("services"), "services")
        self.name = _text(model.get("name"), "name")
        self.volumes = {key: _volume(data, f"volumes.{key}") for key, data in volumes.items()}
        self.services = {name: self._service(name, data) for name, data in services.items()}

    @classmethod
    def resolved(cls, text: str) -> Model:
        """Read the output of ``docker compose config``, which doubles every ``$``."""
        return cls.written(text.replace("$$", "$"))

    @classmethod
    def written(cls, text: str) -> Model:
        """Read the output of ``docker compose config --no-interpolate``, with ``${NAME}`` in it."""
        try:
            data = json.loads(text)
        except ValueError:
            raise SettingError("docker compose config printed no JSON.", SEE_MODEL) from None
        return cls(data)

    def service(self, name: str) -> ComposeService:
        """Return the service; an empty one where the model has none of this name."""
        return self.services.get(name) or ComposeService(name)

    def published(self, services: Sequence[str] = ()) -> list[Published]:
        """Return the fixed ports of these services and of their dependencies; of all by default."""
        return [
            Published(service.name, port.host or ANYWHERE, int(port.published))
            for service in self._with_dependencies(services or self.services)
            for port in service.ports
            if port.is_fixed
        ]

    def setting_of_port(self, port: Published, values: Mapping[str, str]) -> str:
        """Return the setting that chooses the port, in a model as written; "" for none.

        ``values`` are the values of the settings.
        """
        texts = (entry.published for entry in self.service(port.service).ports)
        settings = (setting for text in texts for setting in _SETTING.findall(text))
        chosen = (n for n, default in settings if (values.get(n) or default) == str(port.port))
        return next(chosen, "")

    def database_service(self) -> str | None:
        """Return the only PostgreSQL service; of several, the only one the backend depends on."""
        names = [service.name for service in self.services.values() if service.runs_postgresql]
        if len(names) > 1 and (backend := self.backend_service()):
            needed = [service.name for service in self._with_dependencies([backend])]
            names = [name for name in names if name in needed]
        return names[0] if len(names) == 1 else None

    def backend_service(self) -> str | None:
        """Return the service that most likely runs Django; None for none, or for a tie.

        A candidate is built or starts a server or ``manage.py``, and is no worker. Best is
        a server of Python by its command, then a published port, then a database it needs.
        """
        ranks = {}
        for service in self.services.values():
            is_server = bool(_SERVERS.search(service.starts))
            is_worker = _WORKERS.search(service.name) or _WORKER_COMMANDS.search(service.command)
            can_serve = service.build or is_server or "manage.py" in service.starts
            if can_serve and not is_worker and not service.runs_postgresql:
                needed = self._with_dependencies([service.name])
                has_database = any(other.runs_postgresql for other in needed)
                ranks[service.name] = (is_server, bool(service.ports), has_database)
        best = [name for name, rank in ranks.items() if rank == max(ranks.values())]
        return best[0] if len(best) == 1 else None

    def _with_dependencies(self, names: Iterable[str]) -> list[ComposeService]:
        order = list(names)
        for name in order:  # grows while the loop runs
            order += [other for other in self.service(name).depends_on if other not in order]
        return [self.services[name] for name in order if name in self.services]

    def _service(self, name: str, data: object) -> ComposeService:
        place = f"services.{name}"
        service = _mapping(data, place)
        build, needs = service.get("build"), service.get("depends_on")
        mounts, ports = (_list(service.get(key), f"{place}.{key}") for key in ("volumes", "ports"))
        command = service.get("command")
        words = command if isinstance(command, list) else [command]
        return ComposeService(
            name,
            _text(service.get("image"), f"{place}.image"),
            None if build is None else _build(build, f"{place}.build"),
            " ".join(_text(word, f"{place}.command") for word in words),
            _pairs(service.get("environment"), f"{place}.environment"),
            [self._mount(mount, f"{place}.volumes") for mount in mounts],
            [_port(port, f"{place}.ports") for port in ports],
            list(needs if isinstance(needs, list) else _mapping(needs, f"{place}.depends_on")),
        )

    def _mount(self, data: object, place: str) -> Mount:
        if isinstance(data, str):
            source, target = ["", "", *_PART.findall(data)[:2]][-2:]
            kind = "bind" if source.startswith(("/", ".", "~")) else "volume"
        else:
            fields = _mapping(data, place)
            kind, source, target = (
                _text(fields.get(k), place) for k in ("type", "source", "target")
            )
        volume = self.volumes.get(source) if kind == "volume" else None
        return Mount(kind, source, target, volume.name if volume else "")


def setting_of(text: str) -> str:
    """Return the setting whose ``${NAME…}`` a text of a model as written begins with, or ""."""
    match = _SETTING.match(text)
    return match[1] if match else ""


def _volume(data: object, place: str) -> NamedVolume:
    volume = _mapping(data, place)
    return NamedVolume(_text(volume.get("name"), f"{place}.name"), bool(volume.get("external")))


def _build(data: object, place: str) -> Build:
    build = {"context": data} if isinstance(data, str) else _mapping(data, place)
    context = Path(_text(build.get("context"), f"{place}.context"))
    dockerfile = _text(build.get("dockerfile"), f"{place}.dockerfile") or "Dockerfile"
    return Build(context, context / dockerfile, _pairs(build.get("labels"), f"{place}.labels"))


def _port(data: object, place: str) -> Port:
    if isinstance(data, Mapping):
        keys = ("published", "host_ip", "protocol")
        published, host, protocol = (_text(data.get(key), place) for key in keys)
    else:
        addresses, _, protocol = _text(data, place).partition("/")
        host, published, _ = ["", "", "", *_PART.findall(addresses)][-3:]
    return Port(published, host.strip("[]"), protocol or "tcp")


def _pairs(data: object, place: str) -> dict[str, str]:
    """Return an ``environment`` or ``labels``, in map or list form, without names alone."""
    if isinstance(data, list):
        lines = (_text(line, place).partition("=") for line in data)
        return {name: value for name, sign, value in lines if sign}
    pairs = _mapping(data, place).items()
    return {name: _text(value, f"{place}.{name}") for name, value in pairs if value is not None}


def _mapping(data: object, place: str) -> Mapping[str, Any]:
    if isinstance(data, Mapping | None):
        return data or {}
    raise _unexpected(data, "a mapping", place)


def _list(data: object, place: str) -> list[object]:
    if isinstance(data, list | None):
        return data or []
    raise _unexpected(data, "a list", place)


def _text(data: object, place: str) -> str:
    """Return a single value as text; ``true`` and numbers as YAML writes them."""
    if isinstance(data, Mapping | list):
        raise _unexpected(data, "a single value", place)
    return "" if data is None else data if isinstance(data, str) else json.dumps(data)


def _unexpected(data: object, wanted: str, place: str) -> SettingError:
    """Return the error without the value, which may be a secret."""
    kinds = ((Mapping, "a mapping"), (list, "a list"), (object, "a single value"))
    kind = next(words for kind, words in kinds if isinstance(data, kind))
    return SettingError(f"In the Compose model, {place} is {kind} instead of {wanted}.", SEE_MODEL)
