"""Who listens on a TCP port: a process, or the container it forwards to."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Iterator
from pathlib import Path

from composed.process import Gateway

__all__ = ["holder", "listeners"]

PROC = Path("/proc")
LISTENING = "0A"  # state of a socket in /proc/net/tcp: include/net/tcp_states.h

# Processes that hold a port for a container, which says more than they do.
FORWARDERS = ("docker", "com.docke", "rootlesskit", "slirp4netns", "vpnkit", "OrbStack", "limactl")

_COLUMNS = '{{.Names}}\t{{.Label "com.docker.compose.project"}}'


def holder(gateway: Gateway, port: int) -> str:
    """Return in words who listens on the port; "" where the system does not tell."""
    process = next(iter(sorted(listeners(gateway, port).items())), None)
    if process and not process[1].startswith(FORWARDERS):
        return f"{process[1]} (PID {process[0]})"
    return _container(gateway, port) or _owner(port)


def listeners(gateway: Gateway, port: int) -> dict[int, str]:
    """Return the PID and name of each process that listens on the port and may be seen."""
    if (PROC / "net/tcp").exists():
        return dict(_from_proc(port))
    return _from_lsof(gateway.ask(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]).out)


def _from_proc(port: int) -> Iterator[tuple[int, str]]:
    sockets = {f"socket:[{inode}]" for inode in _sockets(port)}
    for process in PROC.glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):  # another user's, or ended while we looked
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                yield int(process.name), (process / "comm").read_text().strip()


def _sockets(port: int) -> dict[str, int]:
    """Return the inode of each socket that listens on the port, and its owner's uid."""
    found = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                    found[inode] = int(line.split()[7])
    return found


def _from_lsof(out: str) -> dict[int, str]:
    """Return what ``lsof -F pc`` prints: a line ``pPID``, a line ``cNAME``, and others."""
    found: dict[int, str] = {}
    pid = 0
    for line in out.splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line.startswith("c"):
            found[pid] = line[1:]
    return found


def _container(gateway: Gateway, port: int) -> str:
    answer = gateway.ask(["docker", "ps", "--filter", f"publish={port}", "--format", _COLUMNS])
    if answer.code or not answer.out.strip():
        return ""
    name, _, project = answer.out.splitlines()[0].partition("\t")
    return f"container {name}" + (f" of Compose project {project}" if project else "")


def _owner(port: int) -> str:
    for uid in _sockets(port).values():
        with contextlib.suppress(KeyError):
            return f"a process of {pwd.getpwuid(uid).pw_name}"
    return ""
