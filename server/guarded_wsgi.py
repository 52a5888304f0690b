"""The WSGI application in development: an import error becomes an answer, not an exit."""

import logging
import os
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["application"]


def load() -> "WSGIApplication":
    """Return the application; after a failed import, an application that shows the traceback."""
    try:
        from task_api.wsgi import application  # noqa: PLC0415
    except (Exception, SystemExit):
        text = traceback.format_exc()
        logging.getLogger("gunicorn.error").exception("The application does not load")
        return failing(text)
    return application


def failing(text: str) -> "WSGIApplication":
    """Return an application that answers every request with 500 and the text."""
    body = text.encode(errors="backslashreplace")

    def answer(_: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ]
        start_response("500 Internal Server Error", headers)
        return [body]

    return answer


def report_to_supervisor() -> None:
    """Report to reload.py that this worker has loaded and may be reloaded."""
    if descriptor := os.environ.get("RELOAD_LOADED_FD"):
        os.write(int(descriptor), b".")


application = load()
report_to_supervisor()
