"""The shape of every error under /api/, wherever the error arises."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

__all__ = [
    "MethodNotAllowedMiddleware",
    "bad_request",
    "is_api",
    "not_found",
    "problem",
    "server_error",
    "unknown_path",
]


def is_api(request: HttpRequest) -> bool:
    """Tell whether the caller of this path expects JSON."""
    return request.path_info.startswith("/api/") or request.path_info == "/api"


def problem(status: int, message: str, field: str | None = None) -> JsonResponse:
    """Build an error response with a single entry."""
    return JsonResponse({"detail": [{"field": field, "message": message}]}, status=status)


def unknown_path(request: HttpRequest, **_: str) -> HttpResponse:
    """Answer a request for a path under /api/ that no operation has."""
    return problem(404, f"There is nothing at {request.path}.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a 404 raised by a view (`handler404`)."""
    return unknown_path(request) if is_api(request) else defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself refuses, such as a wrong Host (`handler400`)."""
    if is_api(request):
        return problem(400, "Bad request.")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an unforeseen error (`handler500`); Django has logged the traceback."""
    if is_api(request):
        return problem(500, "Internal server error.")
    return defaults.server_error(request)


class MethodNotAllowedMiddleware:
    """Replace ninja's plain-text 405 by an error in the API's shape."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.status_code != 405 or not is_api(request):
            return response
        json = problem(405, f"{request.method} is not allowed here.")
        json["Allow"] = response["Allow"]
        return json
