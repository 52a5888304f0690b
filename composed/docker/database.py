"""The database service in docker mode: start, comparison with the volume, leftovers."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.docker.compose import MARK, Compose
from composed.errors import ComposedError
from composed.stack import Stack, UpOptions

if TYPE_CHECKING:  # few verbs need them
    from composed.data.postgres import PostgreSQL
    from composed.docker.model import Model
    from composed.docker.volume.volume import VolumeCheck


SECONDS_TO_ANSWER, SECONDS_BETWEEN_LOOKS = 60, 0.2

# With a user and a database that are there, else PostgreSQL logs an error at each question.
_USER = "POSTGRES_USER"
_IS_READY = (
    f'user=${{{_USER}:-$(cat "${{{_USER}_FILE:-/dev/null}}")}}; '
    "exec pg_isready --quiet --host 127.0.0.1 --dbname postgres --username ${user:-postgres}"
)


class DatabaseService:
    """The database service; ``restores`` and ``upgrades`` record the leftovers of killed verbs."""

    def __init__(self, stack: Stack, dc: Compose) -> None:
        self._stack, self._dc = stack, dc
        self.name = stack.project.database
        self.restores = Calls(stack.gateway, stack.folder / "swaps")
        self.upgrades = Calls(stack.gateway, stack.folder / "upgrades")
        self._runs = False  # seen by this verb already: a second question would be slow

    def start(self) -> bool:
        """Start the service, if there is one; return whether the service was down before."""
        if self._stack.gateway.dry or self._runs or not self.name:
            return False
        found = [s for s in self._stack.runner.ps() if s.service == self.name]
        works = any(s.ready or (s.state == "running" and self.answers()) for s in found)
        was_down = not works or self._stack.stop_mark.exists()  # it may run for a moment more
        if was_down:
            self._stack.runner.up(UpOptions(services=[self.name]))
        self._runs = True
        return was_down

    def follow(self, name: str) -> None:
        """Take ``name`` for the live database: Django uses that database of the server."""
        self.login = (self.login[0], name or self.login[1])

    def answers(self) -> bool:
        """Ask the server in the container itself: on a busy machine, the health status is old.

        Over TCP: during the set-up of a new volume, PostgreSQL answers only on the socket.
        """
        argv = self._dc.argv("exec", "--no-TTY", self.name, "sh", "-c", _IS_READY)
        return self._stack.gateway.ask(argv).code == 0

    def _wait_for_answer(self) -> None:
        """Wait until the server answers: without a health check, Compose waits for the process."""
        end = time.monotonic() + SECONDS_TO_ANSWER
        while not self.answers() and time.monotonic() < end:
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def stop(self) -> None:
        """Stop the service; the caller must hold the lock of the stack."""
        with self._stack.stopping():
            self._dc.run_or_end("stop", self.name)
        self._runs = False

    @functools.cached_property
    def login(self) -> tuple[str, str]:
        """The superuser and the name of the live database, as the container gets them.

        A key of ``[tool.composed]`` that names a setting wins.
        """
        from composed.docker.volume.credentials import Credentials  # noqa: PLC0415
        from composed.docker.volume.volume import environment_of  # noqa: PLC0415

        project, settings = self._stack.project, self._stack.settings
        keys = project.database_user, project.database_name
        if all(keys):
            return settings[keys[0]], settings[keys[1]]
        environment = environment_of(self._stack.gateway, self._dc.model(), self.name)
        found = Credentials.of(environment)
        user, name = (settings[key] if key else "" for key in keys)
        return user or found.user, name or found.database

    def postgresql(self, call: str, name: str = "") -> PostgreSQL:
        """Return a database, by default the live one; ``call`` marks the programs."""
        from composed.data.postgres import PostgreSQL  # noqa: PLC0415
        from composed.data.psql import Psql  # noqa: PLC0415

        mark = ("exec", "--no-TTY", "--env", f"{MARK}={call}", self.name)
        user, live = self.login
        psql = Psql(self._stack.gateway, lambda *argv: self._dc.argv(*mark, *argv), user)
        return PostgreSQL(psql, name or live, self.restores)

    def volume_check(self, model: Model | None = None) -> VolumeCheck:
        """Return the check of the volume in a Compose model, by default in the current model."""
        from composed.docker.volume.volume import VolumeCheck  # noqa: PLC0415

        file = self._stack.folder / "volume.json"
        return VolumeCheck(self._dc, model or self._dc.model(), self.name, file)

    def check(self, model: Model, services: Sequence[str] = ()) -> None:
        """Raise :class:`SettingError` when the volume does not fit ``model``.

        With credentials that are new to the volume, the database service starts first, alone.
        """
        if self._stack.gateway.dry or (volume := self.volume_check(model)).is_known:
            return
        exists = volume.check_volume()
        if list(services) == [self.name]:  # PostgreSQL's own programs need no password
            return
        if exists:
            if self._dc.run("up", "--detach", "--wait", self.name):
                return  # the start of all services explains the failure
            self._wait_for_answer()
            volume.check_credentials()
        volume.remember()

    def clean_up(self) -> None:
        """Undo restores and upgrades of killed verbs."""
        for call, name in self.restores.abandoned().items():
            with contextlib.suppress(ComposedError):  # the database is down: later
                self.postgresql("heal", _decoded(name)).heal(call)
                self.restores.forget(call)
        for call, volume in self.upgrades.abandoned().items():
            current = self.volume_check().volume  # the upgrade may have written the env file
            in_use = current is not None and current.name == volume
            if not in_use:
                self._stack.gateway.do(["docker", "volume", "rm", volume])
            with contextlib.suppress(ComposedError):  # without an answer of the engine: later
                if in_use or volume not in self._dc.volumes():
                    self.upgrades.forget(call)


def _decoded(name: str) -> str:
    """Return the name of a database from a record in hexadecimal digits: it may be any text."""
    try:
        return bytes.fromhex(name).decode()
    except ValueError:  # of an earlier Composed
        return ""
