"""What the backend does under edits and under a stop, on a real engine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.real.conftest import Copy, wait_until
from tests.web import request

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
    app = copy.root / "server/task_api"
    with (app / "urls.py").open("a") as urls:
        urls.write(EXTRA_URLS)
    extra = app / "extra.py"
    extra.write_text("VALUE = 'first'\n")
    return extra


def served(url: str, value: str) -> Callable[[], bool]:
    """Say whether every worker serves the value: 16 new connections in a row."""

    def check() -> bool:
        try:
            return all(request(f"{url}/value").text == value for _ in range(16))
        except OSError:
            return False

    return check


def test_the_last_of_many_edits_is_served(new_copy: Callable[..., Copy]) -> None:
    copy = new_copy()
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]
    wait_until(served(url, "first"), "the first value")

    for number in range(20):
        extra.write_text(f"VALUE = 'edit {number:02}'\n")  # of one size, within a second
    wait_until(served(url, "edit 19"), "the last of 20 edits")

    restart = copy.start("dc", "--", "restart", "backend")
    wait_until(lambda: restart.poll() is not None or not answers(url), "the end of the old one")
    extra.write_text("VALUE = 'at start'\n")
    restart.communicate()
    extra.write_text("VALUE = 'right after start'\n")
    url = copy.ps()["backend"]["url"]
    wait_until(served(url, "right after start"), "the edit right after the start")


def answers(url: str) -> bool:
    try:
        return request(f"{url}/value").status == 200
    except OSError:
        return False


def test_an_import_error_is_shown_and_its_fix_picked_up(new_copy: Callable[..., Copy]) -> None:
    copy = new_copy()
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]

    for module in ("settings", "models", "urls"):
        file = copy.root / f"server/task_api/{module}.py"
        good = file.read_text()
        for bad in ("import no_such_module", "def (:", "raise SystemExit(3)"):
            file.write_text(f"{good}\n{bad}\n")
            wait_until(partial(shows, url, bad), f"the traceback of {bad!r} in {module}")
            file.write_text(good)
            extra.write_text(f"VALUE = 'after {module} {bad[:3]}'\n")
            wait_until(served(url, f"after {module} {bad[:3]}"), f"the fix in {module}")


def shows(url: str, line: str) -> bool:
    """Say whether the answer is an error that shows the line at fault."""
    try:
        answer = request(f"{url}/value")
    except OSError:
        return False
    return answer.status == 500 and line.split("(", maxsplit=1)[0] in answer.text


PRODUCTION = """\
COMPOSE_FILE=docker-compose.yml:docker-compose.production.yml
ALLOWED_HOSTS=127.0.0.1
HTTPS_ONLY=false
"""


@pytest.mark.parametrize("settings", ["", PRODUCTION], ids=["development", "production"])
def test_a_stop_loses_no_request_that_is_being_answered(
    settings: str, new_copy: Callable[..., Copy]
) -> None:
    copy = new_copy()
    add_views(copy)
    with (copy.root / ".env").open("a") as env:
        env.write(settings)
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]
    idle = socket.create_connection(url.removeprefix("http://").split(":"))

    with ThreadPoolExecutor(8) as callers, idle:
        answers = [callers.submit(request, f"{url}/slow") for _ in range(8)]
        wait_until(
            lambda: copy.ok("logs", "--service", "backend").count("slow began") == 8,
            "eight requests being answered",
        )
        stop = copy.start("dc", "--", "stop", "backend")
        replies = [answer.result() for answer in answers]
        stop.communicate()

    assert [reply.text for reply in replies] == ["slow"] * 8
    assert stop.returncode == 0
    assert copy.ps()["backend"]["state"] == "exited"


def test_eight_writers_at_once_all_succeed(stack: Copy) -> None:
    url = stack.ps()["backend"]["url"]

    def write(number: int) -> int:
        return request(f"{url}/api/tasks", "POST", {"title": f"writer {number}"}).status

    with ThreadPoolExecutor(8) as writers:
        assert set(writers.map(write, range(320))) == {201}
