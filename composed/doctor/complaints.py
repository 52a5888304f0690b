"""The faults that a running backend reports."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from composed.contract import PENDING, UNKNOWN
from composed.data.migrations import few, unapplied
from composed.health.explanations import (
    PENDING_MIGRATIONS,
    REFUSED_HOST,
    UNKNOWN_MIGRATIONS,
    Explanation,
)
from composed.health.readiness import names_in, settled
from composed.stack import Stack

__all__ = ["complaints"]


def complaints(stack: Stack, url: str) -> Iterator[Explanation]:
    """Yield the faults of the backend at ``url``; an application that does not load has one.

    Migrations can be pending, or unknown to the project's files; Django is asked for the
    pending where the project has no ``ready`` path. The backend can refuse the host name of
    the URL, as a browser would send it.
    """
    project, path = stack.project, stack.project.ready
    code, body = settled(stack.gateway, f"{url}{path}") if path else (0, "")
    if code == HTTPStatus.INTERNAL_SERVER_ERROR:
        end = body.strip().rpartition("\n")[2]
        unknown_cause = Explanation(f"{url}{path} answers {code}: {end}", "inv logs", fatal=True)
        yield stack.explain(body, loading=True) or unknown_cause
        return
    pending = names_in(body, PENDING)
    if pending := unapplied(stack) if pending is None else pending:
        yield PENDING_MIGRATIONS.explain(project, {"names": f": {few(pending)}"})
    if unknown := names_in(body, UNKNOWN):
        words = {"names": few(unknown), "name": unknown[0].rpartition(".")[2]}
        yield UNKNOWN_MIGRATIONS.explain(project, words)
    if stack.gateway.fetch(f"{url}/")[0] == HTTPStatus.BAD_REQUEST:
        yield REFUSED_HOST.explain(project, {"host": str(urlsplit(url).hostname)})
