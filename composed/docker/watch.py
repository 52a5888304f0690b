"""Looks at what Compose has started, until it is ready or it is known why it is not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from composed.contract import HEALTH_CHECK, SERVER_ENDED
from composed.docker.compose import Compose
from composed.docker.containers import Container, Probe, inspect
from composed.errors import NotReadyError
from composed.health.explanations import Explanation
from composed.health.waiting import Look, not_ready, of_now, wait
from composed.terminal import ERASE_LINE

__all__ = ["Watch"]

LINES_SHOWN = 20
LINES_READ = "200"
LOOKS_BETWEEN_LOGS = 10
Explain = Callable[[str], Explanation | None]
# A server that cannot serve; curl, wget and urllib have it in other words than our health check.
_BROKEN = re.compile(
    rf"^{HEALTH_CHECK}500|\berror: 500\b|HTTP Error 500|HTTP/1\.\d 500|^{SERVER_ENDED}",
    re.MULTILINE,
)


class Watch:
    """Looks at containers, and believes only what is newer than its first look.

    An unhealthy mark may be of yesterday, and the fault corrected since. What
    was there before is told by its name, not by the clock: the engine's may be
    another than ours. Of a container that `up` has started, everything is new.
    ``began`` is when `up` did, of ``time.monotonic``.
    """

    def __init__(self, dc: Compose, explain: Explain, ids: Sequence[str], began: float) -> None:
        self._dc = dc
        self._explain = explain
        self._began = began
        self._first = {container.id: container for container in inspect(dc.gateway, ids)}
        self._looks = 0

    def wait(self, timeout: int) -> None:
        """Return when all is ready; raises :class:`NotReadyError` when something will not be.

        ``timeout`` is in seconds from when the first of the containers was started:
        neither a build nor a download counts.
        """
        if not self._first:
            raise NotReadyError("What was started is gone.", "Type: inv up")
        since_start = max(map(_age, filter(self._is_new, self._first.values())), default=0.0)
        if look := wait(self._look, time.monotonic() - since_start + timeout):
            raise self._why(look, "Waiting for")

    def culprit(self) -> NotReadyError | None:
        """Return the error of the container that kept Compose from starting the others."""
        stopped = [c for c in self._first.values() if c.ended or c.health == "unhealthy"]
        stopped += [c for c in self._first.values() if c.state == "paused"]
        # Exited says more than unhealthy, and that more than paused.
        for container in sorted(stopped, key=lambda c: not c.ended)[:1]:
            return self._why(_judged(container, container.probes, hopeless=True), "Starting")
        return None

    def _look(self) -> list[Look]:
        self._looks += 1
        now = {container.id: container for container in inspect(self._dc.gateway, self._first)}
        gone = {id_: c._replace(state="gone", health="") for id_, c in self._first.items()}
        return [self._compare(self._first[id_], (gone | now)[id_]) for id_ in gone]

    def _compare(self, was: Container, now: Container) -> Look:
        known = () if self._is_new(was) else {probe.at for probe in was.probes}
        new = [probe for probe in now.probes if probe.at not in known]
        hopeless = not now.ready and (
            now.ended
            or now.state in ("paused", "gone")
            or now.restarts > was.restarts
            or self._is_failing(now, new)
            or self._log_is_fatal(was)
        )
        return _judged(now, new, hopeless=hopeless)

    def _is_failing(self, now: Container, new: Sequence[Probe]) -> bool:
        """Say whether its health check says so: twice at a start, as a reload may be under way."""
        if now.health == "unhealthy" and new:
            return not new[-1].ok
        return len(new) > 1 and all(not p.ok and self._is_fatal(p.said) for p in new[-2:])

    def _log_is_fatal(self, was: Container) -> bool:
        """Say whether the log shows what no health check can; now and then, as asking costs."""
        if self._looks % LOOKS_BETWEEN_LOGS:
            return False
        return self._is_fatal(self._log_of_now(was))

    def _is_fatal(self, text: str) -> bool:
        explanation = self._explain(text)
        return bool(explanation and explanation.fatal) or bool(_BROKEN.search(text))

    def _why(self, look: Look, doing: str) -> NotReadyError:
        first = next(c for c in self._first.values() if c.service == look.service)
        log = self._log_of_now(first, whole=look.state.startswith("ended"))
        killed = "\nOOMKilled" if "out of memory" in look.state else ""
        cause = self._explain(look.said) or self._explain(log + killed)
        wanted = {"Waiting for": " to become healthy" if look.health else " to run"}
        step = f"{doing} {look.service}{wanted.get(doing, '')}"
        seconds = int(time.monotonic() - self._began)
        shown = self._log(look.service).splitlines()[-LINES_SHOWN:]
        return not_ready(f"{step}, {seconds} s", look, shown, cause)

    def _is_new(self, first: Container) -> bool:
        """Say whether this `up` has started it: all it says is of now."""
        return 0 <= _age(first) <= time.monotonic() - self._began

    def _log_of_now(self, first: Container, *, whole: bool = False) -> str:
        """Return what the log says since this `up` began, with ``whole`` since it was started."""
        known = first.started if whole or self._is_new(first) else ""
        since = known or (first.probes[-1].at if first.probes else first.started)
        return of_now(self._log(first.service, "--since", since), self._log(first.service))

    def _log(self, service: str, *since: str) -> str:
        how = ("--no-color", "--no-log-prefix", "--tail", LINES_READ)
        return self._dc.ask("logs", *how, *since, service).replace(ERASE_LINE, "")


def _judged(container: Container, probes: Sequence[Probe], *, hopeless: bool) -> Look:
    said = probes[-1].said if probes and not probes[-1].ok else ""
    words = container.in_words(hopeless=hopeless)
    health = bool(container.health)
    return Look(container.service, words, container.ready, health, hopeless, said)


def _age(container: Container) -> float:
    """Return the seconds since it was started, if the engine's clock is ours."""
    try:
        return time.time() - datetime.fromisoformat(container.started).timestamp()
    except ValueError:
        return -1.0
