"""One program in the background: started once, known again later, stopped with all it started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from composed.gateway import Gateway
from composed.process_table import Process
from composed.signals import postponed

__all__ = ["Daemon", "Start"]

SECONDS_BETWEEN_LOOKS = 0.05
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
LOG_BYTES_READ = 20_000  # some tracebacks

# The program writes down its own PID before it is what it is to be: a `kill -9` of ours
# between its start and our record leaves none that nobody knows.
_NOTED = 'echo $$ > "$0" && exec "$@"'


@dataclass(frozen=True)
class Start:
    """What is written down of a start: who (``since`` outlives a PID), where, when.

    ``folder`` is where the record was written: a moved or copied one tells so.
    """

    pid: int
    since: str
    port: int
    at: float
    folder: str = ""


class Daemon:
    """A program that leads a process group of its own and writes to a log."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway = gateway
        self._record = folder / "backend.json"
        self._pid = folder / "backend.pid"
        self.log = folder / "backend.log"

    def start(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], port: int) -> None:
        """Start the program and write down how to know it again."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        noted = ["sh", "-c", _NOTED, str(self._pid), *argv]
        with postponed():
            pid = self._gateway.spawn(noted, cwd=cwd, env=env, log=self.log)
            since = next((p.since for p in self._gateway.processes() if p.pid == pid), "")
            start = Start(pid, since, port, time.time(), str(self._record.parent))
            self._record.write_text(json.dumps(asdict(start)))

    def rotate(self) -> None:
        """Move what a long log holds aside; the oldest of those kept goes.

        Copied and emptied, not renamed: the program goes on writing to its end.
        """
        if self.log_size() < LOG_BYTES:
            return
        for number in range(LOGS_KEPT - 1, 0, -1):
            older = self.log.with_suffix(f".log.{number}")
            if older.exists():
                older.replace(self.log.with_suffix(f".log.{number + 1}"))
        shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
        os.truncate(self.log, 0)

    def log_size(self) -> int:
        """Return how much it has logged so far, in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0

    def said(self, since: int) -> str:
        """Return the end of its log, of what was logged after the first ``since`` bytes."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(since if since <= size else 0, size - LOG_BYTES_READ))
            return log.read().decode(errors="replace")

    def running(self) -> Start | None:
        """Return what runs, or None; a process that was given its PID later is another's."""
        start = self.last()
        return start if start and any(_is(process, start) for process in self._group()) else None

    def last(self) -> Start | None:
        """Return the last start that was not followed by a stop; another folder's is not ours."""
        try:
            start = Start(**json.loads(self._record.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return None if self._is_copied(start) else start

    def pids(self) -> set[int]:
        """Return its processes."""
        return {process.pid for process in self._group()}

    def stop(self, *, seconds: float) -> None:
        """Ask it to end and wait; then end by force what is left of its group.

        What is left, without a leader, is what a ``kill -9`` of the leader leaves.
        """
        if start := self.running():
            self._gateway.kill(start.pid, signal.SIGTERM)
            end = time.monotonic() + seconds
            while self.running() and time.monotonic() < end:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        left = self._group() or self._unrecorded()
        for process in left:
            self._gateway.kill(process.pid, signal.SIGKILL)
        while {*left} & {*self._gateway.processes()}:  # the kernel takes a moment
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._record.unlink(missing_ok=True)
        self._pid.unlink(missing_ok=True)

    def _is_copied(self, start: Start) -> bool:
        theirs = Path(start.folder) / self._record.name
        return bool(start.folder) and theirs.exists() and not theirs.samefile(self._record)

    def _unrecorded(self) -> list[Process]:
        """Return the group of one that was started by an `inv` killed before it wrote so down."""
        try:
            pid = int(self._pid.read_text())
        except (OSError, ValueError):
            return []
        if self._record.exists():
            return []
        # The PID may be another's by now: ours was told where to listen.
        args = self._gateway.ask(["ps", "-ww", "-o", "args=", "-p", str(pid)]).out
        ours = [p for p in self._gateway.processes() if p.group == pid]
        return ours if " --bind 127.0.0.1:" in args else []

    def _group(self) -> list[Process]:
        """Return what lives of its group; none when a leader of the same number is another."""
        start = self.last()
        group = [p for p in self._gateway.processes() if start and p.group == start.pid]
        leaders = [process for process in group if process.pid == process.group]
        return group if start and all(_is(leader, start) for leader in leaders) else []


def _is(process: Process, start: Start) -> bool:
    return (process.pid, process.since) == (start.pid, start.since)
