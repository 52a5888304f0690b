"""Waiting until every service is ready, or until one will not become so."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from composed.contract import SERVER_ENDED
from composed.errors import NotReadyError
from composed.health.explanations import Explanation
from composed.terminal import StatusLine

__all__ = ["Look", "not_ready", "of_now", "wait"]

SECONDS_BETWEEN_LOOKS = 0.1
_A_START_BEFORE = re.compile(r"^reload: .*|Starting gunicorn|Shutting down: Master", re.MULTILINE)
LINES_SAID = 6  # of a health check: a traceback's last


class Look(NamedTuple):
    """A service at one moment, in a word; ``said`` is what its health check said last.

    With ``health`` its being ready is sure at one look. ``hopeless`` says that
    waiting will not make it ready.
    """

    service: str
    state: str
    ready: bool
    health: bool = True
    hopeless: bool = False
    said: str = ""


def wait(look: Callable[[], Sequence[Look]], until: float) -> Look | None:
    """Look again and again; return the service that is not ready in the end, None if all are.

    ``until`` is the moment, of ``time.monotonic``, to give up at. All has to be
    ready at two looks where a service has no health check: a container that keeps
    dying has no health for a moment each time it starts.
    """
    progress, ready = StatusLine(), 0
    try:
        while True:
            found = look()
            ready = ready + 1 if all(at.ready for at in found) else 0
            if ready == 2 or (ready and all(at.health for at in found)):
                return None
            late = time.monotonic() > until
            if suspects := [at for at in found if at.hopeless or (late and not at.ready)]:
                return max(suspects, key=lambda at: at.hopeless)
            waited_for = ", ".join(f"{at.service} {at.state}" for at in found if not at.ready)
            text = f"Waiting: {waited_for}" if waited_for else "Looking again"
            progress.show(text, f" ({int(progress.seconds)} s)")
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        progress.end()


def of_now(new: str, log: str) -> str:
    """Return what a log says of this start: what is ``new``, or the last words of the dead."""
    before, ended, after = log.rstrip().rpartition(f"\n{SERVER_ENDED}")
    if not ended or "\n" in after:
        return new
    return re.split(_A_START_BEFORE, before)[-1] + ended + after


def not_ready(
    step: str, look: Look, log: Sequence[str], explanation: Explanation | None
) -> NotReadyError:
    """Return the error: the step, what the health check and the log say, the cause, the cure."""
    said = [line for line in look.said.splitlines() if line.strip()][-LINES_SAID:]
    show_more = f"See more: inv logs --service {look.service}"
    return NotReadyError(
        f"{step}: it {look.state}.",
        *(["Its health check says:", *(f"  {line}" for line in said)] if said else []),
        *(["Its last lines:", *(f"  {line}" for line in log)] if log else []),
        *([explanation.sentence] if explanation else []),
        f"Type: {explanation.cure}" if explanation else show_more,
    )
