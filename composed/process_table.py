"""The processes of this machine, from ``/proc`` or, on macOS, from ``ps``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["PROC", "PS", "Process", "from_proc", "from_ps"]

PROC = Path("/proc")
PS = ("ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart=")


class Process(NamedTuple):
    """A living process; ``since`` tells the process from a later process with the same PID."""

    pid: int
    parent: int
    group: int
    since: str


Row = tuple[int, int, int, str, str]


def from_proc() -> list[Process]:
    """Return every living process from ``/proc/PID/stat``."""
    rows = []
    for file in PROC.glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; proc(5) numbers the fields from there.
            _, _, rest = file.read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # the process has ended meanwhile
        fields = rest.split()
        state, parent, group = fields[:3]
        rows.append((int(file.parent.name), int(parent), int(group), state, fields[19]))
    return _alive(rows)


def from_ps(text: str) -> list[Process]:
    """Return every living process from the output of :data:`PS`."""
    lines = (line.split(maxsplit=4) for line in text.splitlines() if line.strip())
    return _alive([(int(p), int(up), int(g), state, since) for p, up, g, state, since in lines])


def _alive(rows: list[Row]) -> list[Process]:
    """Leave out processes that have ended and wait for their parent (Z, X)."""
    alive = (row for row in rows if row[3][0] not in "ZX")
    return [Process(pid, parent, group, since) for pid, parent, group, _, since in alive]
