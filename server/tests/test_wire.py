"""Requests as bytes on the wire: framing, hostile characters, writers at the same time."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, environment, gunicorn, manage, raw, started

LIMIT = 256 * 1024
TASK = b'{"title": "a"}'
HEAD = b"POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wire") / "log"


@pytest.fixture(scope="module")
def port(log: Path, django_db_setup: None, django_db_blocker: Any) -> Iterator[int]:
    """Serve the application on the database of the tests; all that is printed goes to the log."""
    changes = {"DEBUG": "false", "HTTPS_ONLY": "false", "ALLOWED_HOSTS": "localhost,127.0.0.1"}
    with django_db_blocker.unblock():
        env = environment(log.parent, FORWARDED_ALLOW_IPS="127.0.0.1", **changes)
    files = ("--access-logfile", str(log), "--error-logfile", str(log), "--capture-output")
    ok(manage("migrate", env=env))
    with started(gunicorn(*files, "task_api.wsgi:application"), env) as (_, port):
        yield port
    ok(manage("flush", "--no-input", env=env))


def ok(process: "subprocess.Popen[str]") -> None:
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output + errors


@pytest.fixture
def logged(port: int, log: Path) -> Callable[[], str]:
    """Return the log since now; a request is logged before its connection closes."""
    start = log.stat().st_size

    def read() -> str:
        return log.read_bytes()[start:].decode()

    return read


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def post(port: int, *lines: bytes, body: bytes) -> tuple[int, bytes]:
    head = HEAD + b"".join(line + b"\r\n" for line in lines)
    return raw(port, head + JSON + b"\r\n" + body)


# -- Bodies -------------------------------------------------------------------------------


def test_a_chunked_body_is_read_to_the_limit(port: int) -> None:
    def send(*pieces: bytes) -> int:
        return post(port, b"Transfer-Encoding: chunked", body=chunked(*pieces))[0]

    assert send(TASK) == 201
    assert send(*(TASK[number : number + 1] for number in range(len(TASK)))) == 201
    assert send(TASK, b" " * (LIMIT - len(TASK))) == 201
    assert send(TASK, b" " * (LIMIT - len(TASK) + 1)) == 413
    assert send(*[b" " * 65_536] * 160) == 413
    assert send() == 422


@pytest.mark.parametrize("broken", [b"x\r\n", b"-1\r\n", b"5\r\nabcdefg\r\n0\r\n\r\n"])
def test_a_broken_chunk_is_a_400(port: int, broken: bytes) -> None:
    assert post(port, b"Transfer-Encoding: chunked", body=broken)[0] == 400


def test_a_request_after_a_chunked_body_is_answered(port: int) -> None:
    first = HEAD.replace(b"close", b"keep-alive") + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    second = b"GET /api/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    _, answer = raw(port, first + chunked(TASK) + second)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"201", b"404"]


def test_a_body_over_the_limit_is_refused_by_its_length(port: int) -> None:
    body = b'{"title": "%s"}' % (b"x" * 10_000_000)

    status, answer = post(port, b"Content-Length: %d" % len(body), body=body)

    assert status == 413
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("length", "status"), [(b"5", 400), (b"-5", 400), (b"5x", 400), (b"", 400), (b"0", 422)]
)
def test_a_length_that_lies_is_refused(port: int, length: bytes, status: int) -> None:
    assert post(port, b"Content-Length: " + length, body=TASK)[0] == status


def test_two_framings_are_refused(port: int) -> None:
    lines = (b"Content-Length: 14", b"Transfer-Encoding: chunked")

    assert post(port, *lines, body=chunked(TASK))[0] == 400


def test_a_compressed_chunked_body_is_refused(port: int) -> None:
    lines = (b"Transfer-Encoding: chunked", b"Content-Encoding: gzip")

    assert post(port, *lines, body=chunked(TASK))[0] == 415


# -- Headers ------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [b"SCRIPT_NAME: /api", b"PATH_INFO: /admin/login/"])
def test_no_proxy_moves_the_application(port: int, header: bytes) -> None:
    request = b"GET /api/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n"

    status, answer = raw(port, request % header)

    assert status == 200
    assert b'"items":' in answer


# -- The log ------------------------------------------------------------------------------

HOSTILE = {
    "path": b"GET /api/tasks%0aFAKE%0d%1b[31m%c2%9b31m%e2%80%a8%7f HTTP/1.1",
    "raw path": b"GET /api/tasks\x1b[31m\x9b31m\xe2\x80\xa8 HTTP/1.1",
    "query": b"GET /api/tasks?a=%0aFAKE%1b[31m\x1b[31m\x9b31m HTTP/1.1",
    "page": b"GET /%0aFAKE%1b[31m%c2%9b31m%e2%80%a8 HTTP/1.1",
    "method": b"\x1b[31m /api/tasks HTTP/1.1",
    "raw path, C1": b"GET /api/tasks\x9b31m\xe2\x80\xa8 HTTP/1.1",
    "raw query, C1": b"GET /api/tasks?a=\x9b31m\xe2\x80\xa8 HTTP/1.1",
    "referer": b"GET /api/tasks HTTP/1.1\r\nReferer: \x1b[31m",
    "referer, C1": b"GET /api/tasks HTTP/1.1\r\nReferer: \x9b31m\xe2\x80\xa8",
    "agent": b"GET /api/tasks HTTP/1.1\r\nUser-Agent: \x1b[31m\x7f",
    "agent, C1": b"GET /api/tasks HTTP/1.1\r\nUser-Agent: \x9b31m\xe2\x80\xa8",
    "user": b"GET /api/tasks HTTP/1.1\r\nAuthorization: Basic G1szMW0KRkFLRTphCg==",
    "host": b"GET /api/tasks HTTP/1.1\r\nHost: \x1b[31m",
    "host, C1": b"GET /api/tasks HTTP/1.1\r\nHost: \x9b31m",
    "header name": b"GET /api/tasks HTTP/1.1\r\n\x1b[31m: x",
    "type": b"POST /api/tasks HTTP/1.1\r\nContent-Length: 1\r\nContent-Type: \x1b[31m",
}


@pytest.mark.parametrize("start", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_request_can_steer_a_terminal_or_forge_a_line(
    port: int, logged: Callable[[], str], start: bytes
) -> None:
    host = b"" if b"Host" in start else b"Host: localhost\r\n"

    raw(port, start + b"\r\n" + host + b"Connection: close\r\n\r\nx")

    lines = logged().splitlines()  # at every line end that Unicode knows
    assert lines
    assert not [line for line in lines if not line.isprintable() or line.startswith("FAKE")]


def test_a_refused_request_is_a_line_in_the_log(port: int, logged: Callable[[], str]) -> None:
    refused = {
        b"GET /api/nothing HTTP/1.1\r\nHost: localhost": 404,
        b"GET /api/tasks HTTP/1.1\r\nHost: elsewhere": 400,
        b"GET / HTTP/1.1\r\nHost: elsewhere": 400,
        b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0": 403,
        b"GET /api/tasks?%s HTTP/1.1\r\nHost: localhost" % (b"a&" * 1_500): 400,
    }

    for request, status in refused.items():
        assert raw(port, request + b"\r\nConnection: close\r\n\r\n")[0] == status

    assert "Traceback" not in (log := logged())
    # the access log's line, and at most another with the reason
    assert len(log.splitlines()) <= 2 * len(refused)


@pytest.mark.parametrize("path", [b"/api/tasks%s", b"/admin/login/%s", b"/%s"])
def test_a_request_refused_for_want_of_a_database_is_a_line(
    tmp_path: Path, django_db_setup: None, path: bytes
) -> None:
    log = tmp_path / "log"
    nowhere = {"SQLITE_PATH": f"{tmp_path}/none/db", "POSTGRES_PORT": "1"}
    env = os.environ | {"DEBUG": "true", "WEB_CONCURRENCY": "1"} | nowhere
    files = ("--access-logfile", os.devnull, "--error-logfile", str(log), "--capture-output")
    request = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with started(gunicorn(*files, "task_api.wsgi:application"), env) as (_, port):
        start = log.stat().st_size
        status, answer = raw(port, request % (path % b"%0aFAKE%0d%1b[31m%c2%9b31m%e2%80%a8"))
        lines = log.read_bytes()[start:].decode().splitlines()
        probes = [raw(port, request % probe) for probe in (b"/healthz", b"/readyz")]

    assert status == 503
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert r"\nFAKE\r\x1b[31m\x9b31m\u2028 refused: " in lines[0]
    for code, text in [(status, answer), *probes]:
        assert (code, b"\r\nRetry-After: " in text) == (503, True)
        assert not re.search(rb"none/db|unable|connection|127\.0\.0\.1|refused", text)


# -- Writers ------------------------------------------------------------------------------


def test_a_change_is_answered_with_its_own_values(port: int) -> None:
    path = f"/api/tasks/{json.loads(post_task(port))['id']}"

    def change(writer: int) -> list[tuple[str, str]]:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        seen = []
        for number in range(40):
            title = f"{writer} {number}"
            body, headers = json.dumps({"title": title}), {"Content-Type": "application/json"}
            connection.request("PATCH", path, body, headers)
            seen.append((title, json.load(connection.getresponse())["title"]))
        connection.close()
        return seen

    with ThreadPoolExecutor(8) as writers:
        pairs = [pair for seen in writers.map(change, range(8)) for pair in seen]

    assert len(pairs) == 320
    assert [pair for pair in pairs if pair[0] != pair[1]] == []


def post_task(port: int) -> bytes:
    _, answer = post(port, b"Content-Length: %d" % len(TASK), body=TASK)
    return answer.partition(b"\r\n\r\n")[2]
