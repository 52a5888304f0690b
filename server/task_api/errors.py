"""The shape of every error under /api, wherever the error arises: RFC 9457."""

from collections.abc import Callable, Sequence
from http import HTTPStatus

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from task_api.schemas import Flaw, Problem

__all__ = ["PROBLEM_TYPE", "ProblemMiddleware", "is_api", "nothing", "problem"]

PROBLEM_TYPE = "application/problem+json"


def is_api(request: HttpRequest) -> bool:
    """Tell whether the caller of this path expects JSON."""
    return request.path_info.startswith("/api/") or request.path_info == "/api"


def problem(status: int, detail: str, errors: Sequence[Flaw] = ()) -> HttpResponse:
    """Build an error response; ``errors`` name the wrong fields of a request."""
    title = HTTPStatus(status).phrase
    body = Problem(title=title, status=status, detail=detail, errors=list(errors))
    return HttpResponse(body.model_dump_json(), status=status, content_type=PROBLEM_TYPE)


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    """Answer a path that stands for nothing, whatever the method."""
    raise Http404


class ProblemMiddleware:
    """Under /api, answer HEAD and OPTIONS as HTTP says, and give every error the one shape."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_api(request):
            return self._get_response(request)
        method = request.method
        if method == "HEAD":
            request.method = "GET"  # the body is left out by Gunicorn
        response = self._get_response(request)
        request.method = method
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response["Allow"] = _allowed(response["Allow"])
            if method == "OPTIONS":
                return HttpResponse(status=204, headers={"Allow": response["Allow"]})
        if response.status_code >= 400 and response["Content-Type"] != PROBLEM_TYPE:
            # The response stays: its headers tell of the security of the answer.
            response.content = problem(response.status_code, _detail(request, response)).content
            response["Content-Type"] = PROBLEM_TYPE
            response["Content-Length"] = str(len(response.content))
        return response


def _allowed(methods: str) -> str:
    """Add the methods that the middleware itself answers."""
    known = set(methods.split(", "))
    return ", ".join(sorted(known | {"OPTIONS"} | ({"HEAD"} if "GET" in known else set())))


def _detail(request: HttpRequest, response: HttpResponse) -> str:
    return {
        400: "The request is malformed, or its Host is none of ALLOWED_HOSTS.",
        404: f"There is nothing at {request.path}.",
        405: f"{request.method} is not allowed here.",
    }.get(response.status_code, f"{response.reason_phrase}.")
