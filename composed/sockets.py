"""TCP ports of this machine: which are taken, and which processes listen on them."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PROC", "free_port", "from_lsof", "from_proc", "is_bound", "owners"]

PROC = Path("/proc")
LISTENING = "0A"  # state of a socket in /proc/net/tcp: include/net/tcp_states.h


def is_bound(host: str, port: int) -> bool:
    """Return whether another socket has the port at this address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:  # a port below 1024 is the engine's to bind; IPv6 may be missing
        return error.errno == errno.EADDRINUSE
    return False


def free_port(host: str) -> int:
    """Return a port that is free now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def from_proc(port: int) -> dict[int, str]:
    """Return PID and name of each visible process that listens on the port, from ``/proc``."""
    return dict(_listeners({f"socket:[{inode}]" for inode in owners(port)}))


def _listeners(sockets: set[str]) -> Iterator[tuple[int, str]]:
    for process in PROC.glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):  # another user's process, or an ended process
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                yield int(process.name), (process / "comm").read_text().strip()


def owners(port: int) -> dict[str, int]:
    """Return the owner's uid of each socket that listens on the port, by inode."""
    uids = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                    uids[inode] = int(line.split()[7])
    return uids


def from_lsof(text: str) -> dict[int, str]:
    """Return PID and name from ``lsof -F pc``: a line ``pPID``, then a line ``cNAME``."""
    names: dict[int, str] = {}
    pid = 0
    for line in text.splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line.startswith("c"):
            names[pid] = line[1:]
    return names
