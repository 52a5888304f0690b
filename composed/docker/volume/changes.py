"""Changes of the database's volume: other credentials, a newer PostgreSQL."""

from __future__ import annotations

from composed.calls import Calls
from composed.docker.compose import Compose
from composed.docker.database import DatabaseService
from composed.docker.leftovers import LABEL
from composed.docker.volume import credentials, upgrade
from composed.docker.volume.credentials import Server
from composed.stack import Stack, Volume

__all__ = ["VolumeChanges"]


class VolumeChanges(Volume):
    """The volume of the database service, changed while nothing else uses the data."""

    def __init__(self, stack: Stack, dc: Compose, calls: Calls, database: DatabaseService) -> None:
        self._stack, self._dc, self._calls, self._database = stack, dc, calls, database

    def change_credentials(self) -> list[str]:
        """Change the volume; return a line for each change."""
        server = self._database.volume_check().server
        if server is None:
            return []
        self._stack.gateway.preview()
        self._database.start()
        return credentials.change(server, lambda: self._rename_user(server))

    def _rename_user(self, server: Server) -> str:
        """Rename the superuser, with a helper role that only a stopped server can be given."""
        with (
            self._database.stopped(),
            self._stack.locked(),
            self._calls.under_way(keep_failed=True) as call,
        ):
            one_off = ("run", "--rm", "--no-deps", "--no-TTY", "--label", f"{LABEL}={call}")
            single = (self._database.name, "postgres", "--single", "postgres")
            server.add_helper(self._dc.argv(*one_off, *single))
        return server.rename_user()

    def upgrade(self, old_image: str) -> list[str]:
        """Copy into a new volume and name the volume in the env file; return the report."""
        check, service = self._database.volume_check(), self._database.name
        if check.wanted is None:
            return []
        self._stack.gateway.preview()
        with self._stack.locked():
            plan = upgrade.plan(self._dc, check, self._stack.settings, service, old_image)
            if plan is None:
                return []
            self._dc.run_or_end("stop")
            try:
                with (
                    self._database.upgrades.under_way(plan.new.name, keep_failed=True),
                    self._calls.under_way(keep_failed=True) as call,
                ):
                    upgrade.run(self._dc, service, check.wanted, plan, call)
                    upgrade.switch(self._stack.settings, plan)
            except BaseException:
                self._stack.clean_up()
                raise
        return plan.lines
