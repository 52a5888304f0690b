"""Two probes: does the process answer, is the stack ready."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from task_api.gate import RETRY_AFTER
from task_api.migration_state import migration_state
from task_api.quiet import PROBES

__all__ = ["ProbeMiddleware"]

_log = logging.getLogger(__name__)


def healthz() -> HttpResponse:
    """Answer 200 if this process and the database work."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return _failed("healthy", error)
    return JsonResponse({"healthy": True})


def readyz() -> HttpResponse:
    """Answer 200 if the database works and no migration is pending."""
    try:
        state = migration_state()
    except Error as error:
        return _failed("ready", error)
    ready = not state.pending
    body = {"ready": ready, "pending": state.pending, "unknown": state.unknown}
    return JsonResponse(body) if ready else _not_now(body)


def _failed(name: str, error: Error) -> HttpResponse:
    """Log the error's words, and leave them out of the answer: they name hosts and users."""
    _log.error("The database does not answer: %s", str(error).strip())
    return _not_now({name: False})


def _not_now(body: dict[str, Any]) -> HttpResponse:
    return JsonResponse(body, status=503, headers={"Retry-After": RETRY_AFTER})


_PROBES = dict(zip(PROBES, (healthz, readyz), strict=True))


class ProbeMiddleware:
    """Answer the probes before another middleware can redirect or refuse a request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = _PROBES.get(request.path_info)
        return probe() if probe else self._get_response(request)
