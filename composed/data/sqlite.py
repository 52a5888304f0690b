"""The data of a SQLite file, by the backup API: copies are made while servers use the file."""

import contextlib
import hashlib
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from composed.calls import Calls
from composed.database import MADE_BY_MIGRATE, SIDE_FILES, Database, Dump, Facts, identifier
from composed.errors import DataError, InputOutputError, NotFoundError
from composed.machine import users_of
from composed.terminal import Progress

Stopped = AbstractContextManager[None]

SECONDS_TO_WAIT = 20.0  # for a lock, as long as the server's own connections
SECONDS_FOR_READERS = 1.0  # to close the file: the server has ended
SECONDS_BETWEEN_LOOKS = 0.05
PAGES_AT_ONCE = 4096

TABLES = """
SELECT name FROM sqlite_master
 WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY name
"""
APPLIED = "SELECT app || '.' || name FROM django_migrations ORDER BY id"


class SQLite(Database):
    """The database in ``file``; a killed restore leaves ``scratch`` and a record in ``swaps``."""

    engine = "sqlite"

    def __init__(
        self, file: Path, scratch: Path, swaps: Calls, stopped: Callable[[], Stopped]
    ) -> None:
        self._file, self._scratch, self._swaps, self._stopped = file, scratch, swaps, stopped
        self._live: sqlite3.Connection | None = None  # keeps all others out
        self._guard: sqlite3.Connection | None = None  # keeps other writers out

    def check_version(self, version: str) -> None:
        """Accept every version: the file format is the same since 2004."""

    def dump(self, file: Path) -> tuple[Facts, str]:
        """Copy the pages as they were at one moment; writers do not wait."""
        self._check_exists()
        with self._open() as live, _connected(file) as target:
            live.execute("BEGIN")
            facts = _facts(live)  # this read fixes the moment for the backup too
            _copy(live, target, "Dumping")
            live.execute("COMMIT")
            target.execute("PRAGMA journal_mode = DELETE")  # a single file, without a log
        with _errors(file), _connected(file) as copy:
            _check(copy, file)
        with file.open("rb") as whole:
            return facts, f"sha256:{hashlib.file_digest(whole, 'sha256').hexdigest()}"

    def check(self, dump: Dump) -> None:
        """Accept every dump: :meth:`prepared` checks a copy and never touches the file itself."""

    @contextlib.contextmanager
    def prepared(self, dump: Dump | None) -> Iterator[Facts]:
        with self._beside() as copy:
            yield self._filled(copy, dump) if dump else Facts("", (), {})

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Stop the server, and keep all other programs from writing."""
        with self._stopped(), self.alone():
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all others from writing; raise :class:`InputOutputError` while one of them does."""
        with self._exclusive() as live:
            if live:
                yield
                return
        # In WAL mode a program that only has the file open forbids the exclusive lock.
        with self._open() as guard:
            if not _begins(guard, "IMMEDIATE", SECONDS_TO_WAIT):
                raise self._in_use()
            self._guard = guard
            try:
                yield
            finally:
                self._guard = None

    @contextlib.contextmanager
    def given_up(self, remove: Callable[[], None]) -> Iterator[None]:
        """Keep all others out, and call ``remove`` at the end of the block, before they get in.

        A program that has the file open could go on writing to the removed file, without an
        error: raise :class:`InputOutputError` when there is one.
        """
        with self._exclusive() as live:
            if not live:
                raise self._in_use("used")
            self._wait_for_users()
            yield
            # A program that opens the file in the block waits for the lock. Then SQLite forbids it
            # to write, since the file is gone: a file with a log (WAL) it would go on writing.
            live.execute("PRAGMA journal_mode = DELETE")
            remove()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the only connection that reads or writes; None while others forbid that."""
        with self._open() as live:
            live.execute("PRAGMA locking_mode = EXCLUSIVE")  # from the next lock to the end
            if _begins(live, "EXCLUSIVE", SECONDS_FOR_READERS):
                live.execute("COMMIT")
                self._live = live
                try:
                    yield live
                finally:
                    self._live = None
                return
        yield None

    def _wait_for_users(self) -> None:
        end = time.monotonic() + SECONDS_FOR_READERS
        while users_of(self._file):
            if time.monotonic() > end:
                raise self._in_use("used")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def swap(self) -> None:
        source = self._scratch if self._scratch.exists() else Path(":memory:")
        with self._open() as live, _connected(source) as new:
            # In WAL mode the page size of the live file cannot change.
            (wanted,) = live.execute("PRAGMA page_size").fetchone()
            if new.execute("PRAGMA page_size").fetchone()[0] != wanted:
                new.execute("PRAGMA journal_mode = DELETE")
                new.execute(f"PRAGMA page_size = {wanted}")
                new.execute("VACUUM")
            if new.execute("PRAGMA page_count").fetchone()[0] < 2:  # for a check between two pages
                new.execute("CREATE TABLE composed (x)")
                new.execute("DROP TABLE composed")
            with self._unchanged() as check:
                waits_until = time.monotonic() + SECONDS_TO_WAIT

                def look(code: int, left: int) -> None:
                    nonlocal waits_until
                    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # tried again for ever
                        if time.monotonic() > waits_until:
                            raise self._in_use("used")
                        return
                    waits_until = time.monotonic() + SECONDS_TO_WAIT
                    if left:
                        check()

                _copy(new, live, "Restoring", look)

    @contextlib.contextmanager
    def _unchanged(self) -> Iterator[Callable[[], None]]:
        """Let go of the guard; yield a check that nobody has written since."""
        if not self._guard:
            yield lambda: None
            return
        with self._open() as other:
            version = other.execute("PRAGMA data_version").fetchone()
            self._guard.execute("ROLLBACK")

            def check() -> None:
                if other.execute("PRAGMA data_version").fetchone() != version:
                    raise self._in_use()

            yield check

    def prove(self, dump: Dump) -> None:
        """Compare the rows; :meth:`dump` has checked every page, and a restore copies pages."""
        with _errors(dump.file), _connected(dump.file) as copy:
            _facts(copy).check(dump.rows)

    def make(self, dump: Dump) -> None:
        """Do nothing: SQLite makes a missing file."""

    def has_rows(self) -> bool:
        """Look for a first row in each table; a missing file is not made."""
        if not self._file.exists():
            return False
        with self._open() as live:
            tables = {name for (name,) in live.execute(TABLES)} - {*MADE_BY_MIGRATE}
            first = "SELECT 1 FROM {} LIMIT 1"
            return any(live.execute(first.format(identifier(name))).fetchone() for name in tables)

    @contextlib.contextmanager
    def copied(self) -> Iterator[str]:
        self._check_exists()
        with self._beside() as copy:
            with self._open() as live, _connected(copy) as target:
                _wait_for_others(live)
                _copy(live, target, "Copying")
            yield str(copy)

    def heal(self) -> None:
        """Remove the copy that a killed restore left, and the files beside the copy."""
        for file in self._scratch.parent.glob(f"{self._scratch.name}*"):
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[Path]:
        with self._swaps.under_way(keep_failed=True):
            self.heal()
            try:
                yield self._scratch
            finally:
                self.heal()

    def _check_exists(self) -> None:
        if not self._file.exists():
            raise NotFoundError(f"There is no {self._file}.", "Type: inv migrate")

    def _filled(self, copy: Path, dump: Dump) -> Facts:
        """Copy a dump, check the copy, and return the facts."""
        with _errors(dump.file):
            copy.touch(mode=0o600)
            with copy.open("wb") as whole:
                whole.writelines(dump.chunks())  # a foreign file may be packed
            for suffix in SIDE_FILES:
                if (part := _part(dump.file, suffix)).exists():
                    shutil.copyfile(part, _part(copy, suffix))
            with _connected(copy) as source:
                _check(source, dump.file)
                facts = _facts(source)
                facts.check(dump.rows)
        return facts

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with _errors(self._file):
            if self._live:
                yield self._live
                return
            with _connected(self._file) as live:
                yield live

    def _in_use(self, how: str = "written") -> InputOutputError:
        users = ", ".join(f"{name} (PID {pid})" for pid, name in users_of(self._file).items())
        problem = f"{self._file} is {how} by {users or 'another program'}."
        return InputOutputError(f"{problem} The database is as it was.", "Stop the program first.")


def client(file: Path, args: Sequence[str], command: str = "") -> list[str]:
    """Return the command line of a client of SQLite; raises :class:`NotFoundError` without one."""
    if not file.exists():
        raise NotFoundError(f"There is no {file}.", "Type: inv migrate")
    program = ["sqlite3"] if shutil.which("sqlite3") else [sys.executable, "-m", "sqlite3"]
    if program[0] != "sqlite3" and sys.version_info < (3, 12):
        raise NotFoundError("There is no sqlite3 command here.", "Type: inv shell --django")
    return [*program, *args, str(file), *([command] if command else [])]


@contextlib.contextmanager
def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file, timeout=SECONDS_TO_WAIT)) as connection:
        connection.isolation_level = None  # no BEGIN but ours
        yield connection


@contextlib.contextmanager
def _errors(file: Path) -> Iterator[None]:
    """Raise the errors of SQLite in our words, with the name of the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputOutputError(f"{file} failed: {error}. The database is as it was.") from None
    except sqlite3.DatabaseError as error:
        raise DataError(f"{file} is damaged: {error}. The database is as it was.") from None


def _wait_for_others(live: sqlite3.Connection) -> None:
    """Begin to read; raise when a writer goes on for too long, where a backup would wait on."""
    live.execute("BEGIN")
    live.execute("SELECT * FROM sqlite_master LIMIT 1").fetchall()


def _begins(live: sqlite3.Connection, kind: str, seconds: float) -> bool:
    """Begin a transaction; return whether its lock was free within the time."""
    live.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    try:
        live.execute(f"BEGIN {kind}")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


def _copy(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    label: str,
    check: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Back up in one transaction of the target.

    ``check`` gets SQLite's code of each step and the number of pages left, and may raise.
    """
    page = source.execute("PRAGMA page_size").fetchone()[0]
    # The last page ends the transaction.
    pages = max(1, min(PAGES_AT_ONCE, source.execute("PRAGMA page_count").fetchone()[0] - 1))
    with Progress(label) as progress:

        def look(code: int, left: int, total: int) -> None:
            check(code, left)
            progress.reach((total - left) * page)

        source.backup(target, pages=pages, progress=look)


def _facts(connection: sqlite3.Connection) -> Facts:
    tables = [name for (name,) in connection.execute(TABLES)]
    count = "SELECT count(*) FROM {}"
    rows = {t: connection.execute(count.format(identifier(t))).fetchone()[0] for t in tables}
    names = connection.execute(APPLIED) if "django_migrations" in rows else ()
    return Facts(sqlite3.sqlite_version, tuple(name for (name,) in names), rows)


def _check(connection: sqlite3.Connection, file: Path) -> None:
    (result,) = connection.execute("PRAGMA integrity_check").fetchone()
    if result != "ok":
        raise DataError(f"{file} is damaged: {result}.")


def _part(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
