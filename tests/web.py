"""A plain HTTP client for tests: a connection for each request; no redirect is followed."""

import json
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    """Status, headers (lower case) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


def request(
    url: str,
    method: str = "GET",
    data: object = None,
    *,
    headers: dict[str, str] | None = None,
    timeout: float = 30,
) -> Reply:
    """Send ``data``: bytes unchanged, another object as JSON."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    body = data if isinstance(data, bytes | None) else json.dumps(data).encode()
    given = {"Content-Type": "application/json"} if body is not None else {}
    connection = HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request(method, path or "/", body, given | (headers or {}))
        answer = connection.getresponse()
        lower = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, lower, answer.read())
    finally:
        connection.close()
