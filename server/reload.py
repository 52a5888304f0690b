"""Run Gunicorn in development; on a change of a source file, let Gunicorn reload.

    python reload.py gunicorn guarded_wsgi:application

A snapshot of the source files is taken before the application is loaded and again before
each reload, so an edit between a module's import and the next snapshot still counts as a
change. Snapshots, not inotify: bind mounts of Docker Desktop send no events.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeAlias

__all__ = ["Supervisor", "snapshot"]

POLL = 0.1  # seconds between two snapshots
# A reload during the loading of workers would only wait for the workers. Each worker
# reports its end of loading; after this many seconds without a report, reload all the same.
LOADING_AT_MOST = 3.0

_SUFFIXES = (".py", ".html", ".txt")
_NOT_SOURCE = {"__pycache__", "node_modules", "staticfiles", "tests"}

Snapshot: TypeAlias = dict[str, tuple[int, int, int]]


def snapshot(root: Path) -> Snapshot:
    """Return time of change, size and inode number of every source file under root."""
    return {
        entry.path: (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        for entry in _sources(root)
        if (stat := _stat(entry))
    }


def _sources(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if not entry.name.startswith(".") and entry.name not in _NOT_SOURCE:
                        yield from _sources(entry.path)
                elif entry.name.endswith(_SUFFIXES):
                    yield entry
    except OSError:  # removed meanwhile: the next snapshot shows the change
        return


def _stat(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return os.stat(entry.path)  # noqa: PTH116  # DirEntry.stat would be cached
    except OSError:
        return None


class Supervisor:
    """Keep a command running, and send SIGHUP to its process after a change under root."""

    def __init__(self, command: Sequence[str], root: Path) -> None:
        self._command = command
        self._root = root
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._change_to_load = False
        self._loaded, self._loaded_writer = os.pipe()
        os.set_blocking(self._loaded, False)
        self._seen = snapshot(root)

    def run(self) -> int:
        """Run until the command ends with 0 or after a stop signal; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        while True:
            code = self._watch(self._start())
            # SIGHUP kills a Gunicorn that has no handler yet. An edit since the last SIGHUP
            # may be the correction: no wait for a further edit.
            if not (code in (0, -signal.SIGHUP) or self._stopping or self._change_to_load):
                self._say(f"the server ended with {code}, the next change starts it again")
                self._wait_for_change()
            if code == 0 or self._stopping:
                return code if code >= 0 else 128 - code

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = os.environ | {"RELOAD_LOADED_FD": str(self._loaded_writer)}
        self._change_to_load = False
        self._child = subprocess.Popen(
            self._command, env=environment, pass_fds=[self._loaded_writer]
        )
        self._reloaded_at = time.monotonic()
        if self._stopping:  # the signal came before there was a child to forward to
            self._child.terminate()
        return self._child

    def _watch(self, child: "subprocess.Popen[bytes]") -> int:
        while True:
            try:
                return child.wait(timeout=POLL)
            except subprocess.TimeoutExpired:
                self._change_to_load |= self._changed()
            if self._change_to_load and not self._stopping and self._has_loaded():
                self._change_to_load = False
                self._reloaded_at = time.monotonic()
                child.send_signal(signal.SIGHUP)

    def _changed(self) -> bool:
        before, self._seen = self._seen, snapshot(self._root)
        for path, _ in sorted(before.items() ^ self._seen.items()):
            self._say(f"{Path(path).relative_to(self._root)} changed")
            break
        return before != self._seen

    def _has_loaded(self) -> bool:
        try:
            return bool(os.read(self._loaded, 4096))
        except BlockingIOError:
            return time.monotonic() - self._reloaded_at > LOADING_AT_MOST

    def _wait_for_change(self) -> None:
        while not self._stopping and not self._changed():
            time.sleep(POLL)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._child:
            self._child.send_signal(number)

    @staticmethod
    def _say(message: str) -> None:
        print(f"reload: {message}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[1:], Path(__file__).resolve().parent).run())
