"""Records of commands under way inside containers, so that a killed one can be cleaned up."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from composed.errors import Interrupted
from composed.own_files import opened
from composed.terminal import say

__all__ = ["Calls", "alone"]


class Calls:
    """One file a call, locked while its ``inv`` lives.

    The kernel drops the lock however the process ends, ``kill -9`` included, so
    neither a PID nor its reuse has to be reasoned about.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def under_way(self, service: str = "", *, keep_failed: bool = False) -> Iterator[str]:
        """Record a call for as long as the block runs; ``service`` is where an exec runs.

        With ``keep_failed``, one that raises counts as abandoned: the next verb looks after it.
        """
        call = new_name()
        draft = self._folder / f".{call}"  # not seen by others before it is locked
        with opened(draft) as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            record.write(service)
            record.flush()
            draft.rename(self._folder / call)
            try:
                yield call
            except Interrupted:
                raise  # what was started inside may go on: the record stays, abandoned
            except BaseException:
                if not keep_failed:
                    self.forget(call)
                raise
            self.forget(call)

    def abandoned(self) -> dict[str, str]:
        """Return the calls whose ``inv`` is gone, and the service each ran in."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for file in sorted(self._folder.glob("[!.]*")):
                with contextlib.suppress(FileNotFoundError), file.open() as record:
                    if _is_free(record):
                        found[file.name] = record.read()
        return found

    def forget(self, call: str) -> None:
        """Drop a record."""
        (self._folder / call).unlink(missing_ok=True)


def new_name() -> str:
    """Return a name that no other call has."""
    return os.urandom(6).hex()


def _is_free(record: IO[str]) -> bool:
    try:
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Let one ``inv`` at a time through the block; the others wait and say so.

    What :meth:`Gateway.run` starts there shares the lock, since it outlives a
    killed ``inv``: a second Compose beside it would trip over its containers.
    """
    with opened(file) as lock:
        os.set_inheritable(lock.fileno(), True)
        if not _is_free(lock):
            lock.seek(0)
            pid = lock.read()  # which it may not have written yet
            say(f"Waiting for another inv{pid and f' (PID {pid})'} …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        with contextlib.suppress(OSError):  # on a full disk it keeps others out all the same
            lock.write(str(os.getpid()))
            lock.flush()
        yield
