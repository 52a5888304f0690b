"""The processes and the TCP ports of this machine: ``/proc``; on macOS ``ps`` and ``lsof``."""

import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
PS = ("ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart=")
_ENDED = "ZX"  # states of ended processes that wait for their parent
_PIDFD_GETFD = 438  # the number of the system call, on every processor
_LISTENING = "0A"  # state of a socket in /proc/net/tcp: include/net/tcp_states.h


class Process(NamedTuple):
    """A living process; ``since`` tells the process from a later process with the same PID."""

    pid: int
    parent: int
    group: int
    since: str


def processes_from_proc() -> list[Process]:
    """Return every living process from ``/proc/PID/stat``."""
    processes = []
    for file in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            # The name in parentheses may hold anything; proc(5) numbers the fields from there.
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] not in _ENDED:
                pid, parent, group = int(file.parent.name), int(fields[1]), int(fields[2])
                processes.append(Process(pid, parent, group, fields[19]))
    return processes


def processes_from_ps(text: str) -> list[Process]:
    """Return every living process from the output of :data:`PS`."""
    rows = (line.split(maxsplit=4) for line in text.splitlines() if line.strip())
    return [
        Process(int(pid), int(parent), int(group), since)
        for pid, parent, group, state, since in rows
        if state[0] not in _ENDED
    ]


def listeners_from_proc(port: int) -> dict[int, str]:
    """Return PID and name of each visible process that listens on the port."""
    sockets = {f"socket:[{inode}]" for inode in owners(port)}
    return _having_open(lambda link: str(link.readlink()) in sockets) if sockets else {}


def listeners_from_lsof(text: str) -> dict[int, str]:
    """Return PID and name from ``lsof -F pc``: a line ``pPID``, then a line ``cNAME``."""
    return {int(pid): name for pid, name in re.findall(r"^p(\d+)\nc(.*)", text, re.MULTILINE)}


def users_of(file: Path) -> dict[int, str]:
    """Return PID and name of each visible process, other than this one, that has the file open."""
    wanted = file.stat()  # a container has the file under another name
    names = _having_open(lambda link: os.path.samestat(link.stat(), wanted))
    names.pop(os.getpid(), None)
    return names


def is_alive(pid: int) -> bool:
    """Return whether a process has the PID."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def lock_holders(file: Path) -> dict[int, str]:
    """Return PID and name of each visible process that holds the flock(2) of the file."""
    wanted = file.stat()

    def holds(link: Path) -> bool:
        info = link.parent.with_name("fdinfo") / link.name
        return os.path.samestat(link.stat(), wanted) and "FLOCK" in info.read_text()

    return _having_open(holds)


def _having_open(is_wanted: Callable[[Path], bool]) -> dict[int, str]:
    """Return PID and name of each visible process with such a descriptor, a link in ``/proc``.

    Where there is no ``/proc``, none is visible.
    """
    names = {}
    for link in _descriptors():
        with contextlib.suppress(OSError):  # another user's process, or an ended process
            if is_wanted(link):
                names[int(link.parts[-3])] = link.parent.with_name("comm").read_text().strip()
    return names


def _descriptors() -> Iterator[Path]:
    # Not one glob for all: that fails where a process ends meanwhile.
    for process in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield from [*(process / "fd").iterdir()]


def owners(port: int) -> dict[str, int]:
    """Return the owner's uid of each socket that listens on the port, by inode."""
    uids = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                    uids[inode] = int(line.split()[7])
    return uids


def is_bound(host: str, port: int) -> bool:
    """Return whether another socket has the port at this address."""
    try:
        with _socket(host) as probe:
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:  # a port below 1024 is the engine's to bind; IPv6 may be missing
        return error.errno == errno.EADDRINUSE
    return False


def free_port(host: str) -> int:
    """Return a free port that the kernel chooses."""
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def listening_socket(pids: Iterable[int], port: int) -> socket.socket | None:
    """Return the socket on which one of the processes listens, as a second owner.

    None where the kernel cannot do so (macOS), or forbids it (Yama's ptrace_scope).
    """
    links = {f"socket:[{inode}]" for inode in owners(port)}
    for pid in pids:
        with contextlib.suppress(OSError, AttributeError):
            for link in (PROC / str(pid) / "fd").iterdir():
                if str(link.readlink()) in links:
                    return _copied_socket(pid, int(link.name))
    return None


def _copied_socket(pid: int, descriptor: int) -> socket.socket:
    """Copy a socket of another process, with a system call that Python has no function for."""
    import ctypes  # noqa: PLC0415  # `inv ps` is quick

    process = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if copy < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=copy)


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
