"""Applies migrations after a snapshot, the way back from a migration that fails."""

from collections.abc import Sequence

from composed.data import actions as data
from composed.data import migrations
from composed.errors import NotSupportedError, OtherDatabaseError, end_with
from composed.stack import Stack
from composed.terminal import say

READING = frozenset(("--plan", "--check", "--help", "-h"))


def migrate(
    stack: Stack, args: Sequence[str] = (), *, safety: bool = True, rollback: bool = False
) -> None:
    """Run Django's ``migrate``, after a snapshot when data will change; end with the exit code."""
    guarded = safety and not stack.gateway.dry
    try:
        guarded = guarded and _changes_data(stack, args, rollback=rollback)
    except NotSupportedError as error:
        say(f"No snapshot is taken. {error.problem}")
        guarded = False
    except OtherDatabaseError as error:
        without = "To migrate without a snapshot: inv migrate --no-snapshot"
        raise OtherDatabaseError(error.problem, *error.hints, without) from None
    taken = data.snapshot(stack, reason="before migrate") if guarded else None
    code = stack.inside.manage("migrate", *args)
    if code and guarded:
        say(f"migrate ended with {code}; the reason stands above.")
        if rollback and taken:
            say(f"Rolled back to {taken.name}: {data.restore(stack, taken).count}.")
        elif rollback:
            data.reset(stack, only_rows=True)
            say("Rolled back: the database is empty, as before.")
        elif taken:
            say(f"  To bring the data back: inv db.restore --name {taken.name}")
    end_with(code)


def _changes_data(stack: Stack, args: Sequence[str], *, rollback: bool) -> bool:
    """Ask the cheapest source first: the database, the running backend, then a new Django.

    For a rollback, rows that only ``migrate`` made are worth a snapshot too.
    """
    if READING & {*args} or not (rollback or data.has_rows(stack)):
        return False
    names = None if args else migrations.known(stack, stack.inside.current_url())
    return bool(names) or (names is None and migrations.are_planned(stack, args))
