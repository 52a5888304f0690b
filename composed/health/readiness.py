"""Asks a running backend over HTTP."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

__all__ = ["answer", "named", "settled", "status"]

SECONDS = 5.0
SECONDS_TO_RELOAD = 1.5  # a correction saved a moment ago is not served yet


def status(url: str) -> int:
    """Return the status that the URL answers with; 0 when it does not answer."""
    return answer(url)[0]


def settled(url: str) -> tuple[int, str]:
    """Return :func:`answer`; a 500 has to last for as long as a reload takes."""
    end = time.monotonic() + SECONDS_TO_RELOAD
    while (found := answer(url))[0] == HTTPStatus.INTERNAL_SERVER_ERROR and time.monotonic() < end:
        time.sleep(0.1)
    return found


def answer(url: str) -> tuple[int, str]:
    """Return the status and the text that the URL answers with; 0 when it does not answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        connection.request("GET", parts.path)
        found = connection.getresponse()
        return found.status, found.read().decode(errors="replace")
    except (OSError, HTTPException):
        return 0, ""
    finally:
        connection.close()


def named(body: str, key: str) -> list[str] | None:
    """Return the names under a key of a JSON text, as our server's ``/readyz`` has them.

    None when it says nothing of them.
    """
    try:
        found = json.loads(body)
    except ValueError:
        return None
    names = found.get(key) if isinstance(found, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else None
