"""Runs in the project's own Django, by ``manage.py shell``: migrates a copy, and watches.

A line of JSON for each migration goes to stdout. Nothing here is imported by Composed.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

MARK = "composed: "
MODES = (
    *("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"),
    *("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
)
TABLES = """
SELECT oid, oid::regclass::text, pg_relation_filenode(oid) FROM pg_class
 WHERE relkind IN ('r', 'p', 'm') AND relpersistence <> 't'
   AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   AND relnamespace::regnamespace::text NOT LIKE 'pg_toast%' AND relname <> 'django_migrations'
"""
LOCKS = """
SELECT relation, mode FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
"""
ROWS = "SELECT count(*) FROM {}"
WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
# The locks of these are seen when the migration is recorded, in the same transaction.
UNINTERESTING = re.compile(
    r"\s*(SELECT\b|(INSERT|UPDATE|DELETE)\b(?!.*\bdjango_migrations\b))", re.IGNORECASE | re.DOTALL
)


class Watch:
    """What one migration does, statement by statement."""

    def __init__(self) -> None:
        self.written, self.sql = 0, ""
        self._postgresql = connection.vendor == "postgresql"
        self._before = self._tables()
        self._modes: dict[int, str] = {}

    def __call__(self, execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        """Run a statement for Django, then look at what it did."""
        try:
            result = execute(sql, *args)
        except Exception:
            self.sql = str(sql)
            raise
        if WRITES.match(sql) and "django_migrations" not in sql:
            self.written += max(0, args[-1]["cursor"].rowcount)
        if self._postgresql and not UNINTERESTING.match(sql):
            self._look()
        return result

    def report(self, *, atomic: bool, failed: bool) -> dict[str, Any]:
        """Return the locks on tables that were there before, their rows, and the rewritten."""
        if not self._postgresql:
            return {"locks": {"the whole file": "WRITE"}, "rows": {}, "rewritten": []}
        modes = {self._before[oid][0]: mode for oid, mode in self._modes.items()}
        after = {} if failed else self._tables()
        same = [oid for oid in after if oid in self._before]
        rewritten = [after[oid][0] for oid in same if after[oid][1] != self._before[oid][1]]
        locked = [after[oid][0] for oid in same if oid in self._modes]
        return {
            "locks": {name: _words(mode) for name, mode in sorted(modes.items())}
            if atomic
            else None,
            "rows": {name: _ask(ROWS.format(name))[0][0] for name in locked},
            "rewritten": rewritten,
        }

    def _look(self) -> None:
        """Keep the strongest lock on each table; all are held until the transaction ends."""
        for oid, mode in _ask(LOCKS):
            if oid in self._before and mode in MODES[1:]:
                self._modes[oid] = max(mode, self._modes.get(oid, mode), key=MODES.index)

    def _tables(self) -> dict[int, tuple[str, int]]:
        return {oid: (name, node) for oid, name, node in _ask(TABLES)} if self._postgresql else {}


def rehearse(place: str) -> None:
    """Migrate the database ``place``, or end when the settings lead to another."""
    name = str(connection.settings_dict["NAME"])
    if name != place and Path(name).resolve() != Path(place).resolve():
        print(f"{MARK}{json.dumps({'elsewhere': name})}", flush=True)
        raise SystemExit(1)
    apply = MigrationExecutor.apply_migration

    def watched(executor: Any, state: Any, migration: Any, *args: Any, **options: Any) -> Any:
        watch, start, error = Watch(), time.monotonic(), ""
        try:
            with connection.execute_wrapper(watch):
                return apply(executor, state, migration, *args, **options)
        except Exception as raised:
            error = str(raised).strip().partition("\n")[0] or type(raised).__name__
            raise
        finally:
            told = {"name": str(migration), "seconds": time.monotonic() - start}
            told |= {"written": watch.written, "error": error, "sql": watch.sql if error else ""}
            told |= watch.report(atomic=migration.atomic, failed=bool(error))
            print(f"{MARK}{json.dumps(told)}", flush=True)

    # Django says what is under way by a callback that is the command's own.
    MigrationExecutor.apply_migration = watched  # type: ignore[method-assign, assignment]
    call_command("migrate", interactive=False, verbosity=0)


def _ask(sql: str) -> list[Any]:
    """Ask past Django, which would watch this too."""
    with connection.connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _words(mode: str) -> str:
    """Return the lock's name as the manual of PostgreSQL writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()
