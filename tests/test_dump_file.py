"""The contents of a file decide how ``db.restore --from`` restores the file."""

import bz2
import gzip
import lzma
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import pytest

from composed.data import dump_file
from composed.data.dump_file import examine, sql_version
from composed.data.script_check import look_through
from composed.errors import DataError, NotFoundError
from tests.samples import MonkeyPatch
from tests.stacks.dumps import members, tar

SQL = b"--\n-- PostgreSQL database dump\n--\n"
COMPLETE = b"--\n-- PostgreSQL database dump complete\n--\n"
END = b"\n\\.\n\n\n"
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

    restricts = re.compile(rb"^\\(un)?restrict k$", re.MULTILINE)  # the restore has its own
    assert (dump.kind, b"".join(dump.chunks())) == (kind, restricts.sub(b"", contents))


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"BZh9", "is damaged or cut off"),
        (b"\xfd7zXZ\x00", "is damaged or cut off"),
        (b"\x28\xb5\x2f\xfd", "is damaged or cut off"),
        (tar({"a.txt": b"a"}), "is a tar archive without a dump"),
        (tar({"toc.dat": b"PGDMP"})[:700], "is damaged or cut off"),
        (b"/*!999999\\- x */;\n-- MariaDB dump 10", "is a MySQL dump"),
        (b"--\n-- PostgreSQL database cluster dump\n" + SQL, "is of a whole cluster"),
        (b"select \0;", "is no dump of PostgreSQL"),
        (b"-- a word\n/* and */ ;\n", "is empty: it has no statement"),
        (b"BEGIN; SELECT 1;", "the transaction of line 1 has no COMMIT"),
        (b"SELECT 1;\nSELECT 'a", "the text that begins in line 2 has no end"),
        (b"COPY t FROM stdin;\n1\n", "the data that begins in line 1 has no end"),
        (b"SELECT 1;\n\\connect x", "Line 2 of "),
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
        with pytest.raises(DataError, match=f"{file} is a (named pipe|device)"):
            examine(file)
    with pytest.raises(NotFoundError, match="There is no file"):
        examine(tmp_path / "none")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    (tmp_path / "dump").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        examine(tmp_path / "dump")


@pytest.mark.parametrize(
    ("statement", "kind", "name"),
    [
        ("SET transaction_timeout = 0;", "setting", "transaction_timeout"),
        ("set session a TO 'x';", "setting", "a"),
        ('SET default_tablespace = "Fast";', "tablespace", "Fast"),
        ("ALTER FUNCTION public.f(a integer, b text) OWNER TO boss;", "role", "boss"),
        ('ALTER TABLE t OWNER TO "my Boss";', "role", "my Boss"),
        ("GRANT ALL ON TABLE public.t TO Boss WITH GRANT OPTION;", "role", "boss"),
        ("REVOKE ALL ON t FROM boss;", "role", "boss"),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE boss GRANT ALL ON TABLES TO PUBLIC;", "role", "boss"),
        ("SET SESSION AUTHORIZATION 'boss';", "role", "boss"),
        ("SET ROLE boss;", "role", "boss"),
        (
            'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;',
            "extension",
            "uuid-ossp",
        ),
        (
            "SELECT * FROM pg_catalog.pg_restore_relation_stats('version', '180000');",
            "function",
            "pg_restore_relation_stats",
        ),
    ],
)
def test_what_a_statement_needs_of_the_server_is_found(
    statement: str, kind: str, name: str
) -> None:
    script = look_through([b"SELECT 1;\n", statement.encode()], transcoded=False)

    (need,) = script.needs
    assert (need.kind, need.name, need.start) == (kind, name, 10)
    assert need.end == 10 + len(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SET my.value = 1;",
        "SET ROLE NONE;",
        "RESET SESSION AUTHORIZATION;",
        "ALTER TABLE t OWNER TO CURRENT_USER;",
        "GRANT SELECT ON t TO PUBLIC;",
        "SET TIME ZONE 'UTC';",
    ],
)
def test_a_statement_that_every_server_runs_needs_nothing(statement: str) -> None:
    assert look_through([statement.encode()], transcoded=False).needs == []


BEYOND = [
    "\\connect live",
    "\\! ls",
    "\\copy t from x",
    "\\i x.sql",
    "\\ir x.sql",
    "\\o x",
    "\\g x",
    "\\gexec",
    "\\gset",
    "\\set a `ls`",
    "\\set AUTOCOMMIT off",
    "\\echo `ls`",
    "\\echo a \\! ls",
    "SELECT 1 \\gexec",
    "create\n\tDatabase x",
    "DROP /* a */ DATABASE x",
    "select 1;drop database x",
    "ALTER SYSTEM SET a = 1",
    "CREATE ROLE x",
    "create user x",
    "ALTER GROUP x ADD USER y",
    "DROP TABLESPACE x",
    "GRANT a TO b",
    "REASSIGN OWNED BY a TO b",
    "COPY t FROM PROGRAM 'ls'",
    "COPY t (a) TO '/tmp/x'",
    "COPY t TO E'/tmp/x'",
    "COPY t TO $$/tmp/x$$",
    "COPY t TO U&'/tmp/x'",
    'GRANT a TO "x ON y"',
    "PREPARE TRANSACTION 'a'",
]


@pytest.mark.parametrize("statement", BEYOND)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_command_reaches_beyond_the_database(statement: str, end: str) -> None:
    script = look_through([b"SELECT 1;\n", (statement + end).encode()], transcoded=False)

    assert script.beyond
    assert script.beyond[0] == 2


@pytest.mark.parametrize("statement", BEYOND)
@pytest.mark.parametrize(
    "quoted",
    [
        "SELECT 'a''{}';",
        "SELECT E'\\'\n{}\n';",
        'SELECT "{}";',
        "SELECT $${}$$;",
        "SELECT $a$ $$ ' {} $a$;",
        "-- {}\n",
        "/* /* ' */ {} */",
        "COPY t FROM stdin;\n{}\n\\.\n",
        'copy t ("a") from STDIN with (format csv);\na\n{}\n\\.\n',
        "SET standard_conforming_strings = off; SELECT 'a\\'\n{}\n';",
        "INSERT INTO t VALUES (1, 'a\n{}\n');",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT '{}'; END;",
        "U& CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;\nDROP DATABASE x; END; -- {}\n",
        "N'' CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;\nDROP DATABASE x; END; -- {}\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_quoted_text_is_no_command(statement: str, quoted: str, size: int) -> None:
    single = statement.replace("'", "").replace("/*", "").replace("*/", "").replace("\n", " ")
    if "E'" in quoted or "off" in quoted:
        single = single.replace("\\", "\\\\")
    text = f"{quoted.format(single)}\nDROP DATABASE last;".encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    script = look_through(pieces, transcoded=False)

    assert script.beyond == (text.count(b"\n") + 1, "DROP DATABASE last;")


@pytest.mark.parametrize("opener", ["B'", "x'", "U&'", "u&'"])
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_a_backslash_has_no_meaning_after_these_signs(opener: str, size: int) -> None:
    text = f"SET standard_conforming_strings = off; SELECT {opener}\\'; DROP ROLE x; SELECT '';"
    pieces = [text.encode()[at : at + size] for at in range(0, len(text), size)]

    script = look_through(pieces, transcoded=False)

    assert script.beyond == (1, "DROP ROLE x;")


# --- text of other systems, packed files, folders ---------------------------------

TEXT = "CREATE TABLE t (a text);\nINSERT INTO t VALUES ('grün\n€ 𝄞');\n"


@pytest.mark.parametrize(
    "made",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r\n").encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        gzip.compress(bz2.compress(TEXT.encode())),
        lzma.compress(TEXT.encode("utf-16")),
    ],
)
@pytest.mark.parametrize("chunk", [1 << 20, 64])
def test_text_of_other_systems_becomes_ours(
    made: bytes, chunk: int, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_file, "CHUNK", chunk)
    (tmp_path / "dump").write_bytes(made)

    assert b"".join(examine(tmp_path / "dump").chunks()).decode() == TEXT


def test_latin1_stays_as_it_is(tmp_path: Path) -> None:
    made = b"SET client_encoding = 'LATIN1';\nCREATE TABLE \"gr\xfcn\" (a text);\n"
    (tmp_path / "dump").write_bytes(made)

    assert b"".join(examine(tmp_path / "dump").chunks()) == made


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_what_a_program_packed_is_unpacked(
    name: str, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / name
    program.write_text('#!/bin/sh\ntail -c +5 "$2"\n')  # -dc FILE
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    start = {"zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}[name]
    (tmp_path / "dump").write_bytes(start + TEXT.encode())
    monkeypatch.setitem(sys.modules, "compression.zstd", None)  # of Python 3.14

    assert b"".join(examine(tmp_path / "dump").chunks()).decode() == TEXT

    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match=f"this machine has no {name}.*\n.*{name} -d"):
        examine(tmp_path / "dump")


def test_a_packing_that_a_program_reads_is_not_unpacked_inside_another(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)  # of Python 3.14
    (tmp_path / "dump").write_bytes(gzip.compress(b"\x28\xb5\x2f\xfd" + TEXT.encode()))

    with pytest.raises(
        DataError, match=r"packed twice, with zstd inside\.\n.*gzip -dc .*dump > inner"
    ):
        examine(tmp_path / "dump")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_edits_replace_bytes_wherever_a_chunk_ends(size: int) -> None:
    text = b"0123456789abcdef"
    edits = [(0, 2, b"A"), (2, 2, b"+"), (4, 11, b""), (4, 11, b""), (15, 16, b"Z")]

    pieces = dump_file._edited(iter([text[n : n + size] for n in range(0, 16, size)]), edits)

    assert b"".join(pieces) == b"A+23bcdeZ"


def test_harmless_commands_and_drops_at_the_beginning_are_left_out(tmp_path: Path) -> None:
    made = (
        b"\\set ON_ERROR_STOP off\n\\echo hello\nDROP TABLE t;\nALTER TABLE t DROP CONSTRAINT a;\n"
        b"COMMENT ON DATABASE d IS 'x';\nCREATE SCHEMA public;\nCREATE TABLE t ();\nDROP TABLE t;"
    )
    (tmp_path / "dump").write_bytes(made)

    left = b"".join(examine(tmp_path / "dump").chunks()).split()

    wanted = b"CREATE SCHEMA IF NOT EXISTS public; CREATE TABLE t (); DROP TABLE t;"
    assert left == wanted.split()


def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dump")

    with pytest.raises(DataError, match="is a named pipe"):
        examine(tmp_path / "dump")


def test_a_folder_is_fed_as_a_tar_archive(tmp_path: Path) -> None:
    files = {"toc.dat": b"PGDMP\x01\x0e", "1.dat.gz": b"rows", "blob_2.dat": b"", "blobs.toc": b""}
    for name, contents in {**files, "notes.txt": b"mine"}.items():
        (tmp_path / name).write_bytes(contents)

    dump = examine(tmp_path)

    assert (dump.kind, dump.unpack[:1]) == ("custom", ("sh",))
    assert members(b"".join(dump.chunks())) == files


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_folder_in_a_tar_archive_is_fed_without_its_name(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    files = {"1.dat": b"x" * 5000 + END, "toc.dat": b"PGDMP\x01\x0e"}
    (tmp_path / "dump").write_bytes(pack(tar(files, "a/b/")))

    dump = examine(tmp_path / "dump")

    assert members(b"".join(dump.chunks())) == files
    assert members(b"".join(dump.table_of_contents())) == {"toc.dat": files["toc.dat"]}


def test_a_part_of_a_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    for name in ("toc.dat", "1.dat"):
        (tmp_path / name).write_bytes(b"PGDMP\x01\x0e")
    opened = Path.open

    def refuse(file: Path, *words: str) -> IO[bytes]:
        if file.name == "1.dat":
            raise PermissionError(13, "Permission denied", str(file))
        return cast("IO[bytes]", opened(file, *words))  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(DataError, match=r"1\.dat cannot be read: Permission denied"):
        examine(tmp_path)


# --- what hides a command, or how psql reads quotes -------------------------------------

LONG = "x" * 70_000


@pytest.mark.parametrize(
    "statement",
    [
        f"DROP /* {LONG} */ DATABASE x;",
        f"DROP /* /* {LONG} */ ' */ DATABASE x;",
        f"DROP -- {LONG}\n DATABASE x;",
        "DROP " + "-- a line\n" * 9000 + " DATABASE x;",
        f"COPY (SELECT '{LONG}') TO PROGRAM 'ls';",
        f"COPY (SELECT {'1,' * 3000} 1) TO PROGRAM 'ls';",
        "COPY (SELECT E'\\'') TO PROGRAM 'ls'; --'",
        f"GRANT /* ON {LONG} */ a TO b;",
    ],
)
@pytest.mark.parametrize("size", [999, 1 << 20])
def test_a_long_or_quoted_text_hides_no_command(statement: str, size: int) -> None:
    text = f"SELECT 1;\n{statement}\nSELECT 2;".encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    script = look_through(pieces, transcoded=False)

    assert script.beyond
    assert script.beyond[0] == 2


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "select pg_catalog . \"set_config\"('Standard_Conforming_Strings','off',false)",
        "SELECT set_config('standard_' || 'conforming_strings', 'off', false)",
        "SELECT U&\"set\\005fconfig\"('standard_conforming_strings', 'off', false)",
        "INSERT INTO t VALUES (set_config('standard_conforming_strings', 'off', false))",
        "INSERT INTO t VALUES ('a');INSERT INTO t SELECT set_config(name, 'off', false) FROM s",
        "UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name LIKE 'standard%'",
        "SET LOCAL standard_conforming_strings = off",
        "SET standard_conforming_strings TO DEFAULT",
        'SET "standard_conforming_strings" = off',
        'SET U&"standard\\005fconforming_strings" = off',
        "ALTER FUNCTION f() SET standard_conforming_strings = off",
        "RESET standard_conforming_strings",
        "SET standard_conforming_strings = off; RESET ALL",
        "SET standard_conforming_strings = off; DISCARD ALL",
        "BEGIN; SET standard_conforming_strings = off; ROLLBACK",
        "SET standard_conforming_strings = off; BEGIN; SET standard_conforming_strings = on; ABORT",
        "DO $$ BEGIN SET standard_conforming_strings = off; END $$",
    ],
)
def test_how_psql_reads_quotes_changes_only_in_the_form_of_pg_dump(statement: str) -> None:
    script = look_through([f"\n{statement};\n".encode()], transcoded=False)

    assert script.beyond
    assert script.beyond[0] == 2


@pytest.mark.parametrize(
    "statement",
    [
        "SET standard_conforming_strings = on",
        "SET SESSION standard_conforming_strings TO 'off'",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "INSERT INTO t VALUES ('SELECT set_config(''standard_conforming_strings'')')",
        "COPY t FROM stdin;\nSET LOCAL standard_conforming_strings = off;\n\\.\n",
        "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT set_config(a, b, true); END",
        "CREATE FUNCTION f() RETURNS int AS $$CREATE ROLE x; SELECT set_config(a, b)$$",
        "COMMENT ON TABLE t IS 'set_config(standard_conforming_strings)'",
        "RESET ALL",
        "BEGIN; ROLLBACK",
        "GRANT SELECT ON t TO PUBLIC",
    ],
)
def test_a_usual_statement_is_not_refused(statement: str) -> None:
    assert not look_through([f"{statement};".encode()], transcoded=False).beyond


@pytest.mark.parametrize(
    "copy",
    [
        "COPY a TO STDOUT /* /* */ from stdin */;",
        "COPY a TO STDOUT -- from stdin\n;",
        "COPY a TO STDOUT \\echo '\n WITH (NULL $$ from stdin $$);",
        "COPY a TO STDOUT WITH (NULL E'\\' from stdin ');",
        "COPY (SELECT $$ x) from stdin ($$) TO STDOUT;",
        "COPY a FROM '/dev/null' WHERE a IS DISTINCT FROM stdin;",
        'COPY "from stdin" TO STDOUT;',
        "'x' COPY a FROM stdin;",
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_looks_like_copy_from_stdin_has_no_data(copy: str, size: int) -> None:
    text = f"{copy}\n\\! touch x\n\\.\n".encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    script = look_through(pieces, transcoded=False)

    assert script.beyond
    assert script.beyond[1] == "\\! touch x"


@pytest.mark.parametrize(
    "copy",
    [
        "COPY a /* TO */ FROM /* x */ STDIN;",
        "COPY a FROM STDOUT;",
        'copy "to" (b, "from") from -- x\n stdin WITH (NULL E\'\\\'\');',
        "COPY a \\echo '\n FROM stdin;",
        f"COPY a /* {LONG} */ FROM stdin;",
    ],
)
def test_data_of_copy_are_no_commands(copy: str) -> None:
    script = look_through([f"{copy}\n'\n\\! ls\n\\.\nDROP ROLE x;".encode()], transcoded=False)

    assert script.beyond
    assert script.beyond[1] == "DROP ROLE x;"


@pytest.mark.parametrize(
    "body",
    [
        "$$ BEGIN CREATE ROLE r SUPERUSER; EXCEPTION WHEN others THEN NULL; END $$",
        "LANGUAGE plpgsql $a$ BEGIN\n  create /* x */\n  user r; END $a$",
        "'BEGIN EXECUTE ''ALTER ROLE r SUPERUSER''; END'",
        "E'BEGIN\\nDROP\\nDATABASE x; END'",
        "$$ BEGIN EXECUTE $x$ CREATE $x$ || 'GROUP g'; END $$",
        "$$ BEGIN PERFORM '/*'; ALTER SYSTEM SET a = 1; PERFORM '*/'; END $$",
        "$$ BEGIN DROP TABLESPACE x; END $$",
        "$$ BEGIN GRANT a TO b; GRANT SELECT ON t TO b; END $$",
        "$$ BEGIN COPY t TO PROGRAM 'ls'; END $$",
        f"$$ BEGIN PERFORM '{LONG}'; CREATE ROLE x; END $$",
    ],
)
def test_the_body_of_do_reaches_not_beyond_the_database(body: str) -> None:
    script = look_through([f"SELECT 1;\nDO {body};".encode()], transcoded=False)

    assert script.beyond
    assert script.beyond[0] == 2


def test_other_bodies_of_do_are_restored() -> None:
    body = "BEGIN CREATE TABLE t (); GRANT SELECT ON t TO a; CREATE TYPE role_kind AS ENUM (); END"

    assert not look_through([f"DO $${body}$$;".encode()], transcoded=False).beyond


def test_the_encoding_of_psql_is_set_in_sql() -> None:
    script = look_through([b"\\encoding LATIN1\n"], transcoded=False)

    assert script.edits == [(0, 16, b"SET client_encoding = 'LATIN1';")]


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("12.dat", b""),
        ("12.dat.gz", b""),
        ("12.dat.zst", b""),
        ("12.dat", b"1\n2\n"),
        ("12.dat", b"\n\n\n"),
        ("12.dat", b"INSERT INTO t VALUES (1);\n"),
        ("blob_12.dat.gz", b""),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_part_that_is_cut_off_is_named(
    name: str, contents: bytes, packed: bool, tmp_path: Path
) -> None:
    files = {"toc.dat": b"PGDMP\x01\x0e", name: contents}
    for part, written in files.items():
        (tmp_path / part).write_bytes(written)
    (tmp_path / "x.tar").write_bytes(tar(files))

    with pytest.raises(DataError, match=rf"{name}.* is cut off"):
        examine(tmp_path / "x.tar" if packed else tmp_path)


@pytest.mark.parametrize(
    "contents",
    [b"\\.\n\n\n", b"1\n\\.\n\n\n", b"\n\n", b"INSERT INTO t VALUES (1);\n\n\n"],
)
def test_a_part_with_its_end_is_whole(contents: bytes, tmp_path: Path) -> None:
    blobs = {"blob_2.dat": b"", "blob_3.dat": b"x", "blobs.toc": b"2 blob_2.dat\n"}
    (tmp_path / "x.tar").write_bytes(tar({"toc.dat": b"PGDMP\x01", "1.dat": contents, **blobs}))

    assert examine(tmp_path / "x.tar").kind == "custom"


def test_the_version_is_read_past_a_command_that_is_left_out(tmp_path: Path) -> None:
    head = b"-- PostgreSQL database dump\n\n\\restrict a\n\n-- Dumped from database version 99.1\n"
    (tmp_path / "dump").write_bytes(head + b"CREATE TABLE a (b int);\n" + COMPLETE)

    assert sql_version(examine(tmp_path / "dump")) == "99.1"
