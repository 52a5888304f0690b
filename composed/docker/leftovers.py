"""Removes what a killed ``inv`` left inside the stack: one-off containers and processes."""

from __future__ import annotations

from composed.calls import Calls
from composed.docker.compose import Compose

__all__ = ["LABEL", "MARK", "clean_up"]

LABEL = "composed.call"
MARK = "COMPOSED_CALL"

# Children inherit the mark with the environment, so they end too.
_KILL_MARKED = f"""
for process in /proc/[0-9]*; do
  grep -qzx "{MARK}=$1" "$process/environ" 2>/dev/null && kill -KILL "${{process#/proc/}}"
done; true
"""


def clean_up(compose: Compose, calls: Calls) -> None:
    """End the calls whose ``inv`` is gone; one that cannot be ended now is kept for later."""
    for call, service in calls.abandoned().items():
        ended = _end_process(compose, call, service) if service else _remove(compose, call)
        if ended:
            calls.forget(call)


def _remove(compose: Compose, call: str) -> bool:
    gateway = compose.gateway
    found = gateway.ask(["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}={call}"])
    if ids := found.out.split():
        return gateway.do(["docker", "rm", "--force", *ids]).code == 0
    return found.code == 0


def _end_process(compose: Compose, call: str, service: str) -> bool:
    kill = compose.argv("exec", "--no-TTY", service, "sh", "-c", _KILL_MARKED, "sh", call)
    if compose.gateway.do(kill).code == 0:
        return True
    listed = compose.gateway.ask(compose.argv("ps", "--services", "--status", "running"))
    return listed.code == 0 and service not in listed.out.split()  # stopped: nothing to end
