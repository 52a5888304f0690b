"""How a stack is shown: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from composed.stack import Service, Stack
from composed.table import table

__all__ = ["as_json", "as_table"]

HEADINGS = ("SERVICE", "STATE", "HEALTH", "ADDRESS", "AGE")


def as_table(stack: Stack, services: Sequence[Service]) -> str:
    """Return a line on the stack and a row for each service."""
    title = f"{stack.name} ({stack.mode} mode)"
    if not services:
        return f"{title}: nothing runs. Start it: inv up"
    return "\n".join([title, table([HEADINGS, *map(_row, services)])])


def as_json(stack: Stack, services: Sequence[Service]) -> str:
    """Return the same as one JSON object."""
    rows = [service.as_json() for service in services]
    return json.dumps({"project": stack.name, "mode": stack.mode, "services": rows}, indent=2)


def _row(service: Service) -> tuple[str, ...]:
    address = service.url or ", ".join(service.ports.values())
    return (service.service, service.state, service.health or "-", address or "-", service.age)
