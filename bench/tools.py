"""Run a command, time an action, send a request, find a free port."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

__all__ = [
    "alternate",
    "connection",
    "cpu",
    "fetch",
    "free_port",
    "peak_memory",
    "run",
    "until",
    "wall",
]

Environment = dict[str, str]


def run(argv: list[str], folder: Path | None = None, env: Environment | None = None) -> str:
    """Run a command and return stdout; raise RuntimeError with the last lines of a failure."""
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()[-8:]
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: " + "\n".join(lines))
    return done.stdout


def wall(action: Callable[[], object]) -> float:
    """Return the seconds that the action takes on the clock."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cpu(action: Callable[[], object]) -> float:
    """Return the CPU milliseconds of all processes that the action ran and waited for."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start = used()
    action()
    return (used() - start) * 1000


PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(code)
"""


def peak_memory(argv: list[str], folder: Path, env: Environment) -> float:
    """Return the MiB of the command's largest process; a fresh process measures."""
    return float(run([sys.executable, "-c", PEAK, *argv], folder, env))


def alternate(times: int, *actions: Callable[[], float]) -> list[list[float]]:
    """Run the actions in turns, so that a slow minute of the machine falls on all alike."""
    samples: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, taken in zip(actions, samples, strict=True):
            taken.append(action())
    return samples


def until(done: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Poll the condition; return False after the given seconds."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


@contextmanager
def connection(port: int) -> Iterator[HTTPConnection]:
    """Yield a client that keeps a connection alive, or reconnects if the server closes."""
    client = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        yield client
    finally:
        client.close()


def fetch(port: int, path: str, body: str | None = None) -> tuple[int, str]:
    """GET, or POST a JSON body, on a new connection; return status (0: no answer) and text."""
    method, headers = ("POST", {"Content-Type": "application/json"}) if body else ("GET", {})
    with connection(port) as client:
        try:
            client.request(method, path, body, headers)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, HTTPException):
            return 0, ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
