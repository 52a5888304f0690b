"""Request bodies that Django alone would not read, or would leave on the connection."""

from collections.abc import Callable
from io import BytesIO

from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest, HttpResponse
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

__all__ = ["ChunkedBodyMiddleware", "discard"]

_PIECE = 1 << 16  # bytes
_DISCARDED_AT_MOST = 1 << 26  # bytes, 64 MiB; a client that sends more is cut off


class ChunkedBodyMiddleware:
    """Read a chunked body for Django, which reads as many bytes as Content-Length says: none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "Transfer-Encoding" in request.headers:
            # One byte more than Django accepts, so that Django refuses a longer body.
            size = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
            try:
                body = request.META["wsgi.input"].read(size)
            except (OSError, ParseException) as error:
                raise BadRequest("A chunk of the body is broken") from error
            request._stream = BytesIO(body)
            request.META["CONTENT_LENGTH"] = str(len(body))
        return self._get_response(request)


def discard(request: HttpRequest) -> None:
    """Read the rest of the body: a client reads no answer before its whole body is sent."""
    chunked = "Transfer-Encoding" in request.headers
    length = _DISCARDED_AT_MOST if chunked else int(request.META["CONTENT_LENGTH"])
    body = LimitedStream(request.META["wsgi.input"], min(length, _DISCARDED_AT_MOST))
    while body.read(_PIECE):
        pass
