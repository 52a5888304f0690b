"""The port of the server: of a setting, else the one that ``inv`` chose before."""

from collections.abc import Collection
from contextlib import suppress

from composed import files
from composed.env.settings import Settings
from composed.stack import Stack

FILE = "port"  # in the folder of the stack, where `.env` belongs to the project


def wanted(stack: Stack, settings: Settings) -> int:
    """Return the port that the server is to have; 0 is any free one."""
    name = stack.project.backend_port
    is_set = stack.project.owns_env or settings.values.get(name)
    return (0 if is_set else _kept(stack)) or int(settings[name])


def keep(stack: Stack, ports: Collection[int]) -> str:
    """Keep the chosen port for the next start; return the place, as in "kept in FILE"."""
    file = stack.folder / FILE
    for port in ports:
        stack.gateway.write(file, f"{port}\n")
    return f"in {stack.project.relative(file)}"


def _kept(stack: Stack) -> int:
    """Return the port that was chosen before; 0 for none, and for a file that says no port."""
    with suppress(OSError, ValueError):
        port = int(files.text(stack.folder / FILE))
        return port if 0 < port < 1 << 16 else 0
    return 0
