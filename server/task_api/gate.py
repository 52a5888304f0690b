"""Answer 503 while the database lacks migrations or does not answer, instead of a 500."""

import logging
from collections.abc import Callable

from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from task_api.errors import is_api, problem
from task_api.migration_state import migration_state

__all__ = ["RETRY_AFTER", "DatabaseGateMiddleware"]

RETRY_AFTER = "5"  # seconds: a database starts, a migration ends

_log = logging.getLogger(__name__)
_QUERY_CANCELED = "57014"  # https://www.postgresql.org/docs/15/errcodes-appendix.html


class DatabaseGateMiddleware:
    """Pass requests on once no migration is pending; ask again after a database error."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._open = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refusal = None if self._open else self._refusal(request)
        return refusal or self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a view's database error; an error about data is our mistake and stays a 500."""
        if not isinstance(error, Error) or isinstance(error, DataError | IntegrityError):
            return None
        refusal = self._refusal(request)
        if refusal is None and isinstance(error, OperationalError | InterfaceError):
            refusal = _unavailable(request, error)
        return refusal

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        self._open = False
        try:
            pending = migration_state().pending
        except (OperationalError, InterfaceError) as error:
            return _unavailable(request, error)
        self._open = not pending
        if self._open:
            return None
        few = f"{len(pending)} pending, first {pending[0]}"
        return _refuse(request, f"The database lacks migrations ({few}): run inv migrate.")


def _unavailable(request: HttpRequest, error: Error) -> HttpResponse:
    # The error's words name hosts and users: they are for the log alone.
    _log.error("%s %s refused: %s", request.method, request.path, str(error).strip())
    if getattr(error.__cause__, "pgcode", None) == _QUERY_CANCELED:
        return _refuse(request, "The database took too long (see STATEMENT_TIMEOUT).")
    return _refuse(request, "The database does not answer or is busy: try again.")


def _refuse(request: HttpRequest, message: str) -> HttpResponse:
    if is_api(request):
        response = problem(503, message)
    else:
        page = "task_api/unavailable.html"
        response = render(request, page, {"message": message}, status=503)
    response["Retry-After"] = RETRY_AFTER
    return response
