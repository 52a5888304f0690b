"""Containers as the engine sees them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from composed.gateway import Gateway

_FORMAT = (
    '{"id":{{json .Id}},"service":{{json (index .Config.Labels "com.docker.compose.service")}},'
    # Not .Config.Healthcheck: where there is none, Docker has no such key and fails.
    '"state":{{json .State}},"restarts":{{.RestartCount}},"config":{{json .Config}}}'
)
# A health check that is rarer, in seconds, would make `up` wait for nothing.
RARE = 5
_LATE = -1  # the exit code of a probe that the engine has ended
_ENDED = ("exited", "dead", "restarting")


class Probe(NamedTuple):
    """One run of a health check; ``start``, a time of the engine, tells probes apart.

    A ``late`` probe was ended by the engine: it says that the machine is busy, or the service.
    """

    start: str
    ok: bool
    output: str
    late: bool = False


class Container(NamedTuple):
    """A container at one moment; ``health`` is empty without a health check.

    ``between_probes`` are the seconds from one run of the health check to the next at the start.
    """

    id: str
    service: str
    state: str
    health: str
    probes: Sequence[Probe]
    started: str
    restarts: int
    code: int
    out_of_memory: bool
    between_probes: float = 0

    @property
    def ready(self) -> bool:
        """Whether the container runs and is healthy, or is a job that is done."""
        done = self.state == "exited" and not self.code and not self.health
        return done or (self.state == "running" and self.health in ("", "healthy"))

    @property
    def is_starting(self) -> bool:
        """Whether the container runs, and no probe has decided yet."""
        return self.state == "running" and self.health == "starting"

    @property
    def is_checked(self) -> bool:
        """Whether a health check says soon enough if the service works."""
        return bool(self.health) and not (self.is_starting and self.between_probes > RARE)

    @property
    def ended(self) -> bool:
        """Whether the container has ended and is no job that is done."""
        return self.state in _ENDED and not self.ready

    def in_words(self, *, hopeless: bool) -> str:
        """Return the state as a verb phrase that follows the name of the service."""
        if self.state in _ENDED:
            return f"ended with {self.code}" + (" (out of memory)" if self.out_of_memory else "")
        if hopeless and self.health == "starting":
            return "fails its health check"
        return f"is {self.health if self.state == 'running' and self.health else self.state}"


def inspect(gateway: Gateway, ids: Iterable[str]) -> list[Container]:
    """Ask ``docker inspect``; a container that is gone is left out."""
    answer = gateway.ask(["docker", "inspect", "--format", _FORMAT, *ids])
    return [_container(json.loads(line)) for line in answer.out.splitlines() if line.strip()]


def _container(row: Mapping[str, Any]) -> Container:
    state = row["state"]
    health = state.get("Health") or {}
    log = [
        Probe(p["Start"], not p["ExitCode"], p["Output"], p["ExitCode"] == _LATE)
        for p in health.get("Log") or ()
    ]
    return Container(
        id=row["id"],
        service=row["service"],
        state=state["Status"],
        health="" if health.get("Status") == "none" else health.get("Status", ""),
        # The engine keeps the probes of an earlier start.
        probes=[probe for probe in log if not is_before(probe.start, state["StartedAt"])],
        started=state["StartedAt"],
        restarts=row["restarts"],
        code=state["ExitCode"],
        out_of_memory=bool(state.get("OOMKilled")),
        between_probes=_seconds(row.get("config", {}).get("Healthcheck") or {}),
    )


def _seconds(check: Mapping[str, Any]) -> float:
    """Return the seconds between probes; the engine's own defaults are 30 and, at a start, 5."""
    interval = (check.get("Interval") or 30e9) / 1e9 if check else 0
    at_start = (check.get("StartInterval") or 5e9) / 1e9
    return min(interval, at_start) if check.get("StartPeriod") else interval


def is_before(earlier: str, later: str) -> bool:
    """Return whether the first of two times of the engine is earlier; False for another text."""
    try:
        return datetime.fromisoformat(earlier) < datetime.fromisoformat(later)
    except (ValueError, TypeError):
        return False
