"""The archives of pg_dump that pg_restore reads: custom, tar and folder."""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

MAGIC = b"PGDMP"
TAIL = 16  # bytes that show the end of a part
TABLE_OF_CONTENTS, SCRIPT = "toc.dat", "restore.sql"

# pg_restore reads a folder only as a folder: the words stand before its command.
UNPACK = (
    "sh",
    "-c",
    'folder=$(mktemp -d) && trap \'rm -r "$folder"\' EXIT && trap "exit 143" HUP INT TERM'
    ' && tar -xf - -C "$folder"'
    ' && "$@" "$folder"',
    "sh",
)

_PARTS = re.compile(r"toc\.dat|restore\.sql|(blobs?_?\d*|\d+)\.(toc|dat(\.gz|\.lz4|\.zst)?)")
_VERSION = re.compile(
    rb"(\d+(?:\.\d+|devel|beta\d+|rc\d+)[^\0]{0,60}|\d+(?:beta|rc|devel)[^\0]*)\0"
)
_BLOCK = 512
# A table's rows have an end, of COPY or INSERT, also where the table has none. A large object
# may have any bytes.
_ROWS = re.compile(r"\d+\.dat")
_NEVER_EMPTY = re.compile(r"\d+\.dat.*|.*\.gz")
_ROWS_END = (b"\\.\n\n\n", b";\n\n\n")
_NO_INSERTS = b"\n\n"


class Header(NamedTuple):
    """The beginning of an archive: the version of its format, of the server and of pg_dump."""

    version: str
    server: str
    program: str


def read_header(head: bytes) -> Header:
    """Return what the first bytes of an archive say, with "" for what they do not say."""
    numbers = head[5:11].ljust(6, b"\0")
    named = [found.decode(errors="replace").split()[0] for found in _VERSION.findall(head[:4096])]
    server, program = (*named, "", "")[:2]
    return Header(f"{numbers[0]}.{numbers[1]}", server, program)


def parts(folder: Path) -> list[Path]:
    """Return the files of a dump in a folder, the table of contents first."""
    files = [file for file in folder.iterdir() if _PARTS.fullmatch(file.name) and file.is_file()]
    return sorted(files, key=lambda file: (file.name != TABLE_OF_CONTENTS, file.name))


def is_cut_off(name: str, length: int, tail: bytes) -> bool:
    """Say whether a part with these last bytes lacks its end; pg_restore would not notice."""
    if not _ROWS.fullmatch(name):
        return length == 0 and _NEVER_EMPTY.fullmatch(name) is not None
    return not tail.endswith(_ROWS_END) and (length, tail) != (len(_NO_INSERTS), _NO_INSERTS)


def packed(files: Iterable[Path], size: int) -> Iterator[bytes]:
    """Yield files as a tar archive."""
    for file in files:
        with file.open("rb") as stream:
            yield from _member(file.name, file.stat().st_size, stream, size)
    yield bytes(2 * _BLOCK)


def packed_bytes(name: str, contents: bytes) -> Iterator[bytes]:
    """Yield a single file as a tar archive."""
    yield from _member(name, len(contents), io.BytesIO(contents), len(contents) or 1)
    yield bytes(2 * _BLOCK)


def repacked(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the files of a dump in a tar archive as a tar archive without folders."""
    for name, length, member in _members(chunks):
        yield from _member(name, length, member, size)
    yield bytes(2 * _BLOCK)


def contents_in(chunks: Iterable[bytes], size: int) -> tuple[bytes, bool, str]:
    """Read a tar archive to its end; return the table of contents of the dump in it.

    The second value says whether pg_dump wrote the tar archive itself: it adds a script.
    The third is the name of a part that is cut off. Raises :class:`tarfile.TarError` when
    the archive is cut off.
    """
    contents, own, cut_off = b"", False, ""
    for name, length, member in _members(chunks):
        if name == TABLE_OF_CONTENTS:
            contents = member.read(length)
        own = own or name == SCRIPT
        tail = b""
        while _ROWS.fullmatch(name) and (chunk := member.read(size)):
            tail = (tail + chunk)[-TAIL:]
        if is_cut_off(name, length, tail):
            cut_off = cut_off or name
    return contents, own, cut_off


def _members(chunks: Iterable[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    stream, end = _Stream(chunks), 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
        for member in archive:
            name = Path(member.name).name
            source = archive.extractfile(member) if member.isfile() else None
            end = member.offset_data + member.size + -member.size % _BLOCK
            if source and _PARTS.fullmatch(name):
                yield name, member.size, source
    if stream.given < end + _BLOCK:  # tarfile itself takes the end of the file for the end
        raise tarfile.ReadError("unexpected end of data")


class _Stream:
    """Chunks as a file to be read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest, self.given = iter(chunks), b"", 0

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        part, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(part)
        return part


def _member(name: str, length: int, stream: IO[bytes], size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = length
    yield info.tobuf(tarfile.GNU_FORMAT)
    while chunk := stream.read(size):
        yield chunk
    yield bytes(-length % _BLOCK)
