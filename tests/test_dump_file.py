"""The contents of a file decide how ``db.restore --from`` restores the file."""

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from composed.data import dump_file
from composed.data.dump_file import examine
from composed.errors import DataError, NotFoundError
from tests.samples import MonkeyPatch

SQL = b"--\n-- PostgreSQL database dump\n--\n"
COMPLETE = b"--\n-- PostgreSQL database dump complete\n--\n"
ROWS = b"COPY public.t (a) FROM stdin;\n\\\\N\n\\connect x\nDROP DATABASE x;\n\\.\n"


@pytest.mark.parametrize(
    ("contents", "kind"),
    [
        (b"PGDMP\x01", "custom"),
        (b"SQLite format 3\x00", "sqlite"),
        (SQL + COMPLETE, "sql"),
        (SQL + b"\\restrict k\n" + ROWS + COMPLETE + b"\\unrestrict k\n", "sql"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_contents_decide_the_kind(
    contents: bytes, kind: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    (tmp_path / "dump").write_bytes(pack(contents))

    dump = examine(tmp_path / "dump")

    assert (dump.kind, b"".join(dump.chunks())) == (kind, contents)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"BZh9", "is compressed with bzip2"),
        (b"\xfd7zXZ\x00", "is compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "is compressed with zstd"),
        (b"x" * 257 + b"ustar", "is a tar archive"),
        (b"/*!999999\\- x */;\n-- MariaDB dump 10", "is a MySQL dump"),
        (b"--\n-- PostgreSQL database cluster dump\n" + SQL, "is of a whole cluster"),
        (b"select 1;", "is no dump of PostgreSQL"),
        (SQL + b"COPY t FROM stdin;\n1", "is cut off"),
        (gzip.compress(SQL + COMPLETE, mtime=0)[:-4], "is damaged or cut off"),
        (gzip.compress(SQL + COMPLETE, mtime=0)[:12] + b"???", "is damaged or cut off"),
        (SQL + b"\\connect live\n" + COMPLETE, r"reaches beyond its database: '\\connect live'"),
        (SQL + b"\\! rm x\r\n" + COMPLETE, r"reaches beyond its database: '\\! rm x"),
        (SQL + b"DROP DATABASE live;\n" + COMPLETE, "'DROP DATABASE live;'"),
        (SQL + b"ALTER DATABASE live SET x;\n" + COMPLETE, "'ALTER DATABASE live SET x;'"),
        (SQL + ROWS + b"CREATE DATABASE live;\n" + COMPLETE, "'CREATE DATABASE live;'"),
    ],
)
@pytest.mark.parametrize("chunk", [1 << 20, 300])
def test_a_file_that_cannot_be_restored_is_refused_with_the_reason(
    contents: bytes, reason: str, chunk: int, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    (tmp_path / "dump").write_bytes(contents)
    monkeypatch.setattr(dump_file, "CHUNK", chunk)

    with pytest.raises(DataError, match=re.escape(reason)):
        examine(tmp_path / "dump")


def test_lines_may_be_long_and_span_chunks(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(dump_file, "CHUNK", 64)
    long = b"COPY t FROM stdin;\n" + b"x" * 1000 + b"\n\\.\n"
    (tmp_path / "dump").write_bytes(SQL + long + b"\\connect live\n" + COMPLETE)

    with pytest.raises(DataError, match="beyond its database"):
        examine(tmp_path / "dump")


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        examine(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match=f"{file} is no regular file"):
            examine(file)
    with pytest.raises(NotFoundError, match="There is no file"):
        examine(tmp_path / "none")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    (tmp_path / "dump").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dump_file, "_opened", refuse)

    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        examine(tmp_path / "dump")
