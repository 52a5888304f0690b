"""The TCP ports that a stack publishes: taken or free."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from composed.gateway import Gateway
from composed.machine import free_port

LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"
ANYWHERE, ANYWHERE_6 = "0.0.0.0", "::"  # noqa: S104  # compared with, never bound to listen


def url_of(address: str, hosts: Collection[str] = ()) -> str:
    """Return the URL of a published port for a browser on this machine.

    The URL has a name that Django takes: ``hosts`` are those of ALLOWED_HOSTS, if known.
    """
    host, _, port = address.rpartition(":")
    if "localhost" in hosts and not {LOOPBACK, "*"} & {*hosts}:
        return f"http://localhost:{port}"
    host = {ANYWHERE: LOOPBACK, ANYWHERE_6: LOOPBACK_6}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Published(NamedTuple):
    """A port of a service, with the address on this machine where it is published."""

    service: str
    host: str
    port: int


def in_the_way(gateway: Gateway, wanted: Iterable[Published]) -> list[Published]:
    """Return the ports that are taken, on IPv6's ``localhost`` too.

    A browser asks ``localhost`` on IPv6 first, and would meet another server there.
    """
    return [
        port
        for port in wanted
        if is_taken(gateway, port.host, port.port)
        or (port.host == LOOPBACK and is_taken(gateway, LOOPBACK_6, port.port))
    ]


def is_taken(gateway: Gateway, host: str, port: int) -> bool:
    """Return whether the port is taken; 0.0.0.0 stands for ``::`` too, as in Compose."""
    hosts = (ANYWHERE, ANYWHERE_6) if host == ANYWHERE else (host,)
    return any(gateway.is_bound(host, port) for host in hosts)


def next_free(gateway: Gateway, host: str, port: int, avoid: Collection[int] = ()) -> int:
    """Return the next port that is free and not in ``avoid``, else any free port."""
    for candidate in range(port + 1, 65536):
        if candidate not in avoid and not in_the_way(gateway, [Published("", host, candidate)]):
            return candidate
    return free_port(host)
