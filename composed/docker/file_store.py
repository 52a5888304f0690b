"""The data of a stack in docker mode whose Django uses a SQLite file of the project's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.database import SIDE_FILES
from composed.docker.compose import Compose
from composed.docker.store import VolumeStore
from composed.stack import Stack, Store

if TYPE_CHECKING:
    from composed.data.sqlite import SQLite
    from composed.database import Database

SWAPS = "file-swaps"  # records of restores, apart from those of PostgreSQL


class MountedFileStore(Store):
    """The file ``file`` of this machine, at the path ``inside`` in the containers.

    The file is the project's own: a restore or a reset replaces the content, and no verb removes
    the file. ``volumes`` has further databases, of an earlier time.
    """

    def __init__(
        self, stack: Stack, dc: Compose, file: Path, inside: str, volumes: VolumeStore
    ) -> None:
        self._stack, self._dc, self._volumes = stack, dc, volumes
        self.file, self._inside = file, PurePosixPath(inside)

    @contextlib.contextmanager
    def database(self, name: str = "") -> Iterator[Database]:
        if name:
            with self._volumes.database(name) as database:
                yield database
            return
        self._stack.gateway.check_file(self.file)
        self.take_over()
        yield self._sqlite()

    def has_data(self) -> bool:
        return self.file.exists()

    def take_over(self) -> None:
        """Give the file to the owner of the project: see :func:`take_over`."""
        take_over(self._stack, self._dc, self.file, str(self._inside))

    def place_inside(self, place: str) -> str:
        """Return the path in the container of a file beside the database."""
        return str(self._inside.with_name(Path(place).name))

    def clean_up(self) -> None:
        """Remove the copy that a killed restore left."""
        swaps = Calls(self._stack.gateway, self._stack.folder / SWAPS)
        for call in swaps.abandoned():
            self._sqlite().heal()
            swaps.forget(call)

    def _sqlite(self) -> SQLite:
        from composed.data.sqlite import SQLite  # noqa: PLC0415

        # Beside the database: a rehearsal in the container has to see the copy.
        scratch = self.file.with_name(f".composed-{self.file.name}")
        swaps = Calls(self._stack.gateway, self._stack.folder / SWAPS)
        return SQLite(self.file, scratch, swaps, self._stopped)

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        """Stop the services that run, and start them again, however the block ends."""
        running = self._dc.running()
        with self._stack.locked():
            with self._stack.stopping():
                self._dc.run_or_end("stop")
            try:
                yield
            finally:
                if running:
                    self._dc.run("start", *running)


def take_over(stack: Stack, dc: Compose, file: Path, inside: str) -> None:
    """Give a file that root in a container has made to the owner of the project.

    ``inside`` is the path in the containers. An ordinary user could not change the rows, or
    restore them; root in the container still can. A folder that root has made goes with the file.
    """
    owner, root = stack.project.owner, stack.project.root
    if stack.gateway.dry or not owner.st_uid or not file.is_relative_to(root):
        return
    # SQLite keeps these files open, and gives new ones the owner of the database.
    places = {Path(f"{file}{end}"): f"{inside}{end}" for end in ("", *SIDE_FILES)}
    if file.parent != root:
        places[file.parent] = str(PurePosixPath(inside).parent)
    of_root = [name for place, name in places.items() if _uid(place) == 0]
    if of_root:
        run = ("run", "--rm", "--no-deps", "--no-TTY", "--user", "0:0", "--entrypoint", "chown")
        ids = f"{owner.st_uid}:{owner.st_gid}"
        stack.gateway.ask(dc.argv(*run, stack.project.backend, ids, *of_root))


def _uid(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:  # no file yet, or in a folder of another user
        return None
