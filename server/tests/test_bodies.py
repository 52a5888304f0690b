"""Chunked bodies, as a view reads them."""

from io import BytesIO

import pytest
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from gunicorn.http.errors import InvalidChunkSize  # type: ignore[import-untyped]
from task_api.bodies import ChunkedBodyMiddleware

FORM = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'


def chunked(stream: object, content_type: str) -> HttpRequest:
    """Return a request as Gunicorn makes it: without a length, with a stream that ends."""
    request = RequestFactory().generic("POST", "/", CONTENT_TYPE=content_type)
    request.META |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": stream}
    ChunkedBodyMiddleware(lambda _: HttpResponse())(request)
    return request


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"a=1", "application/x-www-form-urlencoded"), (FORM, "multipart/form-data; boundary=x")],
)
def test_a_form_is_read(body: bytes, content_type: str) -> None:
    assert chunked(BytesIO(body), content_type).POST.dict() == {"a": "1"}


@pytest.mark.parametrize("error", [InvalidChunkSize(b"x"), OSError("the client is gone")])
def test_a_stream_that_breaks_off_is_a_bad_request(error: Exception) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise error

    with pytest.raises(BadRequest):
        chunked(Broken(), "application/json")
