"""Django's migrate under a lock; on failure, name the migration and the SQL."""

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
    """Migrate under a lock that ends with this process, even by SIGKILL."""

    _migration = ""

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the lock, then run Django's migrate; --plan and --check do not wait."""
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        with _lock(connection, self._say_waiting), self._failure_named(connection):
            super().handle(*args, **options)

    def migration_progress_callback(
        self, action: str, migration: Any = None, fake: bool = False
    ) -> None:
        """Note the name of the migration under way."""
        if migration:
            self._migration = str(migration) if action.endswith("_start") else ""
        super().migration_progress_callback(action, migration, fake)

    @contextmanager
    def _failure_named(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Name the migration and the SQL; the error's first line alone: the rest may quote data."""
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
            cause = next((link for link in chain if link in failed), None)
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
    """Yield the error and every earlier error of the chain.

    After a lost connection, the end of the transaction fails as well and hides the cause.
    """
    while error:
        yield error
        error = error.__context__


@contextmanager
def _lock(connection: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the migration lock of the database."""
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
        # The role or the database may have a limit: none applies to a migration.
        cursor.execute("SET statement_timeout = 0")

        def acquired() -> bool:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_KEY])
            return bool(cursor.fetchone()[0])

        # Polled: a waiting query cannot be interrupted with Ctrl-C, and would block
        # CREATE INDEX CONCURRENTLY, which waits for every open query.
        _wait_until(acquired, say_waiting)
    try:
        yield
    finally:
        # A lost connection has lost the lock already.
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
        # The file stays: another process may hold the lock by now.
        yield


def _wait_until(acquired: Callable[[], bool], say_waiting: Callable[[], None]) -> None:
    if acquired():
        return
    say_waiting()
    while not acquired():
        time.sleep(_RETRY)
