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

POLL = 0.1  # seconds between two snapshots, and more where a snapshot takes long:
PART_OF_TIME = 0.1  # that snapshots may take
MOST_FOLDERS = 10_000
# A reload during the loading of workers would only wait for the workers. Each worker
# reports its end of loading; after this many seconds without a report, reload all the same.
LOADING_AT_MOST = 3.0

_SUFFIXES = (".py", ".html", ".txt")
_NOT_SOURCE = {"__pycache__", "node_modules", "staticfiles", "tests"}

Snapshot: TypeAlias = dict[str, tuple[int, int, int]]


def snapshot(root: Path, skipped: dict[str, str] | None = None) -> Snapshot:
    """Return time of change, size and inode number of every source file under root.

    ``skipped`` gets the reason for each folder that is not looked at.
    """
    return {
        entry.path: (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        for entry in _sources(root, {} if skipped is None else skipped)
        if (stat := _stat(entry.path))
    }


def _sources(root: Path, skipped: dict[str, str]) -> Iterator["os.DirEntry[str]"]:
    """Yield the source files, of each folder once, since links to folders may form a loop.

    Links come last: a folder of the tree counts by its own name, so that names stay the same.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [str(root)], list[str]()
    while folders or links:
        is_link = not folders
        folder = links.pop() if is_link else folders.pop()
        stat = _stat(folder)
        if not stat:
            continue
        if (stat.st_dev, stat.st_ino) in seen:
            skipped[folder] = "the folder is watched by another name"
        elif is_link and root.resolve().is_relative_to(Path(folder).resolve()):
            skipped[folder] = "the link leads to a folder above"
        elif len(seen) == MOST_FOLDERS:
            skipped[folder] = f"there are more than {MOST_FOLDERS} folders"
        else:
            seen.add((stat.st_dev, stat.st_ino))
            yield from _files(folder, folders, links, skipped)


def _files(
    folder: str, folders: list[str], links: list[str], skipped: dict[str, str]
) -> Iterator["os.DirEntry[str]"]:
    """Yield the source files in a folder; add the folders inside to ``folders`` and ``links``."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name, reverse=True)
    except FileNotFoundError:  # removed meanwhile: the next snapshot shows the change
        return
    except OSError as error:
        skipped[folder] = error.strerror or "an error"
        return
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link to itself
            skipped[entry.path] = error.strerror or "an error"
            continue
        if not is_folder:
            if entry.name.endswith(_SUFFIXES):
                yield entry
        elif entry.name.startswith(".") or entry.name in _NOT_SOURCE:
            continue
        elif os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):  # noqa: PTH110, PTH118
            skipped[entry.path] = "the folder is a virtual environment"
        else:
            (links if entry.is_symlink() else folders).append(entry.path)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  # DirEntry.stat would be cached
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
        self._poll = POLL
        self._said: dict[str, str] = {}
        self._seen = self._look()

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
        kept = map(int, filter(None, os.environ.get("GUNICORN_FD", "").split(",")))
        self._change_to_load = False
        self._child = subprocess.Popen(
            self._command, env=environment, pass_fds=[self._loaded_writer, *kept]
        )
        self._reloaded_at = time.monotonic()
        if self._stopping:  # the signal came before there was a child to forward to
            self._child.terminate()
        return self._child

    def _watch(self, child: "subprocess.Popen[bytes]") -> int:
        while True:
            try:
                return child.wait(timeout=self._poll)
            except subprocess.TimeoutExpired:
                self._change_to_load |= self._changed()
            if self._change_to_load and not self._stopping and self._has_loaded():
                self._change_to_load = False
                self._reloaded_at = time.monotonic()
                child.send_signal(signal.SIGHUP)

    def _changed(self) -> bool:
        before, self._seen = self._seen, self._look()
        for path, _ in sorted(before.items() ^ self._seen.items()):
            self._say(f"{Path(path).relative_to(self._root)} changed")
            break
        return before != self._seen

    def _look(self) -> Snapshot:
        """Take a snapshot, and say which folders are skipped, once."""
        skipped: dict[str, str] = {}
        began = time.monotonic()
        seen = snapshot(self._root, skipped)
        self._poll = max(POLL, (time.monotonic() - began) / PART_OF_TIME)
        for path, reason in sorted(skipped.items() - self._said.items()):
            self._say(f"{Path(path).relative_to(self._root)} is not watched: {reason}")
        self._said = skipped
        return seen

    def _has_loaded(self) -> bool:
        try:
            return bool(os.read(self._loaded, 4096))
        except BlockingIOError:
            return time.monotonic() - self._reloaded_at > LOADING_AT_MOST

    def _wait_for_change(self) -> None:
        while not self._stopping and not self._changed():
            time.sleep(self._poll)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._child:
            self._child.send_signal(number)

    @staticmethod
    def _say(message: str) -> None:
        print(f"reload: {message}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[1:], Path(__file__).resolve().parent).run())
