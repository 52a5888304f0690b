"""Ports for tests, out of the range from which engine and kernel choose by themselves."""

from __future__ import annotations

import random
import socket

# Below the ephemeral ports of Linux: /proc/sys/net/ipv4/ip_local_port_range.
RANGE = range(15_000, 32_000)


def free_port() -> int:
    """Return a port on which no process listens."""
    while True:
        port = random.choice(RANGE)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
