"""Builders of dumps as other programs, systems and versions of PostgreSQL write them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def tar(files: Mapping[str, bytes], folder: str = "dump/") -> bytes:
    """Return a tar archive of a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, contents in files.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(contents)
            archive.addfile(info, io.BytesIO(contents))
    return packed.getvalue()


def members(archive: bytes) -> dict[str, bytes]:
    """Return the files of a tar archive by name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = {m.name: opened.extractfile(m) for m in opened.getmembers() if m.isfile()}
    return {name.rpartition("/")[2]: file.read() for name, file in files.items() if file}


def newer_sql(dump: bytes) -> bytes:
    """Return a plain dump as pg_dump 17 and 18 write it."""
    return dump.replace(
        b"SET client_encoding", b"SET transaction_timeout = 0;\nSET client_encoding", 1
    )


def newer_archive(dump: bytes) -> bytes:
    """Return a custom dump with the header of pg_dump 17: 1.16, and a byte for compression."""
    before, server, program = dump[16:].split(b"\x0015.", 2)
    head = b"PGDMP\x01\x10\x00\x04\x08\x01\x01"
    return head + before + b"\x0015." + server + b"\x0017." + program


def through_powershell(dump: bytes) -> bytes:
    """Return what ``pg_dump > file`` gives in PowerShell."""
    return dump.decode().replace("\n", "\r\n").encode("utf-16")


def through_windows(dump: bytes) -> bytes:
    return dump.replace(b"\n", b"\r\n")
