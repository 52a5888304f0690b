"""The data of local mode: a SQLite file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.stack import Stack, Store

if TYPE_CHECKING:  # few verbs need it
    from composed.data.sqlite import SQLite

__all__ = ["FileStore"]


class FileStore(Store):
    """The file ``SQLITE_PATH``; ``restores`` records a copy that stands beside the file."""

    def __init__(self, stack: Stack, file: Path) -> None:
        self._stack, self._file = stack, file
        self._restores = Calls(stack.gateway, stack.folder / "swaps")

    @contextlib.contextmanager
    def database(self) -> Iterator[SQLite]:
        """Yield SQLite, which needs no start."""
        self._stack.gateway.make_folder(self._file.parent)
        yield self._sqlite()

    def pointed_at(self, place: str) -> dict[str, str]:
        """Return the setting that names the file."""
        return {"SQLITE_PATH": place}

    def has_data(self) -> bool:
        """Return whether the file exists."""
        return self._file.exists()

    def holdings(self) -> list[str]:
        """Return the path of the file."""
        return [str(self._file)] if self._file.exists() else []

    def destroy(self) -> int:
        """Remove the file: nothing else belongs to the stack alone."""
        return self._stack.runner.down(volumes=True)

    def clean_up(self) -> None:
        """Remove the copy that a killed restore left."""
        for call in self._restores.abandoned():
            self._sqlite().heal()
            self._restores.forget(call)

    def _sqlite(self) -> SQLite:
        from composed.data.sqlite import SQLite  # noqa: PLC0415

        return SQLite(self._file, self._stack.folder / "restored.sqlite3", self._restores)
