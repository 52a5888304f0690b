"""The pending migrations, run on a copy of the database."""

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

# The backend's `shell` runs this script, because Django and the settings are there.
SCRIPT = Path(__file__).with_name("rehearsal_inside.py")
MARK = "composed: "
HEADINGS = ("MIGRATION", "TIME", "ROWS WRITTEN", "LOCKS")


@dataclass(frozen=True)
class Migration:
    """The seconds, rows written and locks of a migration; ``error`` and ``sql`` if it failed.

    ``locks`` are by table; None for a migration that is not atomic, where locks cannot be
    seen. ``rows`` are the rows in each locked table. PostgreSQL wrote the ``rewritten`` tables
    anew.
    """

    name: str
    seconds: float
    written: int
    locks: Mapping[str, str] | None
    rows: Mapping[str, int]
    rewritten: Sequence[str]
    error: str = ""
    sql: str = ""


def rehearse(stack: Stack) -> tuple[int, list[Migration]]:
    """Migrate a copy and remove the copy; return Django's exit code and the migrations tried.

    Raises :class:`SettingError` when the backend uses another kind of database.
    """
    if migrations.known(stack, stack.inside.current_url()) == []:
        return 0, []
    with data.copied(stack) as place:
        say("Migrating the copy …")
        call = f"rehearse({stack.store.place_inside(place)!r}, {stack.database_engine!r})"
        script = f"{SCRIPT.read_text(encoding='utf-8')}\n{call}\n"
        answer = stack.inside.ask_one_off("shell", "--command", script)
        return answer.code, _read(answer, stack.database_engine)


def as_table(tried: Sequence[Migration]) -> str:
    """Return a row for each migration, then the failure of the last migration, if any."""
    if not tried:
        return "No migration is pending: nothing to rehearse."
    rows = [(m.name, f"{m.seconds:.3f} s", str(m.written), _locks(m)) for m in tried]
    lines = [table([HEADINGS, *rows])]
    last = tried[-1]
    lines += [f"{last.name} failed: {last.error}"] if last.error else []
    lines += [f"SQL: {last.sql}"] if last.sql else []
    return "\n".join(lines)


def _read(answer: Answer, engine: str) -> list[Migration]:
    lines = [line.removeprefix(MARK) for line in answer.out.splitlines() if line.startswith(MARK)]
    reports = [json.loads(line) for line in lines]
    for report in reports:
        if vendor := report.get("elsewhere"):
            problem = f"Django uses {vendor}, and the copy is of {engine}: nothing was migrated."
            raise SettingError(problem, "See DATABASES in the settings of Django.")
    if answer.code and not any(report.get("error") for report in reports):
        say(answer.err.strip())  # the failure of something else than a migration
    return [Migration(**report) for report in reports]


def _locks(migration: Migration) -> str:
    """Return each table with the strongest lock, in the words of PostgreSQL's manual."""
    if migration.locks is None:
        return "not seen: it is not atomic"
    locks = []
    for table_name, mode in migration.locks.items():
        notes = [f"{migration.rows[table_name]} rows"] if table_name in migration.rows else []
        notes += ["rewritten"] if table_name in migration.rewritten else []
        locks.append(f"{table_name} {mode}" + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(locks) or "-"
