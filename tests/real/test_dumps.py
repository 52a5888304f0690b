"""``db.restore --from`` loads what psql or pg_restore load, and names the rest with a way out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.test_data import output
from tests.stacks.copies import Copy
from tests.stacks.dumps import (
    members,
    newer_archive,
    newer_sql,
    tar,
    through_powershell,
    through_windows,
)
from tests.stacks.postgresql import FILL, USUAL, databases, sql, tasks

Make = Callable[[dict[str, bytes]], bytes]

FORMULA = r"E'Formulas as in\n\\frac{a}{b}\n\\connect x\nDROP DATABASE x;\nare allowed'"
TITLE = "grün; 'a'\n\\connect x\n-- €"


@pytest.fixture(scope="module")
def dumps(stack: Copy) -> dict[str, bytes]:
    """Return dumps of the migrated stack with one task, in every format of pg_dump."""
    sql(stack, f"TRUNCATE task_api_task CASCADE; {FILL.format(count=1)}")
    sql(stack, f"COMMENT ON TABLE task_api_task IS {FORMULA}")
    sql(stack, "UPDATE task_api_task SET title = $x$" + TITLE + "$x$")
    sql(stack, "CREATE ROLE guest; GRANT SELECT ON task_api_task TO guest")
    dump = "pg_dump -U cp_user task_db"
    folder = "d=$(mktemp -d) && pg_dump -U cp_user -Fd -f $d/dump task_db && tar -cf - -C $d dump"
    commands = {
        "custom": f"{dump} -Fc",
        "tar": f"{dump} -Ft",
        "folder": f"{{ {folder} && rm -r $d; }}",
        "sql": dump,
        "inserts": f"{dump} --inserts --rows-per-insert 2",
        "clean": f"{dump} --clean",
        "clean if": f"{dump} --clean --if-exists",
        "public": f"{dump} --schema public",
        "public custom": f"{dump} --schema public -Fc",
        "latin1": f"{dump} --encoding LATIN1 --exclude-table-data task_api_task",
        "authorization": f"{dump} --use-set-session-authorization",
        "rows": f"{dump} --data-only",
        "cluster": "pg_dumpall -U cp_user",
    }
    made = {name: output(stack, command) for name, command in commands.items()}
    sql(stack, "DROP OWNED BY guest; DROP ROLE guest")
    return made


@pytest.fixture
def filled(stack: Copy) -> Iterator[Copy]:
    """Have three tasks in the shared stack; after the test, the databases are the usual ones."""
    sql(stack, f"TRUNCATE task_api_task CASCADE; {FILL.format(count=3)}")
    yield stack
    assert databases(stack) == USUAL


def sent(dump: bytes, name: str) -> bytes:
    """Return the dump as a person at ``name`` would have it."""
    return dump.replace(b"OWNER TO cp_user", b"OWNER TO " + name.encode())


LOADED: dict[str, Make] = {
    "custom": lambda d: d["custom"],
    "tar": lambda d: d["tar"],
    "tar gzip": lambda d: gzip.compress(d["tar"]),
    "folder in a tar": lambda d: d["folder"],
    "folder in a tar, gzip": lambda d: gzip.compress(d["folder"]),
    "custom xz": lambda d: lzma.compress(d["custom"]),
    "sql": lambda d: d["sql"],
    "sql bzip2": lambda d: bz2.compress(d["sql"]),
    "inserts": lambda d: d["inserts"],
    "clean": lambda d: d["clean"],
    "clean if exists": lambda d: d["clean if"],
    "public": lambda d: d["public"],
    "public custom": lambda d: d["public custom"],
    "session authorization": lambda d: d["authorization"].replace(b"cp_user", b"somebody"),
    "owners": lambda d: sent(d["sql"], '"my Boss"'),
    "newer": lambda d: newer_sql(d["sql"]),
    "older": lambda d: d["sql"].replace(
        b"SET client_enc", b"SET long_gone = 1;\nSET client_enc", 1
    ),
    "powershell": lambda d: through_powershell(d["sql"]),
    "powershell inserts": lambda d: through_powershell(d["inserts"]),
    "windows": lambda d: through_windows(d["sql"]),
    "windows inserts": lambda d: through_windows(d["inserts"]),
    "mark": lambda d: b"\xef\xbb\xbf" + d["sql"],
    "no header": lambda d: b"".join(
        line + b"\n" for line in d["sql"].split(b"\n") if not line.startswith(b"--")
    ),
    "transaction": lambda d: b"BEGIN;\n" + d["sql"] + b"\nCOMMIT",
}


@pytest.mark.parametrize("name", LOADED)
def test_what_psql_or_pg_restore_loads_is_restored(
    name: str, filled: Copy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "it's a dump"
    file.write_bytes(LOADED[name](dumps))

    done = filled.inv("db.restore", "--from", str(file), "--no-snapshot", "--yes")

    assert done.returncode == 0, done.stderr
    assert (tasks(filled), sql(filled, "SELECT title FROM task_api_task")) == (1, TITLE)
    comment = sql(filled, "SELECT obj_description('task_api_task'::regclass)")
    assert comment.startswith("Formulas as in\n\\frac{a}{b}")


def test_a_folder_of_pg_dump_is_restored(
    filled: Copy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    for name, contents in members(dumps["folder"]).items():
        (tmp_path / name).write_bytes(contents)

    filled.ok("db.restore", "--from", str(tmp_path), "--no-snapshot", "--yes")

    assert tasks(filled) == 1
    assert "tmp." not in filled.ok("shell", "--service", "db", "--", "ls", "/tmp")


def test_latin1_is_read_as_such(filled: Copy, dumps: dict[str, bytes], tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(dumps["latin1"].replace(b"are allowed", b"gr\xfcn"))

    filled.ok("db.restore", "--from", str(file), "--no-snapshot", "--yes")

    assert sql(filled, "SELECT obj_description('task_api_task'::regclass)").endswith("grün")


def test_what_is_left_out_is_said(filled: Copy, dumps: dict[str, bytes], tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(newer_sql(sent(dumps["sql"], "boss")))

    done = filled.inv("db.restore", "--from", str(file), "--no-snapshot", "--yes")

    assert "this server has no role boss, guest." in done.stderr
    assert "Left out 1 statement: this server has no setting transaction_timeout." in done.stderr


def after(dump: bytes, statement: str) -> bytes:
    """Return the dump with a statement at the end."""
    return dump.replace(
        b"--\n-- PostgreSQL database dump comp",
        statement.encode() + b"\n--\n-- PostgreSQL database dump comp",
    )


REFUSED: dict[str, tuple[Make, list[str]]] = {
    "newer archive": (
        lambda d: newer_archive(d["custom"]),
        [
            "unsupported version (1.16)",
            "of pg_dump 17.",
            "docker run --rm -i postgres:17 pg_restore",
        ],
    ),
    "newer folder": (
        lambda d: tar(
            members(d["folder"]) | {"toc.dat": newer_archive(members(d["folder"])["toc.dat"])}
        ),
        ["unsupported version (1.16)", "docker run"],
    ),
    "tar cut": (lambda d: d["tar"][: len(d["tar"]) // 2], ["is damaged or cut off"]),
    "tar without end": (lambda d: d["tar"].rstrip(b"\0"), ["is damaged or cut off"]),
    "folder cut": (lambda d: gzip.compress(d["folder"])[:-900], ["is damaged or cut off"]),
    "folder without rows": (
        lambda d: tar({"toc.dat": members(d["folder"])["toc.dat"]}),
        ["cannot be restored", "could not open"],
    ),
    "meta": (lambda d: after(d["sql"], "SELECT 1 \\g | cat"), ["reaches beyond its database"]),
    "split": (lambda d: after(d["sql"], "SELECT 1; dRoP /* x */\n dataBASE x"), ["reaches beyond"]),
    "role": (lambda d: after(d["sql"], "create role boss"), ["reaches beyond its database"]),
    "system": (lambda d: after(d["sql"], "alter system set x = 1"), ["reaches beyond"]),
    "program": (lambda d: after(d["sql"], "COPY t TO PROGRAM 'cat'"), ["reaches beyond"]),
    "rows alone": (lambda d: d["rows"], ["makes no table", "--data-only"]),
    "extension": (
        lambda d: after(d["sql"], "CREATE EXTENSION IF NOT EXISTS postgis;"),
        ["does not have: postgis"],
    ),
    "policy": (
        lambda d: after(d["sql"], "CREATE POLICY p ON public.task_api_task TO boss;"),
        ['ERROR:  role "boss" does not exist', "--no-owner", 'CREATE ROLE "boss"'],
    ),
    "error far up": (
        lambda d: after(d["sql"], "SELECT nothing('" + "\n".join("abcdefghijklmnopqrst") + "');"),
        ["ERROR:  function nothing("],
    ),
    "open": (lambda d: b"BEGIN;\n" + d["sql"], ["has no COMMIT"]),
    "latin1 unnamed": (
        lambda _: b"CREATE TABLE t (a text); INSERT INTO t VALUES ('gr\xfcn');",
        ["invalid byte sequence", "client_encoding"],
    ),
    "powershell custom": (
        lambda d: d["custom"].decode("latin-1").encode("utf-16"),
        ["was changed as if text", "--file FILE"],
    ),
    "json": (lambda _: b'[\n{"model": "a.b"}]', ["inv manage -- loaddata --format=json - <"]),
    "cluster": (lambda d: d["cluster"], ["whole cluster", "sed -n"]),
    "no statement": (lambda _: b"-- nothing\n\n", ["is empty"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_loaded_is_named_with_the_way_out(
    name: str, filled: Copy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    make, words = REFUSED[name]
    file = tmp_path / "dump"
    file.write_bytes(make(dumps))

    done = filled.inv("db.restore", "--from", str(file), "--no-snapshot", "--yes")

    assert done.returncode == 65, done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert tasks(filled) == 3


def test_a_named_pipe_and_another_folder_are_refused(filled: Copy, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    pipe = filled.inv("db.restore", "--from", str(tmp_path / "pipe"), "--no-snapshot", "--yes")
    folder = filled.inv("db.restore", "--from", str(tmp_path), "--no-snapshot", "--yes")

    assert (pipe.returncode, "is a named pipe" in pipe.stderr) == (65, True)
    assert (folder.returncode, "no dump of pg_dump" in folder.stderr) == (65, True)


def test_the_way_out_of_a_whole_cluster_works(
    filled: Copy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "all.sql").write_bytes(dumps["cluster"])
    words = f"sed -n '/^\\\\connect task_db/,/database dump complete/p' {tmp_path}/all.sql"
    one = tmp_path / "one.sql"
    one.write_text(filled.run("sh", "-c", f"{words} | sed 1d").stdout)

    filled.ok("db.restore", "--from", str(one), "--no-snapshot", "--yes")

    assert tasks(filled) == 1
