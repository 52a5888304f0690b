"""The data of a SQLite file, by the backup API: servers that use the file go on running."""

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from composed.calls import Calls
from composed.database import MADE_BY_MIGRATE, Database, Dump, Facts, identifier
from composed.errors import DataError, InputOutputError, NotFoundError
from composed.terminal import Progress

SECONDS_TO_WAIT = 20.0  # for a lock, as long as the server's own connections
PAGES_AT_ONCE = 4096
SIDE_FILES = ("-wal", "-shm", "-journal")

TABLES = """
SELECT name FROM sqlite_master
 WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY name
"""
APPLIED = "SELECT app || '.' || name FROM django_migrations ORDER BY id"


class SQLite(Database):
    """The database in ``file``; a killed restore leaves ``scratch`` and a record in ``swaps``."""

    engine = "sqlite"

    def __init__(self, file: Path, scratch: Path, swaps: Calls) -> None:
        self._file, self._scratch, self._swaps = file, scratch, swaps

    def check_version(self, version: str) -> None:
        """Accept every version: the file format is the same since 2004."""

    def dump(self, file: Path) -> tuple[Facts, str]:
        """Copy the pages as they were at one moment; writers do not wait."""
        self._check_exists()
        with self._open() as live, _connected(file) as target:
            live.execute("BEGIN")
            facts = _facts(live)  # this read fixes the moment for the backup too
            _copy(live, target, "Dumping")
            target.execute("PRAGMA journal_mode = DELETE")  # a single file, without a log
        with _errors(file), _connected(file) as copy:
            _check(copy, file)
        with file.open("rb") as whole:
            return facts, f"sha256:{hashlib.file_digest(whole, 'sha256').hexdigest()}"

    def check(self, dump: Dump) -> None:
        """Accept every dump: :meth:`replace` checks a copy and never touches the file itself."""

    def replace(self, dump: Dump) -> Facts:
        with self._beside() as copy:
            with _errors(dump.file):
                copy.touch()
                for suffix in ("", *SIDE_FILES):
                    if (part := _part(dump.file, suffix)).exists():
                        shutil.copyfile(part, _part(copy, suffix))
                with _connected(copy) as source:
                    _check(source, dump.file)
                    facts = _facts(source)
                    facts.check(dump.rows)
            self._fill(copy, "Restoring")
        return facts

    def reset(self) -> None:
        self._fill(Path(":memory:"), "Emptying")

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

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with _errors(self._file), _connected(self._file) as live:
            yield live

    def _fill(self, file: Path, label: str) -> None:
        with self._open() as live, _connected(file) as source:
            # In WAL mode the page size of the live file cannot change.
            (wanted,) = live.execute("PRAGMA page_size").fetchone()
            if source.execute("PRAGMA page_size").fetchone()[0] != wanted:
                source.execute("PRAGMA journal_mode = DELETE")
                source.execute(f"PRAGMA page_size = {wanted}")
                source.execute("VACUUM")
            _copy(source, live, label)


@contextlib.contextmanager
def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file, timeout=SECONDS_TO_WAIT)) as connection:
        connection.isolation_level = None  # no BEGIN but the one in `dump`
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


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, label: str) -> None:
    """Back up in one transaction of the target."""
    page = source.execute("PRAGMA page_size").fetchone()[0]
    with Progress(label) as progress:
        source.backup(
            target,
            pages=PAGES_AT_ONCE,
            progress=lambda _, left, total: progress.reach((total - left) * page),
        )


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
