"""The interface of a stack, the same in every mode, and how its services are shown."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from composed.env.settings import Settings
from composed.errors import Interrupted
from composed.findings import Finding
from composed.own_files import opened, written
from composed.process import Answer, Gateway
from composed.project import Project
from composed.terminal import table

if TYPE_CHECKING:  # most verbs need none of it
    from composed.data.database import Database
    from composed.health.explanations import Explanation

__all__ = ["Service", "Stack", "UpOptions", "as_json", "as_table", "service_rows"]

HEADINGS = ("SERVICE", "STATE", "HEALTH", "ADDRESS", "AGE")


@dataclass(frozen=True)
class Service:
    """One service as ``inv ps`` shows it; ``ports`` maps its own ports to ours."""

    service: str
    state: str
    health: str = ""
    age: str = ""
    ports: Mapping[int, str] = field(default_factory=dict)
    url: str = ""
    container: str = ""

    @property
    def ready(self) -> bool:
        """Whether it runs and no health check says otherwise."""
        return self.state == "running" and self.health in ("", "healthy")

    def as_json(self) -> dict[str, object]:
        """Return the service for ``inv ps --json``."""
        return asdict(self) | {"ports": {str(ours): at for ours, at in self.ports.items()}}


@dataclass(frozen=True)
class UpOptions:
    """How to start: which services (none is all), what to build, how long to wait (seconds).

    ``build`` None builds what is missing; ``migrate`` is what to do for it as soon as the
    database is there; ``strict_ports`` fails where a port is taken.
    """

    services: Sequence[str] = ()
    build: bool | None = None
    timeout: int = 120
    migrate: Callable[[], None] | None = None
    strict_ports: bool = False


class Stack(ABC):
    """A Django backend and its database, brought to life and spoken to.

    Every method that runs something on the user's terminal returns the exit
    code of what ran; errors of ours are a :class:`~composed.errors.ComposedError`.
    """

    mode: str
    database_engine: str

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        self.project = project
        self.settings = settings
        self.gateway = gateway

    @property
    def name(self) -> str:
        """The Compose project name, which also names our own files."""
        return self.settings["COMPOSE_PROJECT_NAME"]

    @property
    def folder(self) -> Path:
        """Where our own files about this stack are; all of it may be thrown away."""
        return self.project.folder(self.name)

    def explain(self, text: str) -> Explanation | None:
        """Return what is known about what a log or a health check says."""
        from composed.health.explanations import explain  # noqa: PLC0415  # only a failure needs it

        return explain(text, self.project.tree, local=self.mode == "local")

    def remember(self) -> None:
        """Write the mode down, so that other verbs find this stack."""
        if not self.gateway.dry:
            written(self.folder / "mode", self.mode)

    def forget(self) -> None:
        """Take the mode back: nothing runs."""
        if not self.gateway.dry:
            (self.folder / "mode").unlink(missing_ok=True)

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """Mark that services are being stopped; the mark outlives an ``inv`` that is ended.

        They go on stopping then, and look as if they ran until they have.
        """
        opened(self.stop_mark).close()
        try:
            yield
        except Interrupted:
            raise
        except BaseException:
            self.stop_mark.unlink(missing_ok=True)
            raise
        self.stop_mark.unlink(missing_ok=True)

    @property
    def stop_mark(self) -> Path:
        """The file that is there while services are being stopped."""
        return self.folder / "stopping"

    @abstractmethod
    def clean_up(self) -> None:
        """Remove what verbs that were killed left behind."""

    @abstractmethod
    def up(self, options: UpOptions) -> list[Service]:
        """Start, and return the services when each is ready; raises when that fails."""

    @abstractmethod
    def down(self, *, volumes: bool = False) -> int:
        """Stop and remove the services; ``volumes`` removes the data too."""

    @abstractmethod
    def destroy(self) -> int:
        """Remove all that the stack has: services, data, networks, images."""

    @abstractmethod
    def has_data(self) -> bool:
        """Say whether there is a database that could be lost; nothing is started."""

    @abstractmethod
    def holdings(self) -> list[str]:
        """Return the names of all that holds data and goes with :meth:`destroy`."""

    @abstractmethod
    def database(self) -> AbstractContextManager[Database]:
        """Give the database as long as the block lasts, started when it is down."""

    @abstractmethod
    def change_credentials(self) -> list[str]:
        """Make the database's user, password and name those of the settings; say what was done."""

    @abstractmethod
    def upgrade(self, old_image: str = "") -> list[str]:
        """Move the data to the database server's new major version; say what was done."""

    @abstractmethod
    def restart(self, options: UpOptions) -> list[Service]:
        """Start again with the settings as they are now; return as :meth:`up` does."""

    @abstractmethod
    def ps(self) -> list[Service]:
        """Return the services that exist, running or not."""

    @abstractmethod
    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        """Show what the services said."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """Return how what it runs on and what runs is, for `inv doctor`; changes nothing."""

    @abstractmethod
    def evidence(self) -> dict[str, str]:
        """Return file names and texts that help to understand a failure; never raises."""

    def secrets(self) -> list[str]:
        """Return secrets that are not spelled so in the settings; never raises."""
        return []

    @abstractmethod
    def build(self, *, pull: bool, no_cache: bool) -> int:
        """Make what the backend runs from."""

    @abstractmethod
    def manage(
        self, *args: str, writes_source: bool = False, env: Mapping[str, str] | None = None
    ) -> int:
        """Run a management command, with the database started when it is down.

        ``writes_source`` says that it may write files, which then belong to the
        owner of the tree. ``env`` is added to its environment.
        """

    @abstractmethod
    def ask_manage(
        self, *args: str, beside: bool = False, env: Mapping[str, str] | None = None
    ) -> Answer:
        """Run a management command for its answer; the database runs.

        ``beside`` says that it must not run inside the backend, whose code may
        be older; ``env``, only with it, wins over the settings.
        """

    @abstractmethod
    def pointed_at(self, place: str) -> dict[str, str]:
        """Return the settings with which the backend uses another database, as copied gives it."""

    @abstractmethod
    def current_url(self) -> str:
        """Return where a backend runs with the code that :meth:`manage` has; else empty."""

    @abstractmethod
    def shell(self, service: str, argv: Sequence[str]) -> int:
        """Run ``argv`` inside a running service."""

    @abstractmethod
    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        """Open the database's own client, or run one ``command`` in it."""

    @abstractmethod
    def compose(self, args: Sequence[str]) -> int:
        """Run Compose itself on the stack."""


def as_table(stack: Stack, services: Sequence[Service]) -> str:
    """Return a line with the stack's name and mode, and a row for each service."""
    title = f"{stack.name} ({stack.mode} mode)"
    if not services:
        return f"{title}: nothing runs. Start it: inv up"
    return "\n".join([title, table([HEADINGS, *map(_row, services)])])


def _row(service: Service) -> tuple[str, ...]:
    address = service.url or ", ".join(service.ports.values())
    return (service.service, service.state, service.health or "-", address or "-", service.age)


def as_json(stack: Stack, services: Sequence[Service]) -> str:
    """Return name, mode and services as one JSON object."""
    rows = [service.as_json() for service in services]
    return json.dumps({"project": stack.name, "mode": stack.mode, "services": rows}, indent=2)


def service_rows(services: Sequence[Service]) -> Iterator[Finding]:
    """Return a finding for each container; a service that was never started is no fault."""
    for service in services:
        seen = service.health or service.state
        cure = f"inv logs --service {service.service}"
        if service.health == "unhealthy" or service.state not in ("running", "created"):
            yield Finding(service.service, "wrong", seen, cure)
        else:
            yield Finding(service.service, "ok" if service.ready else "warning", seen)
    if not services:
        yield Finding("services", "ok", "none runs", "inv up")
