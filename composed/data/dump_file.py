"""Dumps for ``db.restore --from``: the kind, and the check that a restore can go well."""

import os
import re
import shlex
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from composed.data import archive
from composed.data.script_check import Need, Script, look_through
from composed.data.sql_script import CutOffError
from composed.data.unpacked import as_text, damaged, is_utf_16, packing, unpacked
from composed.database import CHUNK, Dump
from composed.errors import DataError, NotFoundError
from composed.terminal import Progress

HEAD, TAIL = 4096, 4096

_SQLITE = b"SQLite format 3\x00"
_TAR = re.compile(rb".{257}ustar", re.DOTALL)
_OF_PG_DUMP = re.compile(rb"^-- PostgreSQL database dump\s*$", re.MULTILINE)
_COMPLETE = b"-- PostgreSQL database dump complete"

_LOADDATA = "inv manage -- loaddata --format={} - < {{file}}"
_ONE = (
    "Make a dump of a single database: pg_dump --no-owner --file FILE DATABASE",
    "Or take one out: sed -n '/^\\\\connect NAME/,/database dump complete/p' {file}"
    " | sed 1d > one.sql",
)

# Files that people take for a dump, and the way out.
_FOREIGN: dict[bytes, tuple[str, tuple[str, ...]]] = {
    rb"PK\x03\x04": ("a zip archive", ("Unpack it: unzip -p {file} > dump.sql",)),
    rb"7z\xbc\xaf\x27\x1c": ("a 7z archive", ("Unpack it: 7z x {file}",)),
    rb"Rar!": ("a rar archive", ("Unpack it: unrar x {file}",)),
    rb".{,400}-- (MySQL|MariaDB) dump": (
        "a MySQL dump",
        (
            "In the project that uses MySQL: python manage.py dumpdata > d.json",
            "Then here: inv manage -- loaddata --format=json - < d.json",
        ),
    ),
    rb".{,200}-- PostgreSQL database cluster dump": ("of a whole cluster (pg_dumpall)", _ONE),
    rb"PRAGMA foreign_keys=": (
        "a text dump of SQLite",
        (
            "Make a file of it: sqlite3 new.sqlite3 < {file}",
            "In local mode: inv db.restore --from new.sqlite3",
        ),
    ),
    rb"\s*[\[{]\s*[{\]\"]": ("JSON, not SQL", ("Of dumpdata: " + _LOADDATA.format("json"),)),
    rb"\s*<\?xml|\s*<django-objects": (
        "XML, not SQL",
        ("Of dumpdata: " + _LOADDATA.format("xml"),),
    ),
    rb"- model: ": ("YAML, not SQL", ("Of dumpdata: " + _LOADDATA.format("yaml"),)),
    rb"\s*<(!DOCTYPE )?html": ("a page of HTML", ("Download the file itself.",)),
    rb"version https://git-lfs": ("a pointer of Git LFS", ("Get the file itself: git lfs pull",)),
    rb"Salted__|-----BEGIN PGP|age-encryption": ("encrypted", ("Decrypt it first.",)),
}
_WANTED = "Wanted: a file or folder of pg_dump (custom, tar, folder or SQL), perhaps compressed."
_AGAIN = "Make it again, without --create: pg_dump --no-owner --file FILE DATABASE"

_SPECIAL = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


@dataclass
class DumpFile(Dump):
    """A dump made elsewhere: a file, perhaps packed, or a folder of ``pg_dump``.

    ``contents`` is the table of contents of an archive, ``script`` the look through SQL.
    """

    contents: bytes = b""
    script: Script | None = None
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    makes_public: bool = False  # the schema, which every new database has

    def chunks(self) -> Iterator[bytes]:
        """Yield what a program is to read; raise :class:`DataError` when the file breaks off."""
        if self.file.is_dir():
            return archive.packed(archive.parts(self.file), CHUNK)
        if self.unpack:
            return archive.repacked(unpacked(self.file, CHUNK), CHUNK)
        if self.script:
            return _edited(self._text(), sorted(self.edits))
        return unpacked(self.file, CHUNK)

    def table_of_contents(self) -> Iterator[bytes]:
        """Yield what pg_restore needs to list the contents."""
        if not self.unpack:
            return self.chunks()
        return archive.packed_bytes(archive.TABLE_OF_CONTENTS, self.contents)

    @property
    def size(self) -> int:
        """How many bytes :meth:`chunks` yields; 0 when that is unknown."""
        packed = self.file.is_dir() or self.script or packing(self.head)
        return 0 if packed else self.file.stat().st_size

    @property
    def head(self) -> bytes:
        """The first bytes as they are in the file."""
        with self.file.open("rb") as file:
            return file.read(HEAD)

    @property
    def header(self) -> archive.Header:
        """The header of an archive of pg_dump."""
        return archive.read_header(self.contents[:HEAD])

    def leave_out(self, needs: list[Need]) -> None:
        """Restore without the statements that have these needs."""
        self.edits += {(need.start, need.end, b"") for need in needs}

    def _text(self) -> Iterator[bytes]:
        return as_text(unpacked(self.file, CHUNK), self.file)


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
        return _folder(file)
    for is_kind, name in _SPECIAL.items():
        if is_kind(mode):
            raise DataError(
                f"{file} is {name}.", f"Make a file of it: cat {shlex.quote(str(file))} > dump"
            )
    head = next(unpacked(file, CHUNK), b"")
    if head.startswith(archive.MAGIC):
        return DumpFile(file, "custom", str(file), contents=head[:HEAD])
    if head.startswith(_SQLITE):
        return DumpFile(file, "sqlite", str(file))
    if _TAR.match(head):
        return _tar(file)
    return _sql(DumpFile(file, "sql", str(file), script=Script()))


def sql_version(dump: DumpFile) -> str:
    """Return the PostgreSQL version that an SQL dump names, "" without a version."""
    version = re.search(rb"-- Dumped from database version (\S+)", next(dump._text(), b"")[:HEAD])
    return version[1].decode() if version else ""


def _folder(folder: Path) -> DumpFile:
    try:
        parts, cut_off = archive.parts(folder), []
        for part in parts:
            with part.open("rb") as file:  # one that cannot be read is named before the restore
                length = file.seek(0, os.SEEK_END)
                file.seek(-min(length, archive.TAIL), os.SEEK_END)
                cut_off += [part] if archive.is_cut_off(part.name, length, file.read()) else []
        contents = parts[0].read_bytes() if parts else b""
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None
    if not contents.startswith(archive.MAGIC):
        raise DataError(f"{folder} is a folder, and no dump of pg_dump.", _WANTED)
    if cut_off:
        raise DataError(f"{cut_off[0]} is cut off: its rows have no end.", "Make the dump again.")
    return DumpFile(folder, "custom", str(folder), contents=contents, unpack=archive.UNPACK)


def _tar(file: Path) -> DumpFile:
    try:
        contents, own, cut_off = archive.contents_in(unpacked(file, CHUNK), CHUNK)
    except tarfile.TarError as error:
        raise damaged(file, error) from None
    if not contents.startswith(archive.MAGIC):
        raise DataError(f"{file} is a tar archive without a dump of pg_dump.", _WANTED)
    if cut_off:
        problem = f"{cut_off} in {file} is cut off: its rows have no end."
        raise DataError(problem, "Make the dump again.")
    return DumpFile(
        file, "custom", str(file), contents=contents, unpack=() if own else archive.UNPACK
    )


def _sql(dump: DumpFile) -> DumpFile:
    """Read the whole dump; raise :class:`DataError` when a restore would go wrong."""
    head = next(dump._text(), b"")
    _check_head(dump.file, head)
    with Progress(f"Checking {dump.file.name}") as progress:
        tail = b""

        def counted() -> Iterator[bytes]:
            nonlocal tail
            for chunk in dump._text():
                progress.add(len(chunk))
                tail = (tail + chunk)[-TAIL:]
                yield chunk

        utf_16 = is_utf_16(next(unpacked(dump.file, CHUNK)))
        try:
            dump.script = look_through(counted(), transcoded=utf_16)
        except CutOffError as error:
            raise DataError(f"{dump.file} is cut off: {error}.", "Make it again.") from None
    if dump.script.beyond:
        line, text = dump.script.beyond
        problem = f"Line {line} of {dump.file} reaches beyond its database: {text[:80]!r}."
        raise DataError(problem, _AGAIN)
    if _OF_PG_DUMP.search(head[:HEAD]) and _COMPLETE not in tail:
        problem = f"{dump.file} is cut off: it does not end with {_COMPLETE.decode()!r}."
        raise DataError(problem, "Make it again.")
    if dump.script.open_since:
        problem = f"{dump.file} is cut off: the transaction of line {dump.script.open_since}"
        raise DataError(f"{problem} has no COMMIT.", "Make it again.")
    if dump.script.empty and not _OF_PG_DUMP.search(head[:HEAD]):
        raise DataError(f"{dump.file} is empty: it has no statement of SQL.", _WANTED)
    dump.edits = list(dump.script.edits)
    return dump


def _check_head(file: Path, head: bytes) -> None:
    """Raise :class:`DataError` for a file that begins with ``head`` and cannot be SQL."""
    if not head:
        raise DataError(f"{file} is empty.", _WANTED)
    for start, (name, cures) in _FOREIGN.items():
        if re.match(start, head, re.DOTALL | re.IGNORECASE):
            raise DataError(
                f"{file} is {name}.", *(cure.format(file=shlex.quote(str(file))) for cure in cures)
            )
    if head.startswith(archive.MAGIC):
        cure = "The > of PowerShell changes bytes: pg_dump --format=custom --file FILE DATABASE"
        raise DataError(f"{file} is an archive of pg_dump that was changed as if text.", cure)
    if b"\0" in head:
        raise DataError(f"{file} is no dump of PostgreSQL.", _WANTED)


def _edited(chunks: Iterator[bytes], edits: list[tuple[int, int, bytes]]) -> Iterator[bytes]:
    """Yield the chunks with some places replaced: from, to, the new bytes."""
    base, waiting = 0, iter([*edits, (1 << 62, 1 << 62, b"")])
    start, end, new = next(waiting)
    for chunk in chunks:
        place, limit = base, base + len(chunk)
        while start < limit:
            if place <= start:
                yield chunk[place - base : start - base] + new
            place = min(max(place, end), limit)
            if end > limit:
                break
            start, end, new = next(waiting)
        yield chunk[place - base :]
        base = limit
