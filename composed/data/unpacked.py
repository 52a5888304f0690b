"""The contents of a file: unpacked, and text of other systems as UTF-8 with our line ends."""

import bz2
import codecs
import contextlib
import gzip
import importlib
import itertools
import lzma
import shlex
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from composed.errors import DataError

LAYERS = 3  # of packing in packing

_MODULES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_OPENERS: dict[str, Callable[..., Any]] = {
    "gzip": gzip.open,
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}
_PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError, UnicodeError)

# What other systems write before their text, and its encoding.
_MARKS = {
    codecs.BOM_UTF8: "",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def unpacked(file: Path, size: int) -> Iterator[bytes]:
    """Yield the contents in pieces of ``size``; raise :class:`DataError` when they break off."""
    try:
        with contextlib.ExitStack() as stack:
            stream: Any = stack.enter_context(file.open("rb"))
            for layer in range(LAYERS):
                if not (name := packing(stream.peek(8))):
                    break
                stream = stack.enter_context(_opened(name, stream, file, inside=layer > 0))
            while chunk := stream.read(size):
                yield chunk
    except PermissionError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None
    except _DAMAGED as error:
        raise damaged(file, error) from None


def packing(head: bytes) -> str:
    """Return the name of the program that packed a file; "" for none."""
    kinds = {**_MODULES, **_PROGRAMS}
    return next((name for start, name in kinds.items() if head.startswith(start)), "")


def damaged(file: Path, reason: object) -> DataError:
    """Return the error of a file that breaks off."""
    return DataError(f"{file} is damaged or cut off: {reason}.", "Make it again.")


def is_utf_16(head: bytes) -> bool:
    """Say whether a text begins as PowerShell's ``>`` writes it."""
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def as_text(chunks: Iterable[bytes], file: Path) -> Iterator[bytes]:
    """Yield text as UTF-8, with our line ends if the first lines have those of Windows.

    Bytes in another encoding, without a mark at the beginning, stay as they are.
    """
    chunks = iter(chunks)
    head = next(chunks, b"")
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    text: Iterator[bytes] = itertools.chain([head[len(mark) :]], chunks)
    if mark and _MARKS[mark]:
        text = _decoded(text, _MARKS[mark], file)
    first = next(text, b"")
    text = itertools.chain([first], text)
    yield from _our_line_ends(text) if 0 < first.count(b"\n") == first.count(b"\r\n") else text


def _decoded(chunks: Iterable[bytes], encoding: str, file: Path) -> Iterator[bytes]:
    try:
        yield from (text.encode() for text in codecs.iterdecode(chunks, encoding))
    except UnicodeError as error:
        raise damaged(file, error) from None


def _our_line_ends(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        whole = held + chunk
        held = b"\r" if whole.endswith(b"\r") else b""
        yield whole.removesuffix(held).replace(b"\r\n", b"\n")
    yield held


@contextlib.contextmanager
def _opened(name: str, stream: IO[bytes], file: Path, *, inside: bool) -> Iterator[IO[bytes]]:
    if opener := _OPENERS.get(name):
        with opener(stream) as inner:
            yield inner
        return
    if name == "zstd":
        with contextlib.suppress(ImportError):  # from Python 3.14 on
            with importlib.import_module("compression.zstd").open(stream) as inner:
                yield inner
            return
    if inside:  # the program reads the file itself
        with file.open("rb") as outer:
            unpack = f"{packing(outer.read(8))} -dc {shlex.quote(str(file))} > inner"
        raise DataError(f"{file} is packed twice, with {name} inside.", f"Unpack it: {unpack}")
    if not shutil.which(name):
        problem = f"{file} is compressed with {name}, and this machine has no {name}."
        raise DataError(problem, f"Install {name}, or unpack the file elsewhere: {name} -d FILE")
    with subprocess.Popen(
        [name, "-dc", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            yield child.stdout  # type: ignore[misc]  # a pipe, as asked
            reason = child.stderr.read().decode(errors="replace").strip()  # type: ignore[union-attr]
            if child.wait():
                raise damaged(file, reason)
        finally:
            child.kill()
