"""The answers of a running backend to the health and ready paths."""

from __future__ import annotations

import json
import time
from http import HTTPStatus

from composed.gateway import Gateway

__all__ = ["names_in", "settled"]

SECONDS_TO_RELOAD = 1.5  # a correction saved a moment ago is not served yet
SECONDS_BETWEEN_LOOKS = 0.1


def settled(gateway: Gateway, url: str) -> tuple[int, str]:
    """Return status and text of the answer; a 500 has to last as long as a reload takes."""
    end = time.monotonic() + SECONDS_TO_RELOAD
    answer = gateway.fetch(url)
    while answer[0] == HTTPStatus.INTERNAL_SERVER_ERROR and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        answer = gateway.fetch(url)
    return answer


def names_in(body: str, key: str) -> list[str] | None:
    """Return the names under a key of the server's ``/readyz``; None for another text."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    names = answer.get(key) if isinstance(answer, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else None
