"""Migrates a copy in the project's own Django, by ``manage.py shell``, and watches.

Prints a line of JSON for each migration. Composed imports nothing from here.
"""

import json
import re
import time
from collections.abc import Callable
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
# Their locks are still seen when the same transaction records the migration.
UNINTERESTING = re.compile(
    r"\s*(SELECT\b|(INSERT|UPDATE|DELETE)\b(?!.*\bdjango_migrations\b))", re.IGNORECASE | re.DOTALL
)


class Watch:
    """The rows and locks of one migration, statement by statement."""

    def __init__(self) -> None:
        self.written, self.sql = 0, ""
        self._postgresql = connection.vendor == "postgresql"
        self._before = self._tables()
        self._modes: dict[int, str] = {}

    def __call__(self, execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        """Run a statement for Django, then look at the rows and locks."""
        try:
            result = execute(sql, *args)
        except Exception:
            self.sql = str(sql)
            raise
        if WRITES.match(sql) and "django_migrations" not in sql:
            self.written += max(0, args[-1]["cursor"].rowcount)
        if self._postgresql and not UNINTERESTING.match(sql):
            # The strongest lock on each table; all are held until the transaction ends.
            for oid, mode in _ask(LOCKS):
                if oid in self._before and mode in MODES[1:]:
                    self._modes[oid] = max(mode, self._modes.get(oid, mode), key=MODES.index)
        return result

    def report(self, *, atomic: bool, failed: bool) -> dict[str, Any]:
        """Return the locks on tables from before, the rows in them, and the rewritten tables."""
        if not self._postgresql:
            return {"locks": {"the whole file": "WRITE"}, "rows": {}, "rewritten": []}
        modes = sorted((self._before[oid][0], mode) for oid, mode in self._modes.items())
        after = {} if failed else self._tables()
        same = [oid for oid in after if oid in self._before]
        locked = [after[oid][0] for oid in same if oid in self._modes]
        return {
            "locks": {name: _words(mode) for name, mode in modes} if atomic else None,
            "rows": {name: _ask(ROWS.format(name))[0][0] for name in locked},
            "rewritten": [after[oid][0] for oid in same if after[oid][1] != self._before[oid][1]],
        }

    def _tables(self) -> dict[int, tuple[str, int]]:
        return {oid: (name, node) for oid, name, node in _ask(TABLES)} if self._postgresql else {}


def rehearse(place: str, vendor: str) -> None:
    """Migrate the database ``place``; end if Django uses a database of another vendor.

    The connection gets the place before it connects, so no setting has to lead there. A server
    other than the one that has the copy refuses the name.
    """
    if connection.vendor != vendor:
        print(f"{MARK}{json.dumps({'elsewhere': connection.vendor})}", flush=True)
        raise SystemExit(1)
    connection.close()  # an app may have asked the database while it was loaded
    if hasattr(connection, "close_pool"):  # Django 5.1; the pool belongs to the old name
        connection.close_pool()
    connection.settings_dict["NAME"] = place
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
            report = {"name": str(migration), "seconds": time.monotonic() - start}
            report |= {"written": watch.written, "error": error, "sql": watch.sql if error else ""}
            report |= watch.report(atomic=migration.atomic, failed=bool(error))
            print(f"{MARK}{json.dumps(report)}", flush=True)

    # The only callback of Django that names the migration belongs to the command.
    MigrationExecutor.apply_migration = watched  # type: ignore[method-assign, assignment]
    call_command("migrate", interactive=False, verbosity=0)


def _ask(sql: str) -> list[Any]:
    """Return rows past Django's cursor, which would watch this statement too."""
    with connection.connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _words(mode: str) -> str:
    """Return the lock's name as PostgreSQL's manual writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()
