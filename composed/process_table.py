"""Which processes there are, from ``/proc`` or, where there is none, from ``ps``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # it looks here for what gets its signals
    from composed.process import Gateway

__all__ = ["Process", "processes"]

PROC = Path("/proc")


class Process(NamedTuple):
    """A living process; ``since`` tells it from a later one that was given its PID."""

    pid: int
    parent: int
    group: int
    since: str


def processes(gateway: Gateway) -> list[Process]:
    """Return every living process; one that waits to be reaped is not alive."""
    rows = _from_proc() if (PROC / "self/stat").exists() else _from_ps(gateway)
    alive = (row for row in rows if row[3][0] not in "ZX")
    return [Process(pid, parent, group, since) for pid, parent, group, _, since in alive]


Row = tuple[int, int, int, str, str]


def _from_proc() -> list[Row]:
    rows = []
    for file in PROC.glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; proc(5) numbers the fields from there.
            _, _, rest = file.read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # ended while we looked
        fields = rest.split()
        state, parent, group = fields[:3]
        rows.append((int(file.parent.name), int(parent), int(group), state, fields[19]))
    return rows


def _from_ps(gateway: Gateway) -> list[Row]:
    out = gateway.ask(["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="]).out
    split = (line.split(maxsplit=4) for line in out.splitlines() if line.strip())
    return [(int(pid), int(up), int(group), state, since) for pid, up, group, state, since in split]
