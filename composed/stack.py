"""The interface of a stack, the same in every mode, and the tables of services."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from composed.env.settings import Settings
from composed.errors import Interrupted
from composed.findings import Finding
from composed.gateway import Answer, Gateway
from composed.project import Project
from composed.terminal import table

if TYPE_CHECKING:  # few verbs need them
    from composed.database import Database
    from composed.health.explanations import Explanation


@dataclass(frozen=True)
class Service:
    """A service as in ``inv ps``; ``ports`` maps container ports to addresses of the host."""

    service: str
    state: str
    health: str = ""
    age: str = ""
    ports: Mapping[int, str] = field(default_factory=dict)
    url: str = ""
    container: str = ""

    @property
    def ready(self) -> bool:
        """Whether the service runs and no health check contradicts."""
        return self.state == "running" and self.health in ("", "healthy")


@dataclass(frozen=True)
class UpOptions:
    """How to start ``services`` (none is all); ``timeout`` is in seconds.

    ``build`` None builds a missing image; ``migrate`` is called as soon as the database
    runs; ``strict_ports`` fails where a port is taken.
    """

    services: Sequence[str] = ()
    build: bool | None = None
    timeout: int = 120
    migrate: Callable[[], None] | None = None
    strict_ports: bool = False


@dataclass(frozen=True)
class BuildOptions:
    """How to build images: ``pull`` newer base images, build every layer anew."""

    pull: bool = False
    no_cache: bool = False


class Stack(ABC):
    """A Django backend and its database, in one mode.

    Only docker mode has a ``volume``, and ``compose``, which runs Compose with the given words.
    Methods that run a command on the user's terminal return the exit code; every failure of ours
    is a :class:`~composed.errors.ComposedError`.
    """

    mode: str
    database_engine: str
    runner: Runner
    inside: Inside
    store: Store
    belongings: Belongings
    compose: Callable[[Sequence[str]], int] | None = None

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        self.project, self.settings, self.gateway = project, settings, gateway
        self.name = settings["COMPOSE_PROJECT_NAME"]
        self.folder = project.folder(self.name)  # the stack's own files; all may be removed
        self._is_locked = False
        self.follows_django = False  # ask Django for its database: no key names the service
        self.of_compose: Mapping[str, str] = {}  # variables of the backend, for local mode
        self.stop_mark = self.folder / "stopping"  # exists while services are being stopped

    def explain(
        self, text: str, *, loading: bool = False, ended: bool = False
    ) -> Explanation | None:
        """Return the explanation: see :func:`composed.health.explanations.explain`."""
        from composed.health.explanations import explain  # noqa: PLC0415  # only a failure needs it

        local = self.mode == "local"
        return explain(text, self.project, local=local, loading=loading, ended=ended)

    def check_owner(self) -> None:  # noqa: B027  # only containers have owners
        """Raise :class:`RefusedError` where another folder's stack has this name."""

    def about_data(self) -> str:
        """Return a sentence on a database that is not where a reader would look; "" for none."""
        return ""

    def restart_workers(self) -> list[str]:
        """Restart the other running services with the backend's code; return their names."""
        return []

    def remember(self) -> None:
        """Record the mode, for later verbs."""
        self.gateway.write(self.folder / "mode", self.mode)
        if not os.path.lexists(ignore := self.folder.parent / ".gitignore"):
            self.gateway.write(ignore, "*\n")  # no file of the project's names us
        self.gateway.make_private(self.folder.parent, self.folder)

    def remove_folder(self) -> None:
        """Remove the stack's own files."""
        if not self.gateway.dry:
            shutil.rmtree(self.folder, ignore_errors=True)

    def forget(self) -> None:
        """Remove the record of the mode: nothing runs."""
        self.gateway.remove(self.folder / "mode")

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """Mark that services are being stopped; the mark outlives an interrupted ``inv``."""
        self.gateway.write(self.stop_mark, "")
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Interrupted):
                self.gateway.remove(self.stop_mark)
            raise
        self.gateway.remove(self.stop_mark)

    @property
    @abstractmethod
    def report(self) -> Report:
        """The facts for a diagnosis."""

    @property
    def volume(self) -> Volume | None:
        """The volume of the database server, None without containers."""
        return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let a single verb at a time change the services; a second verb waits.

        A block inside such a block holds the lock already.
        """
        if self._is_locked:
            yield
            return
        with self.gateway.lock(self.folder / "lock"):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    @abstractmethod
    def clean_up(self) -> None:
        """Remove the leftovers of killed verbs."""


class Runner(ABC):
    """The services of a stack: all that a third mode would have to implement for them."""

    @abstractmethod
    def up(self, options: UpOptions) -> list[Service]:
        """Start, and return the services once all are ready; else :class:`NotReadyError`."""

    @abstractmethod
    def restart(self, options: UpOptions) -> list[Service]:
        """Start again with the current settings; see :meth:`up`."""

    @abstractmethod
    def down(self, *, volumes: bool = False) -> int:
        """Stop and remove the services; with ``volumes`` the data too."""

    @abstractmethod
    def ps(self) -> list[Service]:
        """Return the services that exist, running or not."""

    @abstractmethod
    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        """Show the logs of the services; none is all."""

    @abstractmethod
    def build(self, options: BuildOptions, /) -> int:
        """Build the images."""


class Inside(ABC):
    """Commands that run where the backend runs."""

    @abstractmethod
    def manage(self, *args: str, env: Mapping[str, str] | None = None) -> int:
        """Run a management command, with the database started; ``env`` is added."""

    def manage_as_owner(self, *args: str) -> int:
        """Run a management command that may write files, which get the owner of the source."""
        return self.manage(*args)

    @abstractmethod
    def ask_one_off(self, *args: str, env: Mapping[str, str] | None = None) -> Answer:
        """Return the answer of a management command that runs with the current source.

        The database runs already; ``env`` wins over the settings.
        """

    def ask_manage(self, *args: str) -> Answer:
        """Return the answer of a management command, from a running backend if possible."""
        return self.ask_one_off(*args)

    @abstractmethod
    def current_url(self) -> str:
        """Return the URL of a running backend with the current code, else ""."""

    @abstractmethod
    def shell(self, service: str, argv: Sequence[str]) -> int:
        """Run ``argv`` inside a running service."""

    @abstractmethod
    def django_shell(self, args: Sequence[str]) -> int:
        """Open Django's shell inside the running backend; ``args`` go to Django."""

    @abstractmethod
    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        """Open the client of the database, or run a single ``command`` there."""


class Store(ABC):
    """The database that Django uses."""

    @abstractmethod
    def database(self, name: str = "") -> AbstractContextManager[Database]:
        """Yield the live database, started if necessary, or another database of the server."""

    @abstractmethod
    def has_data(self) -> bool:
        """Return whether there is a database that could be lost; start nothing."""

    def place_inside(self, place: str) -> str:
        """Return how the backend names a copy: see :meth:`Database.copied`."""
        return place


class Belongings(ABC):
    """All that a stack has beside settings and snapshots: data, services, networks, images."""

    @abstractmethod
    def retired(self) -> AbstractContextManager[Mapping[str, Database]]:
        """Yield every database that the removal of the data would lose, by name; "" is the live.

        Nobody else can write: the services are stopped. They start again if the block raises,
        unless the user ended the verb. At the end of the block, local mode removes the data, while
        nobody can write.
        """

    @abstractmethod
    def has_data(self) -> bool:
        """Return whether the removal would lose a database; start nothing."""

    @abstractmethod
    def holdings(self) -> list[str]:
        """Return the names of the volumes or files with data that :meth:`destroy` removes."""

    def unsaved(self, *, all_of_it: bool) -> list[str]:  # noqa: ARG002  # of containers alone
        """Return those that the removal of the data takes away and that no snapshot has.

        With ``all_of_it``, :meth:`destroy` is meant, which removes more.
        """
        return []

    @abstractmethod
    def destroy(self) -> int:
        """Remove the services, data, networks and images of the stack; return the exit code."""


class Report(ABC):
    """The facts about a stack for ``inv doctor`` and for bundles."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """Return the findings on the services and on their needs; change nothing."""

    @abstractmethod
    def evidence(self) -> dict[str, str]:
        """Return texts that help to understand a failure, by file name; never raise."""

    def secrets(self) -> list[str]:
        """Return secrets that the settings spell differently; never raise."""
        return []


class Volume(ABC):
    """The volume of a database server."""

    @abstractmethod
    def change_credentials(self) -> list[str]:
        """Give the volume the credentials of the settings; return a line for each change."""

    @abstractmethod
    def upgrade(self, old_image: str) -> list[str]:
        """Move the data to the server's new major version; return a line for each change."""


def url_of(services: Sequence[Service]) -> str:
    """Return the first URL among the services, "" without one."""
    return next((service.url for service in services if service.url), "")


def as_table(stack: Stack, services: Sequence[Service]) -> str:
    """Return a line with the stack's name and mode, and a row for each service."""
    title = f"{stack.name} ({stack.mode} mode)"
    if not services:
        return f"{title}: nothing runs. Start it: inv up"
    rows = [("SERVICE", "STATE", "HEALTH", "ADDRESS", "AGE")]
    for service in services:
        address = service.url or ", ".join(service.ports.values()) or "-"
        health = service.health or "-"
        rows.append((service.service, service.state, health, address, service.age))
    return f"{title}\n{table(rows)}"


def as_json(stack: Stack, services: Sequence[Service]) -> str:
    """Return name, mode and services as a JSON object."""
    rows = [asdict(service) for service in services]
    return json.dumps({"project": stack.name, "mode": stack.mode, "services": rows}, indent=2)


def service_rows(services: Sequence[Service]) -> Iterator[Finding]:
    """Return a finding for each service that exists: a service never started is no fault."""
    for service in services:
        seen = service.health or service.state
        cure = f"inv logs --service {service.service}"
        if service.health == "unhealthy" or service.state not in ("running", "created"):
            yield Finding(service.service, "wrong", seen, cure)
        else:
            yield Finding(service.service, "ok" if service.ready else "warning", seen)
    if not services:
        yield Finding("services", "ok", "none runs", "inv up")
