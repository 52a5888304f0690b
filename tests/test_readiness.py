"""What a running backend says of its migrations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from composed.gateway import Gateway
from composed.health.waiting import names_in

GATEWAY = Gateway(Path())

Serve = Callable[[int, bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one answer at every path; return the URL."""
    servers = []

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "pending"),
    [
        (503, b'{"ready": false, "pending": ["a.0001"]}', ["a.0001"]),
        (200, b'{"ready": true, "pending": []}', []),
        (503, b'{"ready": false, "error": "x"}', None),
        (200, b"<html>", None),
        (200, b"[]", None),
    ],
)
def test_the_body_names_what_is_pending(
    status: int, body: bytes, pending: list[str] | None, serve: Serve
) -> None:
    code, text = GATEWAY.fetch(serve(status, body))

    assert code == status
    assert names_in(text, "pending") == pending


def test_a_backend_that_does_not_answer_says_nothing(serve: Serve) -> None:
    assert GATEWAY.fetch("http://127.0.0.1:1") == (0, "")
