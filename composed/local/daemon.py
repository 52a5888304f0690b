"""A program in the background: recorded when started, stopped with all children."""

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from composed.gateway import Gateway
from composed.machine import Process
from composed.signals import postponed

SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_DIE = 5.0  # of a killed process: the kernel takes a moment
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
LOG_BYTES_READ = 20_000  # some tracebacks

# The shell writes the PID before the program replaces the shell: a `kill -9` of `inv` between
# the start and the record leaves no unknown program.
_NOTED = 'echo $$ > "$0" && exec "$@"'


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

    def start(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], port: int) -> None:
        """Start the program and record the start."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        noted = ["sh", "-c", _NOTED, str(self._pid), *argv]
        with postponed():
            pid = self._gateway.spawn(noted, cwd=cwd, env=env, log=self.log)
            since = next((p.since for p in self._gateway.processes() if p.pid == pid), "")
            start = Start(pid, since, port, time.time(), str(self._record.parent))
            self._record.write_text(json.dumps(asdict(start)))

    def rotate(self) -> None:
        """Move the content of a long log aside; the oldest of the kept logs is lost.

        Copied and emptied, not renamed: the program goes on writing to the same file.
        """
        if self.log_size() < LOG_BYTES:
            return
        for number in range(LOGS_KEPT - 1, 0, -1):
            with suppress(FileNotFoundError):
                older = self.log.with_suffix(f".log.{number}")
                older.replace(self.log.with_suffix(f".log.{number + 1}"))
        shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
        os.truncate(self.log, 0)

    def log_size(self) -> int:
        """Return the size of the log in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_after(self, offset: int) -> str:
        """Return the end of the log after the first ``offset`` bytes."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(offset if offset <= size else 0, size - LOG_BYTES_READ))
            return log.read().decode(errors="replace")

    def running(self) -> Start | None:
        """Return the start of the program while the program runs, else None."""
        start = self.last()
        return start if start and any(map(start.is_of, self._group())) else None

    def last(self) -> Start | None:
        """Return the last start without a stop, else None; a copied folder has none."""
        try:
            start = Start(**json.loads(self._record.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        original = Path(start.folder) / self._record.name
        copied = start.folder and original.exists() and not original.samefile(self._record)
        return None if copied else start

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
        self._record.unlink(missing_ok=True)
        self._pid.unlink(missing_ok=True)

    def _unrecorded(self) -> list[Process]:
        """Return the group of a program that an ``inv`` killed too early did not record."""
        try:
            pid = int(self._pid.read_text())
        except (OSError, ValueError):
            return []
        if self._record.exists():
            return []
        # The PID may belong to another process by now; the program had an address to listen on.
        args = self._gateway.ask(["ps", "-ww", "-o", "args=", "-p", str(pid)]).out
        group = [process for process in self._gateway.processes() if process.group == pid]
        return group if " --bind 127.0.0.1:" in args else []

    def _group(self) -> list[Process]:
        """Return the living processes of the group; none under a later leader with the PID."""
        start = self.last()
        if not start:
            return []
        group = [process for process in self._gateway.processes() if process.group == start.pid]
        leaders = [process for process in group if process.pid == process.group]
        return group if all(map(start.is_of, leaders)) else []
