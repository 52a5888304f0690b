"""Docker mode: the parts of a stack that Compose runs."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.docker.compose import compose_of
from composed.docker.database import DatabaseService
from composed.docker.detection import same_image
from composed.docker.file_store import SWAPS, MountedFileStore
from composed.docker.inside import ContainerInside
from composed.docker.names import check_owner
from composed.docker.runner import ComposeRunner
from composed.docker.store import VolumeStore
from composed.env.settings import Settings
from composed.errors import ComposedError, NotReadyError
from composed.gateway import Gateway
from composed.project import Project
from composed.stack import Report, Runner, Stack, Store, Volume
from composed.terminal import say

if TYPE_CHECKING:  # `inv ps` has to be quick
    from composed.data.connection import Connection


class DockerStack(Stack):
    """A stack in containers; another ``runner`` may run the same services without Compose."""

    mode = "docker"
    belongings: VolumeStore

    def __init__(
        self, project: Project, settings: Settings, gateway: Gateway, runner: Runner | None = None
    ) -> None:
        super().__init__(project, settings, gateway)
        keys = {project.backend: "backend", project.database: "database"}
        self._dc = compose_of(project, settings, gateway, keys)
        self._calls = Calls(gateway, self.folder / "calls")
        self._database = DatabaseService(self, self._dc)
        self.runner = runner or ComposeRunner(self, self._dc, self._database)
        self.inside = ContainerInside(self, self._dc, self._calls, self._database)
        self.belongings = VolumeStore(self, self._dc, self._calls, self._database)
        # A second Ctrl-C kills.
        self.compose = lambda args: self._dc.run(*args, insist=False, typed="all")

    @functools.cached_property
    def store(self) -> Store:  # type: ignore[override]
        """The database that Django uses, where the service was not named by a key.

        Raises :class:`SettingError` where that is another database than the service's.
        """
        if not self.follows_django:
            return self.belongings
        from composed.docker.follow import check, file_on_host  # noqa: PLC0415
        from composed.docker.model import Model  # noqa: PLC0415

        text = self._dc.ask("config", "--format", "json")
        model = Model.resolved(text)
        if not (found := self._of_django(text)):
            return self.belongings
        backend = model.service(self.project.backend)
        if found.vendor == "sqlite" and (file := file_on_host(backend, found.name)):
            return MountedFileStore(self, self._dc, file, found.name, self.belongings)
        check(found, model, self.project.database, self.project.backend)
        self._database.follow(found.name)
        return self.belongings

    def _of_django(self, about: str) -> Connection | None:
        """Return Django's answer, else its last one; None to take the service where it gave none.

        The service may be another, idle database, so an old answer tells more.
        """
        from composed.data import connection  # noqa: PLC0415

        try:
            return connection.connection(self, about)
        except connection.UnknownError as reason:
            unknown = f"Which database Django uses is not known: {reason}"
            if kept := connection.recorded(self):
                last = kept[0]
                say(f"{unknown}\n  Taken from its last answer: {last.vendor}, {last.name}")
                return last
            if not self.project.database:
                raise NotReadyError(unknown, "Type: inv manage -- check") from reason
            say(unknown)
            return None

    def check_owner(self) -> None:
        check_owner(self._dc, self.name, self.project.compose.folder)

    def about_data(self) -> str:
        try:
            store = self.store
        except ComposedError as error:
            return str(error)
        if not isinstance(store, MountedFileStore):
            return ""
        unused = f"; the service {name} is not used" if (name := self.project.database) else ""
        return f"Django uses SQLite: {store.file}{unused}."

    def restart_workers(self) -> list[str]:
        names = same_image(self._dc.model(), self.project.backend)
        workers = sorted({*names} & {*self._dc.running()}) if names else []
        if workers:
            self._dc.run_or_end("restart", *workers)
        return workers

    @property
    def database_engine(self) -> str:  # type: ignore[override]
        """The engine of the store."""
        return "postgresql" if self.store is self.belongings else "sqlite"

    @property
    def report(self) -> Report:
        from composed.docker.report import EngineReport  # noqa: PLC0415  # few verbs need it

        return EngineReport(self, self._dc, self._database)

    @property
    def volume(self) -> Volume:
        from composed.docker.volume.changes import VolumeChanges  # noqa: PLC0415

        return VolumeChanges(self, self._dc, self._calls, self._database)

    def clean_up(self) -> None:
        if not self.gateway.dry:
            left = Calls(self.gateway, self.folder / SWAPS).abandoned()
            with contextlib.suppress(ComposedError):  # the file is not known: later
                if left and isinstance(self.store, MountedFileStore):
                    self.store.clean_up()
            self._dc.end_abandoned(self._calls)
            self._database.clean_up()
