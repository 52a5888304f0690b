"""The wait of `up` for containers: which is ready, which will never be, and why."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from composed.contract import HEALTH_CHECK, SERVER_ENDED
from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.containers import Container, Probe, inspect, is_before
from composed.docker.database import DatabaseService
from composed.docker.readiness import Readiness, age
from composed.errors import NotReadyError
from composed.health.waiting import (
    LINES_OF_LOG,
    SECONDS_BETWEEN_LOOKS,
    Look,
    log_of_this_start,
    not_ready,
    wait,
)
from composed.stack import Service, Stack
from composed.terminal import ERASE_LINE

LINES_READ = "200"
LOOKS_BETWEEN_LOGS = 10
SECONDS_OF_SILENCE = 5.0  # longer than the reload after a correction, which says something
# A server that cannot serve, as our health check, curl, wget and urllib print it.
_BROKEN = re.compile(
    rf"(?m)^{HEALTH_CHECK}500|\berror: 500\b|HTTP Error 500|HTTP/1\.\d 500|^{SERVER_ENDED}"
)


class Watch:
    """Looks at containers; old probes and log lines do not count: their cause may be corrected.

    Old are those of before the first look, and a probe that ran meanwhile, unless the container
    was started since ``began``: the ``time.monotonic`` of this start, or of its migration. The
    times of probes are the engine's, and never compared with the clock of this machine.
    """

    def __init__(
        self,
        stack: Stack,
        dc: Compose,
        database: DatabaseService,
        services: list[Service],
        began: float,
    ) -> None:
        self._explain, self._dc, self._database = stack.explain, dc, database
        self._readiness = Readiness(dc.gateway, database, services)
        self._began, self._watched, self._looks = began, time.monotonic(), 0
        ids = [service.container for service in services]
        self._first = {container.id: container for container in inspect(dc.gateway, ids)}
        old = [container for container in self._first.values() if not self._is_new(container)]
        self._log_ends = {container.id: self._log_end(container) for container in old}
        self._since = engine.clock(dc.gateway) if old else ""

    def wait(self, timeout: int) -> None:
        """Return when all containers are ready; raise :class:`NotReadyError` when one fails.

        ``timeout`` is in seconds since the start of the first container: builds and
        downloads do not count. The database may have started before them, alone.
        """
        if not self._first:
            raise NotReadyError("The started containers are gone.", "Type: inv up")
        started = [container for container in self._first.values() if self._is_new(container)]
        others = [one for one in started if one.service != self._database.name]
        ages = [age(container) for container in others or started]
        if look := wait(self._look, time.monotonic() - max(ages, default=0.0) + timeout):
            goal = "become healthy" if look.has_health else "answer"
            raise self._error(f"Waiting for {look.service} to {goal}", look)

    def becomes_healthy(self, timeout: int) -> bool:
        """Return whether all containers are healthy within ``timeout`` seconds, as Compose asks."""
        end = time.monotonic() + timeout
        while not all(container.ready for container in inspect(self._dc.gateway, self._first)):
            if time.monotonic() > end:
                return False
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def culprit(self) -> NotReadyError | None:
        """Return the error of the container that kept Compose from starting the others."""
        containers = self._first.values()
        # An exit explains more than bad health, and bad health more than a pause.
        suspects = [container for container in containers if container.ended]
        suspects += [container for container in containers if container.health == "unhealthy"]
        suspects += [container for container in containers if container.state == "paused"]
        if not suspects:
            return None
        look = _judged(suspects[0], suspects[0].probes, hopeless=True, fault="failed")
        return self._error(f"Starting {look.service}", look)

    def _look(self) -> list[Look]:
        self._looks += 1
        current = {container.id: container for container in inspect(self._dc.gateway, self._first)}
        return [
            self._compare(first, current.get(id_) or first._replace(state="gone", health=""))
            for id_, first in self._first.items()
        ]

    def _compare(self, first: Container, current: Container) -> Look:
        new = [probe for probe in current.probes if not self._is_old(probe, first)]
        if self._answers(current):
            return Look(current.service, current.in_words(hopeless=False), ready=True)
        fault = self._readiness.fault(current)
        hopeless = bool(fault) and (
            current.ended
            or current.state in ("paused", "gone")
            or current.restarts > first.restarts
            or self._is_failing(current, new)
            # Not at every look, since Compose takes long to show a log.
            or (not self._looks % LOOKS_BETWEEN_LOGS and self._is_fatal(self._log_so_far(first)))
        )
        return _judged(current, new, hopeless=hopeless, fault=fault)

    def _answers(self, current: Container) -> bool:
        """Return whether the database takes connections, though the engine ended its last probe."""
        is_asked = current.service == self._database.name and current.state == "running"
        last = current.probes[-1:]
        return is_asked and any(probe.late for probe in last) and self._database.answers()

    def _is_failing(self, current: Container, new: Sequence[Probe]) -> bool:
        """Return whether the health check fails: twice at a start, since a reload may go on."""
        if current.health == "unhealthy" and new:
            return not new[-1].ok
        return len(new) > 1 and all(not p.ok and self._is_fatal(p.output) for p in new[-2:])

    def _is_fatal(self, text: str) -> bool:
        explanation = self._explain(text)
        return bool(explanation and explanation.fatal) or bool(_BROKEN.search(text))

    def _error(self, step: str, look: Look) -> NotReadyError:
        first = next(c for c in self._first.values() if c.service == look.service)
        ended = look.state.startswith("ended")
        log = self._new_log(first, whole=True) if ended else self._log_so_far(first)
        killed = "\nOOMKilled" if "out of memory" in look.state else ""
        cause = self._explain(look.output) or self._explain(log + killed, ended=ended)
        return not_ready(step, self._began, look, self._log(look.service), cause)

    def _is_old(self, probe: Probe, first: Container) -> bool:
        seen = any(probe.start == one.start for one in first.probes)
        return not self._is_new(first) and (seen or is_before(probe.start, self._since))

    def _is_new(self, first: Container) -> bool:
        """Return whether the container was started since this ``up`` began, or migrated."""
        return 0 <= age(first) <= time.monotonic() - self._began

    def _log_so_far(self, first: Container) -> str:
        """Return the new log; of a server that stays silent, the end of the old one.

        Django's runserver waits for a correction, and says nothing, after a failure.
        """
        new = self._new_log(first)
        if new.strip() or time.monotonic() - self._watched < SECONDS_OF_SILENCE:
            return new
        return "\n".join(self._new_log(first, whole=True).splitlines()[-LINES_OF_LOG:])

    def _new_log(self, first: Container, *, whole: bool = False) -> str:
        """Return the log since this ``up`` began; with ``whole``, since the container started."""
        end = "" if whole else self._log_ends.get(first.id, "")
        new = self._log(first.service, "--since", end or first.started)
        if not end:  # of an earlier start of the container, no line counts
            return new
        return log_of_this_start(new.partition("\n")[2], self._log(first.service))

    def _log_end(self, container: Container) -> str:
        return self._log(container.service, "--timestamps", "--tail", "1").partition(" ")[0].strip()

    def _log(self, service: str, *since: str) -> str:
        options = ("--no-color", "--no-log-prefix", "--tail", LINES_READ, *since)
        return self._dc.ask("logs", *options, service).replace(ERASE_LINE, "")


def _judged(container: Container, probes: Sequence[Probe], *, hopeless: bool, fault: str) -> Look:
    output = probes[-1].output if probes and not probes[-1].ok else ""
    state, has_health = container.in_words(hopeless=hopeless), container.is_checked
    state = fault if fault and container.state == "running" and not has_health else state
    return Look(container.service, state, not fault, has_health, hopeless, output)
