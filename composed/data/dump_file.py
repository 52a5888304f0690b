"""Dumps for ``db.restore --from``: the kind, and the check that a restore can go well."""

import gzip
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from composed.database import CHUNK, Dump
from composed.errors import DataError, NotFoundError
from composed.terminal import Progress

HEAD, TAIL = 4096, 4096

_GZIP = b"\x1f\x8b"
_BINARY = {b"PGDMP": "custom", b"SQLite format 3\x00": "sqlite"}
_SQL = b"-- PostgreSQL database dump\n"
_COMPLETE = b"-- PostgreSQL database dump complete"

# Files that people take for a dump.
_FOREIGN = {
    rb"PK\x03\x04": "a zip archive",
    rb"BZh": "compressed with bzip2",
    rb"\xfd7zXZ": "compressed with xz",
    rb"\x28\xb5\x2f\xfd": "compressed with zstd",
    rb".{257}ustar": "a tar archive",
    rb".{,200}-- (MySQL|MariaDB) dump": "a MySQL dump",
    rb".{,200}-- PostgreSQL database cluster dump": "of a whole cluster (pg_dumpall)",
}

# Outside of a table's data, "beyond" would change more than the new database.
_LINE = re.compile(
    rb"^(?:(?P<copy>COPY .* FROM stdin;)|(?P<end>\\\.)"
    rb"|(?P<beyond>\\(?!restrict |unrestrict ).*|(?:CREATE|DROP|ALTER) DATABASE .*))\r?$",
    re.MULTILINE,
)


class DumpFile(Dump):
    """A dump made elsewhere, perhaps packed with gzip."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents, unpacked; raise :class:`DataError` when they break off."""
        try:
            with _opened(self.file) as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            problem = f"{self.file} is damaged or cut off: {error}."
            raise DataError(problem, "Make it again.") from None
        except PermissionError as error:
            raise DataError(f"{self.file} cannot be read: {error.strerror}.") from None


def examine(file: Path) -> DumpFile:
    """Return the file as a dump.

    Raises :class:`NotFoundError` without a file, and :class:`DataError` when the file is
    empty, cut off, of another program or would change more than the new database.
    """
    try:
        mode = file.stat().st_mode
    except OSError as error:
        problem = f"There is no file {file} to be read: {error.strerror}."
        raise NotFoundError(problem, "Of snapshots: inv db.list") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{file} is a folder.", f"Make a file: pg_restore -f dump.sql {file}")
    if not stat.S_ISREG(mode):  # a restore reads a dump more than once
        raise DataError(f"{file} is no regular file.", f"Write one: cat {file} > my.dump")
    dump = DumpFile(file, "sql", str(file))
    head = next(dump.chunks(), b"")
    for start, kind in _BINARY.items():
        if head.startswith(start):
            return DumpFile(file, kind, str(file))
    if problem := _problem(head):
        cure = "Wanted: a dump of pg_dump, custom or SQL, gzip or not."
        raise DataError(f"{file} is {problem}.", cure)
    _check_sql(dump)
    return dump


def sql_version(dump: Dump) -> str:
    """Return the PostgreSQL version that an SQL dump names, "" without a version."""
    version = re.search(rb"-- Dumped from database version (\S+)", next(dump.chunks())[:HEAD])
    return version[1].decode() if version else ""


def _problem(head: bytes) -> str:
    """Return why a file that begins with ``head`` is no SQL of pg_dump; "" for SQL."""
    if not head:
        return "empty"
    for start, name in _FOREIGN.items():
        if re.match(start, head, re.DOTALL):
            return name
    return "" if _SQL in head[:HEAD] else "no dump of PostgreSQL"


def _check_sql(dump: DumpFile) -> None:
    """Read the whole dump; raise :class:`DataError` when a restore would go wrong."""
    in_data, rest, tail = False, b"", b""
    with Progress(f"Checking {dump.file.name}") as progress:
        for chunk in dump.chunks():
            progress.add(len(chunk))
            whole, _, rest = (rest + chunk).rpartition(b"\n")
            in_data = _check_lines(dump.file, whole, in_data=in_data)
            rest, tail = rest[:CHUNK], (tail + chunk)[-TAIL:]  # of a long line, the beginning
    if _COMPLETE not in tail:
        problem = f"{dump.file} is cut off: it does not end with {_COMPLETE.decode()!r}."
        raise DataError(problem, "Make it again.")


def _check_lines(file: Path, lines: bytes, *, in_data: bool) -> bool:
    """Return whether the lines end within a table's data."""
    for match in _LINE.finditer(lines):
        if in_data:
            in_data = match["end"] is None
        elif match["copy"]:
            in_data = True
        elif line := match["beyond"]:
            problem = f"{file} reaches beyond its database: {line.decode(errors='replace')[:80]!r}."
            cure = "Make it again, without --create: pg_dump --no-owner --file FILE DATABASE"
            raise DataError(problem, cure)
    return in_data


def _opened(file: Path) -> IO[bytes]:
    with file.open("rb") as probe:
        packed = probe.read(len(_GZIP)) == _GZIP
    return cast("IO[bytes]", gzip.open(file) if packed else file.open("rb"))
