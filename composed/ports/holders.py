"""Who listens on a TCP port: a process, or the container it forwards to."""

from __future__ import annotations

import contextlib
import pwd

from composed.gateway import Gateway
from composed.sockets import owners

__all__ = ["holder"]

# Processes that hold a port for a container, which says more than they do.
FORWARDERS = ("docker", "com.docke", "rootlesskit", "slirp4netns", "vpnkit", "OrbStack", "limactl")

_COLUMNS = '{{.Names}}\t{{.Label "com.docker.compose.project"}}'


def holder(gateway: Gateway, port: int) -> str:
    """Return in words who listens on the port; "" where the system does not tell."""
    process = next(iter(sorted(gateway.listeners(port).items())), None)
    if process and not process[1].startswith(FORWARDERS):
        return f"{process[1]} (PID {process[0]})"
    return _container(gateway, port) or _owner(port)


def _container(gateway: Gateway, port: int) -> str:
    answer = gateway.ask(["docker", "ps", "--filter", f"publish={port}", "--format", _COLUMNS])
    if answer.code or not answer.out.strip():
        return ""
    name, _, project = answer.out.splitlines()[0].partition("\t")
    return f"container {name}" + (f" of Compose project {project}" if project else "")


def _owner(port: int) -> str:
    for uid in owners(port).values():
        with contextlib.suppress(KeyError):
            return f"a process of {pwd.getpwuid(uid).pw_name}"
    return ""
