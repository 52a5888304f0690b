"""Django's migrate, one at a time, that says which migration failed at which SQL."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import DatabaseError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Command"]

_KEY = 0x7461736B5F617069  # "task_api" in ASCII: PostgreSQL's advisory locks have numbers
_RETRY = 0.2


class Command(migrate.Command):
    """Migrates under a lock that ends with this process, however that ends."""

    _migration = ""

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for another migrate, then run Django's; mere questions wait for nobody."""
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        with _lock(connection, self._say_waiting), self._failure_named(connection):
            super().handle(*args, **options)

    def migration_progress_callback(
        self, action: str, migration: Any = None, fake: bool = False
    ) -> None:
        """Note which migration is under way."""
        if migration:
            self._migration = str(migration) if action.endswith("_start") else ""
        super().migration_progress_callback(action, migration, fake)

    @contextmanager
    def _failure_named(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Name what failed, in one line: those that may follow quote people's data."""
        failed: dict[BaseException, str] = {}

        def keep(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
            try:
                return execute(sql, *args)
            except DatabaseError as error:
                failed[error] = sql
                raise

        try:
            with connection.execute_wrapper(keep):
                yield
        except Exception as error:
            if not self._migration:
                raise
            self.stdout.write("")  # ends Django's "Applying …"
            chain = _with_contexts(error) if isinstance(error, Error) else ()
            cause = next((it for it in chain if it in failed), None)
            if not cause:
                self.stderr.write(f"{self._migration} failed:")
                raise
            reason = str(cause).partition("\n")[0]
            raise CommandError(
                f"{self._migration} failed: {reason}\nSQL: {failed[cause]}"
            ) from error

    def _say_waiting(self) -> None:
        self.stderr.write("Another migrate is running: waiting for it to end.")


def _with_contexts(error: BaseException | None) -> Iterator[BaseException]:
    """Give the error and those it was raised upon.

    Where the connection is lost, to leave the transaction fails as well.
    """
    while error:
        yield error
        error = error.__context__


@contextmanager
def _lock(connection: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the database's migration lock."""
    if connection.vendor == "postgresql":
        with _postgresql_lock(connection, say_waiting):
            yield
    elif connection.vendor == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        with _file_lock(Path(f"{connection.settings_dict['NAME']}.migrate.lock"), say_waiting):
            yield
    else:
        yield


@contextmanager
def _postgresql_lock(
    connection: BaseDatabaseWrapper, say_waiting: Callable[[], None]
) -> Iterator[None]:
    with connection.cursor() as cursor:
        # A limit may also come from the role or the database: a migration has none.
        cursor.execute("SET statement_timeout = 0")

        def acquired() -> bool:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_KEY])
            return bool(cursor.fetchone()[0])

        # Asked again and again, as a query that waits can neither be interrupted with Ctrl-C
        # nor stand beside CREATE INDEX CONCURRENTLY, which waits for every open query.
        _wait_until(acquired, say_waiting)
    try:
        yield
    finally:
        # A lost connection has lost its lock already.
        if connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_KEY])


@contextmanager
def _file_lock(path: Path, say_waiting: Callable[[], None]) -> Iterator[None]:
    with path.open("w") as file:

        def acquired() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait_until(acquired, say_waiting)
        # The file stays: whoever removed it could remove the one that somebody just locked.
        yield


def _wait_until(acquired: Callable[[], bool], say_waiting: Callable[[], None]) -> None:
    if acquired():
        return
    say_waiting()
    while not acquired():
        time.sleep(_RETRY)
