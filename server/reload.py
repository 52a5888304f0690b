"""Run Gunicorn in development and have it reload whenever a source file changes.

    python reload.py gunicorn guarded_wsgi:application

The tree is looked at before the application is loaded, and again before each reload is
asked for, so an edit that falls between a module's import and the next look is still a
change to that look. Looked at, not listened to: bind mounts of Docker Desktop tell nobody
of a change.
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

POLL = 0.1
# A reload that comes while workers still load would only wait for them: they say when
# they have loaded, and if they do not say it within this time, it is sent all the same.
LOADING_AT_MOST = 3.0

_SUFFIXES = (".py", ".html", ".txt")
_NOT_SOURCE = {"__pycache__", "node_modules", "staticfiles", "tests"}

Snapshot: TypeAlias = dict[str, tuple[int, int, int]]


def snapshot(root: Path) -> Snapshot:
    """Return what tells one state of every source file from the next."""
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
    except OSError:  # removed while we look: the next look tells
        return


def _stat(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return os.stat(entry.path)  # noqa: PTH116  # DirEntry.stat would be cached
    except OSError:
        return None


class Supervisor:
    """Keeps a command running, and sends it SIGHUP when the tree has changed."""

    def __init__(self, command: Sequence[str], root: Path) -> None:
        self._command = command
        self._root = root
        self._stopping = False
        self._loaded, self._loaded_writer = os.pipe()
        os.set_blocking(self._loaded, False)
        self._seen = snapshot(root)

    def run(self) -> int:
        """Run until the command ends well or a signal ends it; return its exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        while True:
            self._start()
            code = self._watch()
            # SIGHUP kills a Gunicorn that has not come far enough to handle it.
            if code not in (0, -signal.SIGHUP) and not self._stopping:
                self._say(f"the server ended with {code}, the next change starts it again")
                self._wait_for_change()
            if code == 0 or self._stopping:
                return code if code >= 0 else 128 - code

    def _start(self) -> None:
        environment = os.environ | {"RELOAD_LOADED_FD": str(self._loaded_writer)}
        self._child = subprocess.Popen(
            self._command, env=environment, pass_fds=[self._loaded_writer]
        )
        self._reloaded_at = time.monotonic()

    def _watch(self) -> int:
        changed = False
        while True:
            try:
                return self._child.wait(timeout=POLL)
            except subprocess.TimeoutExpired:
                changed = self._changed() or changed
            if changed and not self._stopping and self._has_loaded():
                changed = False
                self._reloaded_at = time.monotonic()
                self._child.send_signal(signal.SIGHUP)

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
        self._child.send_signal(number)

    @staticmethod
    def _say(message: str) -> None:
        print(f"reload: {message}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[1:], Path(__file__).resolve().parent).run())
