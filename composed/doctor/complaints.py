"""What a running stack complains of, in the words of a log."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from composed.contract import HEALTH_CHECK, PENDING, UNKNOWN
from composed.data.migrations import few, unapplied
from composed.health.readiness import named, settled, status
from composed.stack import Stack

__all__ = ["complaints"]


def complaints(stack: Stack, url: str) -> Iterator[str]:
    """Yield what is wrong with the backend at ``url``.

    That it does not load; migrations that are pending or unknown to its files, asked of
    Django where it has no ``/readyz``; that it refuses the URL itself, as a browser asks.
    """
    path = stack.project.ready
    code, body = settled(f"{url}{path}") if path else (0, "")
    if code == HTTPStatus.INTERNAL_SERVER_ERROR:
        yield f"{HEALTH_CHECK}{code}\n{body}"
        return
    pending = named(body, PENDING)
    if pending := unapplied(stack) if pending is None else pending:
        yield f"Pending migrations: {few(pending)}"
    if unknown := named(body, UNKNOWN):
        yield f"Migrations that only the database has: {few(unknown)}"
    if status(f"{url}/") == HTTPStatus.BAD_REQUEST:
        yield f"Invalid HTTP_HOST header: {urlsplit(url).hostname!r}"
