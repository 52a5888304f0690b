"""Start the real programs beside a test, on the database of the test."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from django.db import connection

SERVER = Path(__file__).resolve().parent.parent
PATIENCE = 30  # seconds until a test gives up; far more than any test needs


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return variables for a process: the test's PostgreSQL database, or a new SQLite file."""
    if connection.vendor == "postgresql":
        changes |= {"POSTGRES_DB": str(connection.settings_dict["NAME"])}
    else:
        changes |= {"SQLITE_PATH": f"{folder}/test.sqlite3"}
    return os.environ | {"WEB_CONCURRENCY": "2", "DEBUG": "true"} | changes


def manage(*command: str, env: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a management command."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *command],
        cwd=SERVER,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gunicorn(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gunicorn", *arguments]


@contextmanager
def started(
    command: list[str], env: dict[str, str], folder: Path = SERVER
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a server until the end of the block; yield the process and the port."""
    port = free_port()
    process = subprocess.Popen(command, cwd=folder, env=env | {"PORT": str(port)})
    try:
        wait_for(lambda: accepts(port))
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def accepts(port: int) -> bool:
    try:
        return get(port, "/healthz")[0] > 0
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not true after {PATIENCE} s"
        time.sleep(0.02)


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Send a request on a new connection; return status and text."""
    client = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        client.request("GET", path, headers=headers or {})
        response = client.getresponse()
        return response.status, response.read().decode()
    finally:
        client.close()


def raw(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are; return status and the rest of the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1]), answer
