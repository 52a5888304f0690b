"""The database service in docker mode: started when needed, checked against its volume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.docker.compose import Compose
from composed.docker.leftovers import MARK
from composed.docker.model import Model
from composed.errors import ComposedError
from composed.stack import Stack, UpOptions

if TYPE_CHECKING:  # few verbs need them
    from composed.data.postgres import PostgreSQL
    from composed.docker.volume.check import VolumeCheck

__all__ = ["DatabaseService"]


class DatabaseService:
    """The service ``project.database`` of a stack, its volume and its PostgreSQL."""

    def __init__(self, stack: Stack, dc: Compose) -> None:
        self._stack, self._dc = stack, dc
        self.name = stack.project.database
        self.restores = Calls(stack.gateway, stack.folder / "swaps")
        self.upgrades = Calls(stack.gateway, stack.folder / "upgrades")
        self._runs = False  # as far as this verb has seen: two questions would be slow

    def start(self) -> bool:
        """Start the service; return whether it was down before."""
        if self._stack.gateway.dry or self._runs:
            return False
        services = self._stack.runner.ps()
        was_down = not any(s.service == self.name and s.ready for s in services)
        if was_down:
            self._stack.runner.up(UpOptions(services=[self.name]))
        self._runs = True
        return was_down

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the service while the block runs, and start it afterwards."""
        self._dc.run_or_end("stop", self.name)
        self._runs = False
        yield
        self.start()

    def postgresql(self, call: str) -> PostgreSQL:
        """Return the live database; its programs are marked with the ``call``."""
        from composed.data.postgres import PostgreSQL  # noqa: PLC0415
        from composed.data.psql import Psql  # noqa: PLC0415

        mark = ("exec", "--no-TTY", "--env", f"{MARK}={call}", self.name)
        project, settings = self._stack.project, self._stack.settings
        user, name = settings[project.database_user], settings[project.database_name]
        psql = Psql(self._stack.gateway, lambda *argv: self._dc.argv(*mark, *argv), user)
        return PostgreSQL(psql, name, self.restores)

    def volume_check(self, model: Model | None = None) -> VolumeCheck:
        """Return the check of the volume against a Compose model, by default the current one."""
        from composed.docker.volume.check import VolumeCheck  # noqa: PLC0415

        file = self._stack.folder / "volume.json"
        return VolumeCheck(self._dc, model or self._dc.model(), self.name, file)

    def check(self, model: Model, services: Sequence[str] = ()) -> None:
        """Raise :class:`SettingError` before a container starts that cannot work.

        With credentials that are new to the volume, the database starts alone first.
        """
        if self._stack.gateway.dry or (volume := self.volume_check(model)).is_known:
            return
        exists = volume.check_volume()
        if list(services) == [self.name]:  # for its own programs, which need no password
            return
        if exists and self._dc.run("up", "--detach", "--wait", self.name):
            return  # the start of all services explains the failure
        if exists:
            volume.check_credentials()
        volume.remember()

    # --- leftovers -----------------------------------------------------------

    def clean_up(self) -> None:
        """Undo restores and upgrades whose ``inv`` was killed."""
        for call in self.restores.abandoned():
            with contextlib.suppress(ComposedError):  # the database is down: later
                self.postgresql("heal").heal(call)
                self.restores.forget(call)
        for call, volume in self.upgrades.abandoned().items():
            if self._is_in_use(volume) or self._remove(volume):
                self.upgrades.forget(call)

    def _is_in_use(self, name: str) -> bool:
        """Return whether an upgrade got as far as naming its volume in the env file."""
        volume = self.volume_check().volume
        return volume is not None and volume.name == name

    def _remove(self, name: str) -> bool:
        """Remove a volume; return whether the engine confirms that the volume is gone."""
        self._stack.gateway.do(["docker", "volume", "rm", name])
        left = self._stack.gateway.ask(["docker", "volume", "ls", "--quiet"])
        return left.code == 0 and name not in left.out.split()
