"""Views for tests, /value and /slow, and requests while a test does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from tests.stacks.copies import Copy
from tests.stacks.waiting import wait_until
from tests.web import Reply, request

EXTRA_URLS = """
import time
from django.http import HttpResponse
from task_api import extra
def _value(request):
    return HttpResponse(extra.VALUE)
def _slow(request):
    print("slow began", flush=True)
    time.sleep(3)
    return HttpResponse("slow")
urlpatterns = [path("value", _value), path("slow", _slow), *urlpatterns]
"""


def add_views(copy: Copy) -> Path:
    """Add /value and /slow; return the file that /value reads."""
    copy.append("server/task_api/urls.py", EXTRA_URLS)
    extra = copy.root / "server/task_api/extra.py"
    extra.write_text("VALUE = 'first'\n")
    return extra


def served(url: str, value: str) -> Callable[[], bool]:
    """Return a condition: every worker serves the value, 16 new connections in a row."""

    def check() -> bool:
        try:
            return all(request(f"{url}/value").text == value for _ in range(16))
        except OSError:
            return False

    return check


@contextmanager
def slow_requests(copy: Copy, count: int) -> Iterator[list[Future[Reply]]]:
    """Send requests to /slow; give their answers to come once all are being answered."""
    url = copy.url
    with ThreadPoolExecutor(count) as callers:
        replies = [callers.submit(request, f"{url}/slow") for _ in range(count)]
        wait_until(
            lambda: copy.ok("logs", "--service", "backend").count("slow began") == count,
            f"{count} requests being answered",
        )
        yield replies


@contextmanager
def repeated(action: Callable[[], object]) -> Iterator[None]:
    """Repeat the action in a thread while the block runs; raise the error of the action."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            action()

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(repeat)
        try:
            yield
        finally:
            over.set()
    ended.result()


def statuses_of_writers(url: str) -> set[int]:
    """Write 320 tasks, eight at once; return the statuses of the answers."""

    def write(number: int) -> int:
        return request(f"{url}/api/tasks", "POST", {"title": f"writer {number}"}).status

    with ThreadPoolExecutor(8) as writers:
        return set(writers.map(write, range(320)))


def failures_of_clients(url: str, over: threading.Event, *, kept: bool) -> list[str]:
    """Ask with four clients until ``over``, none twice; return each failure.

    A client with a ``kept`` connection makes a new one when the server has closed it in words.
    """
    failures: list[str] = []

    def ask() -> None:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        while not over.is_set():
            try:
                connection.request("GET", "/value")
                answer = connection.getresponse()
                answer.read()
                if answer.status != HTTPStatus.OK:
                    failures.append(str(answer.status))
            except (OSError, HTTPException) as error:
                failures.append(repr(error))
                connection.close()
            if not kept:
                connection.close()
        connection.close()

    with ThreadPoolExecutor(4) as clients:
        for client in [clients.submit(ask) for _ in range(4)]:
            client.result()
    return failures
