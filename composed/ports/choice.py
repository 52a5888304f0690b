"""Another port in place of one that is taken: chosen, said, kept in the env file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from composed.env.file import set_value, write_env
from composed.env.settings import Settings, assignments, read_text
from composed.errors import PortTakenError
from composed.findings import Finding, State
from composed.gateway import Gateway
from composed.ports.holders import holder
from composed.ports.published import Published, in_the_way, is_taken, next_free
from composed.terminal import say

__all__ = ["findings", "give_way", "with_choice"]

# The value stands in the comment as well: who edits the line below takes it over.
_CHOICE = r"^# \d+ was taken: inv chose {name}=(\d+)\. .*\n{name}=\1[ \t]*$"


class _Taken(NamedTuple):
    """A port that is taken, its setting, who has it, one that is free; "" is unknown."""

    at: Published
    setting: str
    holder: str
    free: int

    def __str__(self) -> str:
        by = f" by {self.holder}" if self.holder else ""
        return f"Port {self.at.port}, for {self.at.service}, is taken{by}"


def give_way(
    gateway: Gateway,
    settings: Settings,
    taken: Mapping[Published, str],
    *,
    avoid: Collection[int] = (),
    strict: bool = False,
) -> dict[str, int]:
    """Choose the next free port for each that is taken; return them by their setting.

    ``taken`` maps each to the setting that governs it, or to "". Raises
    :class:`PortTakenError` when ``strict``, with ``CI=true``, and for a port
    that was not left to ``inv``.
    """
    strict = strict or os.environ.get("CI") == "true"
    fixed = {at for at, name in taken.items() if strict or not _is_left_to_us(name, settings)}
    # One that is taken on IPv6's localhost alone can be had by who insists.
    found = [
        _look(gateway, at, name, {*avoid, *(other.port for other in taken)})
        for at, name in taken.items()
        if at not in fixed or is_taken(gateway, at.host, at.port)
    ]
    if any(one.at in fixed for one in found):
        raise _refusal(found, settings)
    for one in found:
        _keep(one, settings)
    return {one.setting: one.free for one in found}


def _look(gateway: Gateway, at: Published, setting: str, avoid: Collection[int]) -> _Taken:
    return _Taken(
        at, setting, holder(gateway, at.port), next_free(gateway, at.host, at.port, avoid)
    )


def _is_left_to_us(name: str, settings: Settings) -> bool:
    """Say whether the port is the default's, or one that we chose before."""
    if not name or name in os.environ:
        return False
    text = read_text(settings.file_of(name))
    return not assignments(text).get(name) or _chosen(text, name) == assignments(text)[name]


def _chosen(text: str, name: str) -> str:
    found = re.search(_CHOICE.format(name=name), text, re.MULTILINE)
    return found[1] if found else ""


def with_choice(text: str, name: str, taken: int, free: int) -> str:
    """Return an env file's text with the port that was chosen, marked as such."""
    line = (
        f"# {taken} was taken: inv chose {name}={free}. Change it and it stays as it is.\n"
        f"{name}={free}"
    )
    text, times = re.subn(_CHOICE.format(name=name), line, text, flags=re.MULTILINE)
    return text if times else set_value(text, name, line)


def _keep(one: _Taken, settings: Settings) -> None:
    file = settings.file_of(one.setting)
    write_env(file, with_choice(read_text(file), one.setting, one.at.port, one.free))
    say(f"{one}: using {one.free}, kept as {one.setting} in {file.name}.")


def _refusal(found: Sequence[_Taken], settings: Settings) -> PortTakenError:
    first, *others = (f"{one}." for one in found)
    unknown = " or ".join(f"sport = :{one.at.port}" for one in found if not one.holder)
    named = {one.setting: one.free for one in found if one.setting}
    words = " ".join(f"{name}={free}" for name, free in named.items())
    return PortTakenError(
        first,
        *others,
        *([f"See by whom: sudo ss -ltnp '{unknown}'"] if unknown else []),
        *(_without_setting(one) for one in found if not one.setting),
        *([f"Use another: {words} inv up"] if words else []),
        *(_own_line(one.setting, settings) for one in found if _has_own_line(one, settings)),
    )


def _without_setting(one: _Taken) -> str:
    name = re.sub(r"\W", "_", one.at.service).upper()
    return (
        f"No setting chooses it. In the Compose file, write ${{{name}_PORT:-{one.at.port}}} for "
        f"{one.at.port}"
    )


def _has_own_line(one: _Taken, settings: Settings) -> bool:
    """Say whether the env file is where the user asked for it."""
    if one.setting in os.environ or _is_left_to_us(one.setting, settings):
        return False
    text = read_text(settings.file_of(one.setting))
    return assignments(text).get(one.setting) == str(one.at.port)


def _own_line(name: str, settings: Settings) -> str:
    return f"Or take {name} out of {settings.file_of(name).name}: inv then chooses one itself"


def findings(
    gateway: Gateway, wanted: Sequence[Published], ours: Collection[str] = ()
) -> list[Finding]:
    """Return a row for each port; ``ours`` are the ``host:port`` that the stack has."""
    has = {at for at in wanted if f"{at.host}:{at.port}" in ours}
    taken = in_the_way(gateway, [at for at in wanted if at not in has])
    return [
        _taken_row(gateway, at) if at in taken else _row(at, "ok", "ours" if at in has else "free")
        for at in wanted
    ]


def _taken_row(gateway: Gateway, at: Published) -> Finding:
    seen = f"taken by {holder(gateway, at.port) or 'something that cannot be seen'}"
    return _row(at, "warning", seen, "inv up (takes the next free one, unless you chose this)")


def _row(at: Published, state: State, seen: str, cure: str = "") -> Finding:
    return Finding(f"port {at.port} ({at.service})", state, seen, cure)
