"""Whether the TCP ports that the stack is about to publish are free, and which are."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = [
    "ANYWHERE",
    "Published",
    "free_port",
    "in_the_way",
    "is_taken",
    "next_free",
]

LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"
ANYWHERE, ANYWHERE_6 = "0.0.0.0", "::"  # noqa: S104  # compared with, never bound to listen


class Published(NamedTuple):
    """A port of a service and where on this machine it is published."""

    service: str
    host: str
    port: int


def in_the_way(wanted: Iterable[Published]) -> list[Published]:
    """Return the ports that are taken, on IPv6's ``localhost`` too.

    A browser asks ``localhost`` on IPv6 first, and would meet the other there.
    """
    return [at for at in wanted if is_taken(at.host, at.port) or _is_shadowed(at)]


def _is_shadowed(at: Published) -> bool:
    return at.host == LOOPBACK and is_taken(LOOPBACK_6, at.port)


def is_taken(host: str, port: int) -> bool:
    """Say whether something listens on the port; 0.0.0.0 stands for ``::`` too, as in Compose."""
    hosts = (ANYWHERE, ANYWHERE_6) if host == ANYWHERE else (host,)
    return any(_is_bound(host, port) for host in hosts)


def _is_bound(host: str, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:  # a port below 1024 is the engine's to bind; IPv6 may be missing
        return error.errno == errno.EADDRINUSE
    return False


def next_free(host: str, port: int, avoid: Collection[int] = ()) -> int:
    """Return the first port after this one that is free and not to be avoided, or any free one."""
    for candidate in range(port + 1, 65536):
        if candidate not in avoid and not in_the_way([Published("", host, candidate)]):
            return candidate
    return free_port(host)


def free_port(host: str) -> int:
    """Return a port that nothing listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
