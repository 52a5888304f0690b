"""The differences between the migrations of the code and of the database."""

import re
from collections.abc import Sequence

from composed.contract import PENDING, UNKNOWN
from composed.gateway import Answer
from composed.health.waiting import names_in
from composed.stack import Stack, url_of

NOTHING_PLANNED = "No planned migration operations."
_LISTED = re.compile(r"^\[([X ])\]\s+(\S+)", re.MULTILINE)


def unapplied(stack: Stack) -> list[str]:
    """Return the names of the pending migrations, from Django in the running backend."""
    return _unapplied(stack.inside.ask_manage("showmigrations", "--plan"))


def known(stack: Stack, url: str) -> list[str] | None:
    """Return the pending migrations that the backend at ``url`` names; None without an answer."""
    return names_in(_ready(stack, url), PENDING)


def are_planned(stack: Stack, args: Sequence[str] = ()) -> bool:
    """Return whether Django's ``migrate`` with these arguments has anything to do.

    A plan that Django refuses counts as true: the plan may be possible a moment later.
    """
    if any(word.startswith("--pr") for word in args):
        return True  # --prune prunes even with --plan
    plan = stack.inside.ask_one_off("migrate", "--plan", *args)
    return plan.code != 0 or NOTHING_PLANNED not in plan.out


def differences(stack: Stack, applied: Sequence[str]) -> list[str]:
    """Return lines on how a database with the migrations ``applied`` differs from the code."""
    # A running backend answers at once, where Django takes seconds to start.
    body = _ready(stack, url_of(stack.runner.ps()))
    pending, unknown = names_in(body, PENDING), names_in(body, UNKNOWN)
    if pending is None or unknown is None:
        plan = stack.inside.ask_manage("showmigrations", "--plan")
        if plan.code:
            reason = (plan.err.strip().splitlines() or ["no reason given"])[-1]
            return [f"Which migrations are pending is not known: {reason}"]
        pending, unknown = _unapplied(plan), _unknown(applied, plan)
    lines = [f"Pending migrations: {few(pending)}", "  Type: inv migrate"] if pending else []
    if unknown:
        lines += [
            f"The code does not have: {few(unknown)}",
            "  Check out code that has, or migrate back there: inv migrate --app APP --name NAME",
        ]
    return lines


def few(names: Sequence[str]) -> str:
    """Return the first three names, and the number of further names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _ready(stack: Stack, url: str) -> str:
    path = stack.project.ready
    return stack.gateway.fetch(f"{url}{path}")[1] if url and path else ""


def _unapplied(plan: Answer) -> list[str]:
    return [name for mark, name in _LISTED.findall(plan.out) if mark == " "]


def _unknown(applied: Sequence[str], plan: Answer) -> list[str]:
    """Return the applied migrations that the code lacks.

    Apps that the code lacks are left out, and apps with squashed migrations: Django does not
    list the migrations that a squashed migration replaces.
    """
    listed = [name for _, name in _LISTED.findall(plan.out)]
    apps = {_app(name) for name in listed} - {_app(name) for name in listed if "_squashed_" in name}
    return [name for name in applied if _app(name) in apps and name not in listed]


def _app(name: str) -> str:
    return name.partition(".")[0]
