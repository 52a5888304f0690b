"""The pending migrations, run on a copy of the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from composed.data import actions as data
from composed.data import migrations
from composed.errors import SettingError
from composed.gateway import Answer
from composed.stack import Stack
from composed.terminal import say, table

__all__ = ["Migration", "Rehearsal", "as_table", "rehearse"]

# Django's part: the project's own `shell` runs it, where Django and the settings are.
SCRIPT = Path(__file__).with_name("rehearsal_inside.py")
MARK = "composed: "
HEADINGS = ("MIGRATION", "TIME", "ROWS WRITTEN", "LOCKS")


@dataclass(frozen=True)
class Migration:
    """What one migration did: seconds, rows written by statement, locks on tables there before.

    ``rewritten`` are tables that PostgreSQL wrote anew; ``rows`` is how many each
    locked table has. Locks are None where they could not be seen: it was not atomic.
    ``error`` and ``sql`` are empty unless it failed.
    """

    name: str
    seconds: float
    written: int
    locks: Mapping[str, str] | None
    rows: Mapping[str, int]
    rewritten: Sequence[str]
    error: str = ""
    sql: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """How it went: the migrations that were tried, and Django's exit code."""

    code: int
    migrations: Sequence[Migration]


def rehearse(stack: Stack) -> Rehearsal:
    """Migrate a copy, of which nothing is left; in a dry run say what would copy it.

    Raises :class:`SettingError` when the backend cannot be pointed at the copy.
    """
    if migrations.known(stack, stack.inside.current_url()) == []:
        return Rehearsal(0, [])
    with data.copied(stack) as place:
        say("Migrating the copy …")
        script = f"{SCRIPT.read_text(encoding='utf-8')}\nrehearse({place!r})\n"
        settings = stack.store.pointed_at(place)
        answer = stack.inside.ask_one_off("shell", "--command", script, env=settings)
        return _read(answer, next(iter(settings)))


def as_table(rehearsal: Rehearsal) -> str:
    """Return a row for each migration, then why the last one failed, if it did."""
    tried = rehearsal.migrations
    if not tried:
        return "No migration is pending: nothing to rehearse."
    lines = [table([HEADINGS, *map(_row, tried)])]
    if error := tried[-1].error:
        lines += [f"{tried[-1].name} failed: {error}", *_sql(tried[-1])]
    return "\n".join(lines)


def _read(answer: Answer, setting: str) -> Rehearsal:
    lines = [line.removeprefix(MARK) for line in answer.out.splitlines() if line.startswith(MARK)]
    found = [json.loads(line) for line in lines]
    for line in found:
        if other := line.get("elsewhere"):
            raise SettingError(
                f"With another {setting}, the backend still uses {other}: nothing was migrated.",
                f"Have its settings take the database from {setting}.",
            )
    if answer.code and not any(line.get("error") for line in found):
        say(answer.err.strip())  # it failed, but not in a migration
    return Rehearsal(answer.code, [Migration(**line) for line in found])


def _row(it: Migration) -> tuple[str, ...]:
    return (it.name, f"{it.seconds:.3f} s", str(it.written), _locks(it))


def _locks(it: Migration) -> str:
    """Name each table with its strongest lock, in the words of PostgreSQL's manual."""
    if it.locks is None:
        return "not seen: it is not atomic"
    return ", ".join(f"{name} {mode}{_size(it, name)}" for name, mode in it.locks.items()) or "-"


def _size(it: Migration, name: str) -> str:
    said = [f"{it.rows[name]} rows"] if name in it.rows else []
    said += ["rewritten"] if name in it.rewritten else []
    return f" ({', '.join(said)})" if said else ""


def _sql(it: Migration) -> list[str]:
    return [f"SQL: {it.sql}"] if it.sql else []
