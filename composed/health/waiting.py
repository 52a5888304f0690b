"""Waiting until every service is ready, and the answers of a running backend."""

import json
import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from composed.contract import SERVER_ENDED
from composed.errors import NotReadyError
from composed.gateway import Gateway
from composed.health.explanations import Explanation
from composed.terminal import StatusLine

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_RELOAD = 1.5  # a correction saved a moment ago is not served yet
LINES_OF_LOG = 20
LINES_OF_HEALTH_CHECK = 6  # the end of a traceback
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_EARLIER_START = re.compile(r"^reload: .*|Starting gunicorn|Shutting down: Master", re.MULTILINE)


class Look(NamedTuple):
    """A service at one moment: ``state`` is a verb phrase, ``output`` the health check's last.

    Waiting will not make a ``hopeless`` service ready.
    """

    service: str
    state: str
    ready: bool
    has_health: bool = True
    hopeless: bool = False
    output: str = ""


def wait(look: Callable[[], Sequence[Look]], until: float) -> Look | None:
    """Return None when all services are ready, else a service that is hopeless or late.

    ``until`` is the ``time.monotonic`` to give up at. Services without a health check must be
    ready at two looks in a row: a container that keeps dying runs for a moment each time.
    """
    line, times_ready = StatusLine(), 0
    try:
        while True:
            services = look()
            waiting = [service for service in services if not service.ready]
            times_ready = 0 if waiting else times_ready + 1
            if times_ready == 2 or (times_ready and all(s.has_health for s in services)):
                return None
            hopeless = [service for service in services if service.hopeless]
            late = waiting if time.monotonic() > until else []
            if hopeless or late:
                return (hopeless or late)[0]
            if states := ", ".join(f"{service.service} {service.state}" for service in waiting):
                line.show(f"Waiting: {states}", f" ({int(line.seconds)} s)")
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        line.end()


def log_of_this_start(new: str, log: str) -> str:
    """Return the ``new`` lines of a log, or the last lines of a server that has ended before."""
    before, ended, after = log.rstrip().rpartition(f"\n{SERVER_ENDED}")
    if not ended or "\n" in after:
        return new
    return re.split(_EARLIER_START, before)[-1] + ended + after


def not_ready(
    step: str, began: float, look: Look, log: str, explanation: Explanation | None
) -> NotReadyError:
    """Return the error of a step that began at ``began``, a ``time.monotonic``."""
    output = [line for line in look.output.splitlines() if line.strip()][-LINES_OF_HEALTH_CHECK:]
    lines = _COLOUR.sub("", log).splitlines()[-LINES_OF_LOG:]
    show_more = f"See more: inv logs --service {look.service}"
    return NotReadyError(
        f"{step}, {int(time.monotonic() - began)} s: it {look.state}.",
        *(["Its health check says:", *(f"  {line}" for line in output)] if output else []),
        *(["Its last lines:", *(f"  {line}" for line in lines)] if lines else []),
        *([explanation.sentence] if explanation else []),
        f"Type: {explanation.cure}" if explanation else show_more,
    )


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
