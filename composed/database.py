"""The interface of a stack's database: all that the verbs do with the data as a whole."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from composed.errors import DataError
from composed.files import opened

CHUNK = 1 << 20  # bytes of a file or a pipe that are read at once

# The ends of the names of the files that SQLite has beside a database.
SIDE_FILES = ("-wal", "-shm", "-journal")

# The tables in which an empty database has rows after its migrations: worth no snapshot.
MADE_BY_MIGRATE = ("django_migrations", "django_content_type", "auth_permission", "django_site")


@dataclass(frozen=True)
class Facts:
    """The contents of a database at one moment: version, applied migrations, rows by table.

    PostgreSQL alone has a ``search_path``, and ``roles``: the commands that make the roles beside
    the role of the settings; ``objects`` counts views, functions and the like, and the tables;
    ``locale`` are the options of CREATE DATABASE.
    """

    version: str
    migrations: tuple[str, ...]
    rows: Mapping[str, int]
    search_path: str = ""
    roles: tuple[str, ...] = ()
    objects: int = 0
    locale: str = ""

    @property
    def count(self) -> str:
        """The number of tables and rows for people."""
        return f"{_number(len(self.rows), 'table')}, {_number(sum(self.rows.values()), 'row')}"

    def check(self, expected: Mapping[str, int]) -> None:
        """Raise :class:`DataError` when a table does not have as many rows as ``expected``."""
        for table, rows in expected.items():
            if self.rows.get(table) != rows:
                seen = f"After the restore {table} has {self.rows.get(table, 'no')} rows"
                wanted = f"where the manifest has {rows}"
                raise DataError(f"{seen} {wanted}. The database is as it was.")


@dataclass
class Dump:
    """A file with the data of a database; ``kind`` is custom, sql or sqlite.

    ``title`` names the dump in questions to the user. Each table must have ``rows`` after a
    restore. A ``foreign`` dump was made elsewhere: its rows and roles are unknown, and its
    ``search_path`` is taken to be that of the live database. ``database`` is empty for a dump of
    the live database; ``locale`` are the options of CREATE DATABASE. The words ``unpack`` stand
    before the command that reads :meth:`chunks`.
    """

    file: Path
    kind: str
    title: str
    rows: Mapping[str, int] = field(default_factory=dict)
    foreign: bool = True
    search_path: str = ""
    roles: Sequence[str] = ()
    database: str = ""
    locale: str = ""
    unpack: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes :meth:`chunks` yields; 0 when that is unknown."""
        return self.file.stat().st_size

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents, unpacked, piece by piece."""
        with open(opened(self.file), "rb") as file:  # noqa: PTH123  # a descriptor
            while chunk := file.read(CHUNK):
                yield chunk


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
        """Write all data to an empty file; return the facts of that moment and the SHA-256."""

    @abstractmethod
    def check(self, dump: Dump) -> None:
        """Raise :class:`DataError` when a look at the dump shows that no restore can go well."""

    @abstractmethod
    def prepared(self, dump: Dump | None) -> AbstractContextManager[Facts]:
        """Restore a dump beside the live data, which stay in use; None is an empty database.

        Raises when the restored rows are not ``dump.rows``. Without :meth:`swap` the live data
        are unchanged at the end of the block.
        """

    @abstractmethod
    def closed(self) -> AbstractContextManager[None]:
        """Keep all others from the live data in a block inside :meth:`prepared`.

        So a :meth:`dump` has every row that anyone was told is saved.
        """

    @abstractmethod
    def swap(self) -> None:
        """Put the prepared data in place of the live data, whole or not at all."""

    @abstractmethod
    def prove(self, dump: Dump) -> None:
        """Restore a dump, compare the rows, and remove the copy; raise when that fails."""

    @abstractmethod
    def make(self, dump: Dump) -> None:
        """Make the database of a dump, empty, where there is none."""

    @abstractmethod
    def has_rows(self) -> bool:
        """Return whether a table has rows, except the tables of ``MADE_BY_MIGRATE``."""

    @abstractmethod
    def copied(self) -> AbstractContextManager[str]:
        """Yield the name or path of a copy; however the block ends, the copy is removed."""


def identifier(name: str) -> str:
    """Return a name in the double quotes of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Return a text in the single quotes of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
