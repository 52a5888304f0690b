"""The backend under edits, under a stop and under load, on a real engine."""

from __future__ import annotations

import socket
from functools import partial
from urllib.parse import urlsplit

import pytest

from tests.stacks.copies import Copy
from tests.stacks.fixtures import NewCopy
from tests.stacks.views import add_views, served, slow_requests, statuses_of_writers
from tests.stacks.waiting import wait_until
from tests.web import request


def test_the_last_of_many_edits_is_served(new_copy: NewCopy) -> None:
    copy = new_copy()
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.url
    wait_until(served(url, "first"), "the first value")

    for number in range(20):
        extra.write_text(f"VALUE = 'edit {number:02}'\n")  # of one size, within a second
    wait_until(served(url, "edit 19"), "the last of 20 edits")

    restart = copy.start("dc", "--", "restart", "backend")
    wait_until(lambda: restart.poll() is not None or not answers(url), "the old server's end")
    extra.write_text("VALUE = 'at start'\n")
    restart.communicate()
    extra.write_text("VALUE = 'right after start'\n")
    url = copy.url
    wait_until(served(url, "right after start"), "the edit right after the start")


def answers(url: str) -> bool:
    try:
        return request(f"{url}/value").status == 200
    except OSError:
        return False


def test_an_import_error_is_shown_and_its_fix_picked_up(new_copy: NewCopy) -> None:
    copy = new_copy()
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.url

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
def test_a_stop_loses_no_request_that_is_being_answered(settings: str, new_copy: NewCopy) -> None:
    copy = new_copy()
    add_views(copy)
    copy.append(".env", settings)
    copy.ok("up", "--migrate")
    server = urlsplit(copy.url)
    idle = socket.create_connection((server.hostname, server.port))

    with idle, slow_requests(copy, 8) as answers:
        stop = copy.start("dc", "--", "stop", "backend")
        replies = [answer.result() for answer in answers]
        stop.communicate()

    assert [reply.text for reply in replies] == ["slow"] * 8
    assert stop.returncode == 0
    assert copy.ps()["backend"]["state"] == "exited"


def test_eight_writers_at_once_all_succeed(stack: Copy) -> None:
    assert statuses_of_writers(stack.url) == {201}
