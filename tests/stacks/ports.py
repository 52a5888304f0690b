"""Ports for tests, out of the range from which engine and kernel choose by themselves."""

from __future__ import annotations

import random
import socket

# Below the ephemeral ports of Linux: /proc/sys/net/ipv4/ip_local_port_range.
RANGE = range(15_000, 32_000)


def free_port() -> int:
    """Return a port on which no process listens."""
    with listen_anywhere() as listener:
        return port_of(listener)


def listen_anywhere() -> socket.socket:
    """Listen on a free port."""
    while True:
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", random.choice(RANGE)))
        except OSError:  # taken
            listener.close()
        else:
            listener.listen()
            return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
