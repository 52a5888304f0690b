"""The data of a stack in docker mode: a database service on a volume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from composed.calls import Calls
from composed.database import Database
from composed.docker.compose import Compose
from composed.docker.database import DatabaseService
from composed.docker.owned import Owned
from composed.stack import Stack, Store

__all__ = ["VolumeStore"]


class VolumeStore(Store):
    """The volume of the database service, and all else on the engine that is the stack's."""

    def __init__(self, stack: Stack, dc: Compose, calls: Calls, database: DatabaseService) -> None:
        self._stack, self._dc, self._calls, self._database = stack, dc, calls, database
        self._owned = Owned(dc, stack.name)

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """Yield PostgreSQL; when the block raises, its programs inside are ended."""
        self._database.start()
        try:
            with self._calls.under_way(self._database.name, keep_failed=True) as call:
                yield self._database.postgresql(call)
        except BaseException:
            self._stack.clean_up()
            raise

    def pointed_at(self, place: str) -> dict[str, str]:
        """Return the setting that the Compose file's ``${…}`` takes the name from."""
        return {self._stack.project.database_name: place}

    def has_data(self) -> bool:
        """Return whether the volume of the database service exists."""
        return self._owned.has_volume(self._database.name)

    def holdings(self) -> list[str]:
        """Return the volumes: after an upgrade the old volume is still there."""
        return self._owned.volumes()

    def destroy(self) -> int:
        """Remove all that Compose knows, then all else that bears the project's label."""
        self._owned.check_volumes()
        with self._stack.locked(), self._stack.stopping():
            code = self._dc.run("down", "--remove-orphans", "--volumes", "--rmi", "local")
            return code or self._owned.remove()
