"""Which migrations the code and the database do not have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence

from composed.contract import PENDING, UNKNOWN
from composed.gateway import Answer
from composed.health.readiness import names_in
from composed.stack import Stack, url_of

__all__ = ["are_planned", "differences", "few", "known", "unapplied"]

NOTHING_PLANNED = "No planned migration operations."
_LISTED = re.compile(r"^\[([X ])\]\s+(\S+)", re.MULTILINE)


def unapplied(stack: Stack) -> list[str]:
    """Return the names of those that are pending, asked of Django in the running backend."""
    return _unapplied(_plan(stack))


def known(stack: Stack, url: str) -> list[str] | None:
    """Return the names from the backend at ``url``; None when it does not say."""
    path = stack.project.ready
    return names_in(stack.gateway.fetch(f"{url}{path}")[1], PENDING) if url and path else None


def are_planned(stack: Stack, args: Sequence[str] = ()) -> bool:
    """Ask Django whether ``migrate`` with these arguments has anything to do.

    What it refuses to plan counts as something: it may go well a moment later.
    """
    if any(word.startswith("--pr") for word in args):
        return True  # --plan would not keep it from --prune
    plan = stack.inside.ask_one_off("migrate", "--plan", *args)
    return plan.code != 0 or NOTHING_PLANNED not in plan.out


def differences(stack: Stack, applied: Sequence[str]) -> list[str]:
    """Return lines on how the database, with these migrations, differs from the code."""
    if said := _said(stack):  # at once, where Django takes seconds to start
        return _lines(*said)
    plan = _plan(stack)
    if plan.code:
        reason = (plan.err.strip().splitlines() or ["no reason given"])[-1]
        return [f"Which migrations are pending is not known: {reason}"]
    listed = [name for _, name in _LISTED.findall(plan.out)]
    return _lines(_unapplied(plan), _unknown(applied, listed))


def _said(stack: Stack) -> tuple[list[str], list[str]] | None:
    """Return what the running backend, when it has our ``/readyz``, says: pending, unknown."""
    url, path = url_of(stack.runner.ps()), stack.project.ready
    body = stack.gateway.fetch(f"{url}{path}")[1] if url and path else ""
    pending, unknown = names_in(body, PENDING), names_in(body, UNKNOWN)
    return None if pending is None or unknown is None else (pending, unknown)


def _lines(pending: Sequence[str], unknown: Sequence[str]) -> list[str]:
    lines = [f"Pending migrations: {few(pending)}", "  Type: inv migrate"] if pending else []
    if unknown:
        lines += [
            f"The code does not have: {few(unknown)}",
            "  Check out code that has, or migrate back there: inv migrate --app APP --name NAME",
        ]
    return lines


def _plan(stack: Stack) -> Answer:
    return stack.inside.ask_manage("showmigrations", "--plan")


def _unapplied(plan: Answer) -> list[str]:
    return [name for mark, name in _LISTED.findall(plan.out) if mark == " "]


def _unknown(applied: Sequence[str], listed: Sequence[str]) -> list[str]:
    """Leave out apps that the code does not have, and those with squashed migrations.

    Django forgets what a squashed migration replaces.
    """
    apps = {_app(name) for name in listed} - {_app(n) for n in listed if "_squashed_" in n}
    return [name for name in applied if _app(name) in apps and name not in listed]


def _app(name: str) -> str:
    return name.partition(".")[0]


def few(names: Sequence[str]) -> str:
    """Return the first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
