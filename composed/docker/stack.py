"""Docker mode: the parts of a stack that Compose runs."""

from composed.calls import Calls
from composed.docker.compose import compose_of
from composed.docker.database import DatabaseService
from composed.docker.inside import ContainerInside
from composed.docker.runner import ComposeRunner
from composed.docker.store import VolumeStore
from composed.env.settings import Settings
from composed.gateway import Gateway
from composed.project import Project
from composed.stack import Report, Runner, Stack, Volume


class DockerStack(Stack):
    """A stack in containers; another ``runner`` may run the same services without Compose."""

    mode = "docker"
    database_engine = "postgresql"

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
        self.store = VolumeStore(self, self._dc, self._calls, self._database)
        # A second Ctrl-C kills.
        self.compose = lambda args: self._dc.run(*args, insist=False, typed="all")

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
            self._dc.end_abandoned(self._calls)
            self._database.clean_up()
