"""Call records: which commands are under way in containers, so that killed ones are found."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from composed.errors import Interrupted
from composed.gateway import Gateway, is_free

__all__ = ["Calls"]


class Calls:
    """A folder with a file for each call, locked while its ``inv`` lives.

    The kernel drops the lock however the process ends, ``kill -9`` included, so neither a
    PID nor its reuse matters.
    """

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway, self._folder = gateway, folder

    @contextlib.contextmanager
    def under_way(self, text: str = "", *, keep_failed: bool = False) -> Iterator[str]:
        """Record a call while the block runs, and yield its name; ``text`` is kept with it.

        A block that raises leaves no record, unless :class:`Interrupted` or ``keep_failed``:
        then the next verb cleans up.
        """
        if self._gateway.dry:
            yield "dry"
            return
        call = new_name()
        draft = self._folder / f".{call}"  # invisible to other verbs until it is locked
        self._gateway.write(draft, text)
        with draft.open("a+", encoding="utf-8") as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            draft.rename(self._folder / call)
            try:
                yield call
            except Interrupted:
                raise  # the command inside may go on: the record stays
            except BaseException:
                if not keep_failed:
                    self.forget(call)
                raise
            self.forget(call)

    def abandoned(self) -> dict[str, str]:
        """Return the text of each call whose ``inv`` is gone."""
        texts = {}
        with contextlib.suppress(FileNotFoundError):
            for file in sorted(self._folder.glob("[!.]*")):
                with contextlib.suppress(FileNotFoundError), file.open() as record:
                    if is_free(record):
                        texts[file.name] = record.read()
        return texts

    def forget(self, call: str) -> None:
        """Remove the record of a call."""
        self._gateway.remove(self._folder / call)


def new_name() -> str:
    """Return a name that no other call has."""
    return os.urandom(6).hex()
