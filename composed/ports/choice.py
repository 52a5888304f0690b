"""Taken ports: the process that has the port, and a free port kept in a file instead."""

import contextlib
import os
import pwd
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from composed.env.file import edit_env, set_value
from composed.env.settings import Settings, assignments, read_text
from composed.errors import PortTakenError
from composed.findings import Finding, State
from composed.gateway import Gateway
from composed.machine import owners
from composed.ports.published import Published, in_the_way, is_taken, next_free
from composed.terminal import say

# The value stands in the comment as well: a user who edits the line below takes the choice over.
_CHOICE = r"^# \d+ was taken: inv chose {name}=(\d+)\. .*\n{name}=\1[ \t]*$"

# Processes that listen for a container: the name of the container says more.
_FORWARDERS = ("docker", "com.docke", "rootlesskit", "slirp4netns", "vpnkit", "OrbStack", "limactl")
_COLUMNS = '{{.Names}}\t{{.Label "com.docker.compose.project"}}'


# Keeps ports that no setting governs; returns the place, as in "kept in FILE".
Override: TypeAlias = Callable[[Mapping[Published, int]], str]


class _Conflict(NamedTuple):
    """A taken port with its setting, the process that has the port, a free port; "" is unknown."""

    published: Published
    setting: str
    holder: str
    free: int

    def __str__(self) -> str:
        by = f" by {self.holder}" if self.holder else ""
        return f"Port {self.published.port}, for {self.published.service}, is taken{by}"


def give_way(
    gateway: Gateway,
    settings: Settings,
    taken: Mapping[Published, str],
    *,
    avoid: Collection[int] = (),
    strict: bool = False,
    override: Override | None = None,
    writes_env: bool = True,
) -> dict[str, int]:
    """Choose the next free port for each taken port; return the chosen ports by setting.

    ``taken`` maps each port to the setting that governs the port, or to "": then ``override``
    gets the chosen port, and returns where the choice is kept, as it does for each port unless
    this function ``writes_env``. Raises :class:`PortTakenError` when ``strict``, with ``CI=true``,
    and for a port that the user set.
    """
    strict = strict or os.environ.get("CI") == "true"
    fixed = {
        port
        for port, name in taken.items()
        if strict or not (name or override) or _is_set_by_user(name, settings)
    }
    avoid = {*avoid, *(port.port for port in taken)}
    conflicts = [
        _Conflict(port, name, holder(gateway, port.port), next_free(gateway, *port[1:], avoid))
        for port, name in taken.items()
        # A port that is taken on IPv6's localhost alone is left to a user who set the port.
        if port not in fixed or is_taken(gateway, port.host, port.port)
    ]
    if any(conflict.published in fixed for conflict in conflicts):
        raise _refusal(conflicts, settings)
    elsewhere = {c.published: c.free for c in conflicts if not (c.setting and writes_env)}
    kept = override(elsewhere) if override and elsewhere else ""
    for conflict in conflicts:
        port, name, _, free = conflict
        if name and writes_env:
            file = settings.file_of(name)
            edit_env(file, partial(with_choice, name=name, taken=port.port, free=free))
            kept = f"as {name} in {file.name}"
        say(f"{conflict}: using {free}, kept {kept}.")
    return {conflict.setting: conflict.free for conflict in conflicts if conflict.setting}


def _is_set_by_user(name: str, settings: Settings) -> bool:
    return bool(name and (name in os.environ or _written_by_user(name, settings)))


def _written_by_user(name: str, settings: Settings) -> str:
    """Return the port that the user wrote into the env file; "" for a port that ``inv`` chose."""
    file = settings.file_of(name)
    text = read_text(file) if os.path.lexists(file) else ""
    port = assignments(text).get(name) or ""
    choice = re.search(_CHOICE.format(name=name), text, re.MULTILINE)
    return "" if choice and choice[1] == port else port


def with_choice(text: str | None, name: str, taken: int, free: int) -> str:
    """Return an env file's text with the port that was chosen, marked as a choice of ``inv``."""
    comment = f"# {taken} was taken: inv chose {name}={free}. Change it and it stays as it is."
    line = f"{comment}\n{name}={free}"
    text, times = re.subn(_CHOICE.format(name=name), line, text or "", flags=re.MULTILINE)
    return text if times else set_value(text, name, line)


def _refusal(conflicts: Sequence[_Conflict], settings: Settings) -> PortTakenError:
    problem, *hints = (f"{conflict}." for conflict in conflicts)
    if unseen := [f"sport = :{c.published.port}" for c in conflicts if not c.holder]:
        hints.append(f"See by whom: sudo ss -ltnp '{' or '.join(unseen)}'")
    if any(not conflict.setting for conflict in conflicts):
        hints.append("Take another port: the same command, without --strict-ports and CI=true")
    if choices := {c.setting: c.free for c in conflicts if c.setting}:
        words = " ".join(f"{name}={free}" for name, free in choices.items())
        hints.append(f"Use another: {words} inv up")
    for published, name, _, _ in conflicts:
        if name not in os.environ and _written_by_user(name, settings) == str(published.port):
            file = settings.file_of(name).name
            hints.append(f"Or take {name} out of {file}: inv then chooses one itself")
    return PortTakenError(problem, *hints)


def findings(
    gateway: Gateway, wanted: Sequence[Published], ours: Collection[str] = ()
) -> list[Finding]:
    """Return a finding for each port; ``ours`` are the ``host:port`` that the stack has."""
    rows = []
    for port in wanted:
        state: State = "ok"
        seen, cure = "free", ""
        if f"{port.host}:{port.port}" in ours:
            seen = "ours"
        elif in_the_way(gateway, [port]):
            state, cure = "warning", "inv up (takes the next free one, unless you chose this)"
            seen = f"taken by {holder(gateway, port.port) or 'a process that cannot be seen'}"
        rows.append(Finding(f"port {port.port} ({port.service})", state, seen, cure))
    return rows


def holder(gateway: Gateway, port: int) -> str:
    """Return the process, container or user that listens on the port, in words; "" if unknown."""
    pid, name = next(iter(sorted(gateway.listeners(port).items())), (0, ""))
    if name and not name.startswith(_FORWARDERS):
        return f"{name} (PID {pid})"
    answer = gateway.ask(["docker", "ps", "--filter", f"publish={port}", "--format", _COLUMNS])
    if not answer.code and answer.out.strip():
        name, _, project = answer.out.splitlines()[0].partition("\t")
        return f"container {name}" + (f" of Compose project {project}" if project else "")
    for uid in owners(port).values():
        with contextlib.suppress(KeyError):
            return f"a process of {pwd.getpwuid(uid).pw_name}"
    return ""
