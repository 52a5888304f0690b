"""The interface of a stack's database: what can be done with its data as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from composed.errors import DataError

__all__ = ["CHUNK", "MADE_BY_MIGRATE", "Database", "Dump", "Facts", "identifier", "literal"]

CHUNK = 1 << 20  # bytes of a file or a pipe that are read at once

# What an empty database has rows in once it is migrated: no loss when it is all there is.
MADE_BY_MIGRATE = ("django_migrations", "django_content_type", "auth_permission", "django_site")


@dataclass(frozen=True)
class Facts:
    """What a database holds at one moment: its version, applied migrations, rows by table."""

    version: str
    migrations: tuple[str, ...]
    rows: Mapping[str, int]

    @property
    def count(self) -> str:
        """The tables and rows for people."""
        return f"{_number(len(self.rows), 'table')}, {_number(sum(self.rows.values()), 'row')}"

    def check(self, expected: Mapping[str, int]) -> None:
        """Raise :class:`DataError` when a table has not as many rows as ``expected``."""
        for table, rows in expected.items():
            if self.rows.get(table) != rows:
                raise DataError(
                    f"After the restore {table} has {self.rows.get(table, 'no')} rows where the "
                    f"manifest has {rows}. The database is as it was."
                )


class Dump(Protocol):
    """A file with a database in it; ``kind`` is custom, sql or sqlite.

    A ``foreign`` one was made elsewhere: its ``rows`` and its roles are unknown.
    """

    @property
    def title(self) -> str:
        """What it is called when somebody is asked."""

    @property
    def kind(self) -> str:
        """What the file is."""

    @property
    def file(self) -> Path:
        """Where it is."""

    @property
    def rows(self) -> Mapping[str, int]:
        """How many rows each table has to have after a restore."""

    @property
    def foreign(self) -> bool:
        """Whether it was made elsewhere."""

    def chunks(self) -> Iterator[bytes]:
        """Give its contents, unpacked, piece by piece."""


class Database(ABC):
    """A database that answers; its methods raise a :class:`~composed.errors.ComposedError`."""

    engine: str

    @abstractmethod
    def check_version(self, version: str) -> None:
        """Raise :class:`DataError` when data of that version is too new for this server."""

    @property
    def commands(self) -> Mapping[str, list[str]]:
        """The command lines of "dump" and "restore", for a dry run to show."""
        return {}

    @abstractmethod
    def dump(self, file: Path) -> tuple[Facts, str]:
        """Write all data to a file that is there and empty.

        Returns the facts of that very moment and the file's SHA-256.
        """

    @abstractmethod
    def check(self, dump: Dump) -> None:
        """Raise :class:`DataError` when this is no dump that ``replace`` could take."""

    @abstractmethod
    def replace(self, dump: Dump) -> Facts:
        """Put the dump's data in place of the live data, whole or not at all.

        It is restored beside the live database, its rows are held against
        ``dump.rows``, then the two are swapped. Whatever fails before leaves the
        live data as it was.
        """

    @abstractmethod
    def reset(self) -> None:
        """Put an empty database in place of the live one."""

    @abstractmethod
    def has_rows(self) -> bool:
        """Say whether a table has rows, other than those of ``MADE_BY_MIGRATE``."""

    @abstractmethod
    def copied(self) -> AbstractContextManager[str]:
        """Give a copy, by name or path, that is gone when the block ends, however it does."""


def identifier(name: str) -> str:
    """Return a name in the double quotes of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Return a text in the single quotes of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
