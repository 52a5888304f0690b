"""Applies migrations so that there is a way back."""

from __future__ import annotations

from collections.abc import Sequence

from composed.data import actions as data
from composed.data import migrations
from composed.data.snapshots import Snapshot
from composed.errors import end_with
from composed.stack import Stack
from composed.terminal import say

__all__ = ["migrate"]

READING = frozenset(("--plan", "--check", "--help", "-h"))


def migrate(
    stack: Stack, args: Sequence[str] = (), *, safety: bool = True, rollback: bool = False
) -> None:
    """Run ``migrate``, after a snapshot when it will change data; ends as it ended.

    With ``rollback`` the snapshot is restored when it fails.
    """
    guarded = safety and not stack.gateway.dry and _changes_data(stack, args, rollback=rollback)
    taken = data.snapshot(stack, reason="before migrate") if guarded else None
    if taken:
        say(f"Snapshot taken: {taken.name}")
    code = stack.inside.manage("migrate", *args)
    if code and guarded:
        say(f"migrate ended with {code}; the reason stands above.")
        _go_back(stack, taken) if rollback else _say_how(taken)
    end_with(code)


def _changes_data(stack: Stack, args: Sequence[str], *, rollback: bool) -> bool:
    """Ask as little as possible: the database, the backend that runs, last Django anew.

    To roll back, rows that only ``migrate`` made are worth a snapshot too.
    """
    if READING & {*args} or not (rollback or data.has_rows(stack)):
        return False
    names = None if args else migrations.known(stack, stack.inside.current_url())
    return bool(names) or (names is None and migrations.are_planned(stack, args))


def _go_back(stack: Stack, taken: Snapshot | None) -> None:
    if not taken:
        data.reset(stack, safety=False)
        say("Rolled back: the database is empty, as it was.")
    else:
        say(f"Rolled back to {taken.name}: {data.restore(stack, taken).count}.")


def _say_how(taken: Snapshot | None) -> None:
    if taken:
        say(f"  What was there before: inv db.restore --name {taken.name}")
