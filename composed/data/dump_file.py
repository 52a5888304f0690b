"""What a file given to ``db.restore --from`` is, told by its contents."""

from __future__ import annotations

import gzip
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from composed.database import CHUNK, Dump
from composed.errors import DataError, NotFoundError
from composed.terminal import Progress

__all__ = ["DumpFile", "examine", "sql_version"]

HEAD, TAIL = 4096, 4096

_GZIP = b"\x1f\x8b"
_CUSTOM = b"PGDMP"
_SQLITE = b"SQLite format 3\x00"
_SQL = b"-- PostgreSQL database dump\n"
_COMPLETE = b"-- PostgreSQL database dump complete"

# What people take for a dump, and what it is.
_FOREIGN = {
    rb"PK\x03\x04": "a zip archive",
    rb"BZh": "compressed with bzip2",
    rb"\xfd7zXZ": "compressed with xz",
    rb"\x28\xb5\x2f\xfd": "compressed with zstd",
    rb".{257}ustar": "a tar archive",
    rb".{,200}-- (MySQL|MariaDB) dump": "a MySQL dump",
    rb".{,200}-- PostgreSQL database cluster dump": "of a whole cluster (pg_dumpall)",
}

# Outside of a table's data, these would reach beyond the database that is being made.
_LINE = re.compile(
    rb"^(?:(?P<copy>COPY .* FROM stdin;)|(?P<end>\\\.)"
    rb"|(?P<beyond>\\(?!restrict |unrestrict ).*|(?:CREATE|DROP|ALTER) DATABASE .*))\r?$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class DumpFile:
    """A dump made elsewhere: ``kind`` is custom, sql or sqlite."""

    file: Path
    kind: str
    rows: Mapping[str, int] = field(default_factory=dict)
    foreign: bool = True

    @property
    def title(self) -> str:
        """Its path."""
        return str(self.file)

    def chunks(self) -> Iterator[bytes]:
        """Give its contents, unpacked; raises :class:`DataError` when they break off."""
        yield from _chunks(self.file)


def examine(file: Path) -> DumpFile:
    """Return what the file is; raises with the reason when it can be nothing to restore.

    Raises :class:`NotFoundError` when it is not there, :class:`DataError` when it
    is empty, cut off, of another program or reaches beyond its database.
    """
    try:
        mode = file.stat().st_mode
    except OSError as error:
        said = f"There is no file {file} to be read: {error.strerror}."
        raise NotFoundError(said, "Of snapshots: inv db.list") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{file} is a folder.", f"Make a file: pg_restore -f dump.sql {file}")
    head = next(_chunks(file), b"")
    if head.startswith(_CUSTOM):
        return DumpFile(file, "custom")
    if head.startswith(_SQLITE):
        return DumpFile(file, "sqlite")
    if what := _what(head):
        raise DataError(
            f"{file} is {what}.", "Wanted: what pg_dump writes, custom or SQL, gzip or not."
        )
    _check_sql(file)
    return DumpFile(file, "sql")


def sql_version(dump: Dump) -> str:
    """Return the PostgreSQL version that an SQL dump says it is from."""
    said = re.search(rb"-- Dumped from database version (\S+)", next(dump.chunks())[:HEAD])
    return said[1].decode() if said else ""


def _what(head: bytes) -> str:
    """Return what it is instead of SQL that pg_dump wrote; empty when it is that."""
    if not head:
        return "empty"
    found = (what for start, what in _FOREIGN.items() if re.match(start, head, re.DOTALL))
    return next(found, "" if _SQL in head[:HEAD] else "no dump of PostgreSQL")


def _check_sql(file: Path) -> None:
    """Read it once: whole, and nothing but what belongs into the new database."""
    in_data, rest, tail = False, b"", b""
    with Progress(f"Checking {file.name}") as progress:
        for chunk in _chunks(file):
            progress.add(len(chunk))
            whole, _, rest = (rest + chunk).rpartition(b"\n")
            in_data = _check_lines(file, whole, in_data=in_data)
            rest, tail = rest[:CHUNK], (tail + chunk)[-TAIL:]  # of a long line, its beginning
    if _COMPLETE not in tail:
        raise DataError(
            f"{file} is cut off: it does not end with {_COMPLETE.decode()!r}.", "Make it again."
        )


def _check_lines(file: Path, lines: bytes, *, in_data: bool) -> bool:
    """Return whether the lines end within a table's data."""
    for found in _LINE.finditer(lines):
        if in_data:
            in_data = found["end"] is None
        elif found["copy"]:
            in_data = True
        elif line := found["beyond"]:
            raise DataError(
                f"{file} reaches beyond its database: {line.decode(errors='replace')[:80]!r}.",
                "Make it again, without --create: pg_dump --no-owner --file FILE DATABASE",
            )
    return in_data


def _chunks(file: Path) -> Iterator[bytes]:
    try:
        with _opened(file) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} is damaged or cut off: {error}.", "Make it again.") from None
    except PermissionError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None


def _opened(file: Path) -> IO[bytes]:
    with file.open("rb") as probe:
        packed = probe.read(len(_GZIP)) == _GZIP
    return cast("IO[bytes]", gzip.open(file) if packed else file.open("rb"))
