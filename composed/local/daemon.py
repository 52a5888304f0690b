"""A program in the background: recorded when started, stopped with all children."""

import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from composed import files
from composed.gateway import Gateway
from composed.machine import Process
from composed.records import read_object, record
from composed.signals import postponed

SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_DIE = 5.0  # of a killed process: the kernel takes a moment
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
LOG_BYTES_MOVED = 100_000_000  # of a longer log, the end
LOG_BYTES_READ = 20_000  # some tracebacks

# The shell writes the PID and the command before the program replaces the shell: a `kill -9` of
# `inv` between the start and the record leaves no unknown program.
_NOTED = r'printf "%s\n" $$ "$*" > "$0" && exec "$@"'


@dataclass(frozen=True)
class Start:
    """The record of a start; ``since`` tells the program from a later process with the PID.

    ``at`` is the time in seconds, ``folder`` the stack's: a moved or copied record differs.
    """

    pid: int
    since: str
    port: int
    at: float
    folder: str = ""

    def is_of(self, process: Process) -> bool:
        """Return whether the process is the program of this start."""
        return (process.pid, process.since) == (self.pid, self.since)


class Daemon:
    """A program that leads a process group of its own and writes to a log."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway = gateway
        self._record, self._pid = folder / "backend.json", folder / "backend.pid"
        self.log = folder / "backend.log"

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        port: int,
        listener: socket.socket | None = None,
    ) -> None:
        """Start the program, with a socket that listens already if any, and record the start."""
        self._gateway.make_folder(self.log.parent)
        for file in (self._record, self._pid):  # the shell would write to what stands there
            files.check(file, writes=True)
        noted = ["sh", "-c", _NOTED, str(self._pid), *argv]
        with postponed():
            pid = self._gateway.spawn(noted, cwd=cwd, env=env, log=self.log, listener=listener)
            since = next((p.since for p in self._gateway.processes() if p.pid == pid), "")
            start = Start(pid, since, port, time.time(), str(self._record.parent))
            self._gateway.write(self._record, json.dumps(asdict(start)))

    def rotate(self) -> None:
        """Move the content of a long log aside; the oldest of the kept logs is lost.

        Copied and emptied, not renamed: the program goes on writing to the same file.
        """
        if self.log_size() < LOG_BYTES:
            return
        logs = [self.log.with_suffix(f".log.{number}") for number in range(1, LOGS_KEPT + 1)]
        for file in logs:
            files.check(file, writes=True)
        for newer, older in zip(logs[-2::-1], logs[:0:-1], strict=True):
            with suppress(FileNotFoundError):
                newer.replace(older)
        logs[0].touch(mode=0o600)
        with self.log.open("rb") as log, logs[0].open("wb") as moved:
            log.seek(max(0, self.log_size() - LOG_BYTES_MOVED))
            shutil.copyfileobj(log, moved, LOG_BYTES)
        os.truncate(self.log, 0)

    def log_size(self) -> int:
        """Return the size of the log in bytes; 0 without a log that can be read."""
        try:
            files.check(self.log)
            return self.log.stat().st_size
        except OSError:
            return 0

    def log_after(self, offset: int, most: int = 0) -> str:
        """Return the end of the log after the first ``offset`` bytes; ``most`` bytes, or some."""
        try:
            handle = files.opened(self.log)
        except OSError:
            return ""
        with open(handle, "rb") as log:  # noqa: PTH123  # a descriptor
            size = log.seek(0, os.SEEK_END)
            log.seek(max(offset if offset <= size else 0, size - (most or LOG_BYTES_READ)))
            return log.read().decode(errors="replace")

    def running(self) -> Start | None:
        """Return the start of the program while the program runs, else None."""
        start = self.last()
        return start if start and any(map(start.is_of, self._group())) else None

    def last(self) -> Start | None:
        """Return the last start without a stop, else None; a copied folder has none."""
        start = self._recorded()
        if not start or not start.folder:
            return start
        original = Path(start.folder) / self._record.name
        with suppress(OSError):  # the folder was moved
            return start if original.samefile(self._record) else None
        return start

    def _recorded(self) -> Start | None:
        """Return the start that is recorded; None without a record of a possible process."""
        try:
            start = record(Start, read_object(self._record))
        except (OSError, ValueError):
            return None
        return start if 1 < start.pid < 1 << 31 and 0 < start.port < 1 << 16 else None

    def pids(self) -> set[int]:
        """Return the PIDs of the program and its children."""
        return {process.pid for process in self._group()}

    def stop(self, *, seconds: float) -> None:
        """Ask the program to end, wait for ``seconds``, then kill the rest of the group."""
        if start := self.running():
            self._gateway.kill(start.pid, signal.SIGTERM)
            end = time.monotonic() + seconds
            while self.running() and time.monotonic() < end:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        left = {(process.pid, process.since) for process in self._group() or self._unrecorded()}
        for pid, _ in left:
            self._gateway.kill(pid, signal.SIGKILL)
        end = time.monotonic() + SECONDS_TO_DIE
        while left and time.monotonic() < end:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            left &= {(process.pid, process.since) for process in self._gateway.processes()}
        self._gateway.remove(self._record)
        self._gateway.remove(self._pid)

    def _unrecorded(self) -> list[Process]:
        """Return the group of a program that an ``inv`` killed too early did not record."""
        try:
            first, _, command = files.text(self._pid).partition("\n")
            pid = int(first)
        except (OSError, ValueError):
            return []
        if self._recorded() or pid < 2:
            return []
        # The PID may belong to another process by now. A script has its interpreter before it.
        args = self._gateway.ask(["ps", "-ww", "-o", "args=", "-p", str(pid)]).out
        options = _letters(command.partition(" ")[2] or command)
        group = [process for process in self._gateway.processes() if process.group == pid]
        return group if options and options in _letters(args) else []

    def _group(self) -> list[Process]:
        """Return the living processes of the group; none under a later leader with the PID."""
        start = self.last()
        if not start:
            return []
        group = [process for process in self._gateway.processes() if process.group == start.pid]
        leaders = [process for process in group if process.pid == process.group]
        return group if all(map(start.is_of, leaders)) else []


def _letters(text: str) -> str:
    """Return a command without the characters that `ps` may show in another way."""
    return re.sub(r"[^\w./:=-]", "", text, flags=re.ASCII)
