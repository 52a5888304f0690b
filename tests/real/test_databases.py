"""Databases beside the live one, and properties of a database that no dump holds."""

from __future__ import annotations

import pytest

from tests.stacks.copies import Copy
from tests.stacks.postgresql import databases, listed, sql, tasks

# Of any name: a line break, a line end of Unicode, a tab, the form of our own copies.
NAMED = ["two\nlines", "two\u2028lines", "a\ttab, it's", "composed_old_2025"]
# name: the options of CREATE DATABASE
MADE_WITH = {
    "ascii": "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
    "latin1": "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    "icu": "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'",
}
PROPERTIES = """\
SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider, daticulocale
  FROM pg_database WHERE datname = '{}'
"""


def inside(stack: Copy, database: str, script: str) -> str:
    psql = ("psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "cp_user", "-d", database)
    return stack.ok("dc", "--", "exec", "-T", "db", *psql, text=script)


@pytest.fixture
def filled(stack: Copy) -> Copy:
    """Have a stack with three tasks."""
    stack.ok("up", "--migrate")
    sql(stack, "DELETE FROM task_api_task")
    fill = """INSERT INTO task_api_task (id, title, description, done, created, updated)
    SELECT gen_random_uuid(), 'a', '', false, now(), now() FROM generate_series(1, 3)"""
    sql(stack, fill)
    return stack


def test_every_database_of_the_volume_comes_back_as_it_was(filled: Copy) -> None:
    made = {**dict.fromkeys(NAMED, ""), **MADE_WITH}
    for name, options in made.items():
        inside(filled, "postgres", f'CREATE DATABASE "{name}" {options};')
        inside(filled, name, "CREATE TABLE t AS SELECT n FROM generate_series(1, 7) n;")
    inside(filled, "ascii", r"CREATE TABLE bytes AS SELECT E'caf\xe9' AS word;")
    inside(filled, "template1", "CREATE TABLE t AS SELECT n FROM generate_series(1, 7) n;")
    before = {name: inside(filled, "postgres", PROPERTIES.format(name)) for name in MADE_WITH}

    filled.ok("down", "--volumes", "--yes")
    filled.ok("up")
    saved = {row["database"]: row["name"] for row in listed(filled)["snapshots"]}
    for name in (*made, "template1"):
        filled.ok("db.restore", "--name", saved[name], "--yes")

    for name in (*made, "template1"):
        assert inside(filled, name, "SELECT count(*) FROM t;") == "7\n"
    assert {n: inside(filled, "postgres", PROPERTIES.format(n)) for n in MADE_WITH} == before
    assert inside(filled, "ascii", r"SELECT word = E'caf\xe9' FROM bytes;") == "t\n"
    filled.ok("db.restore", "--latest", "--yes")
    assert tasks(filled) == 3
    filled.ok("down", "--volumes", "--no-snapshot", "--yes")


SUBSCRIPTION = """\
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE SUBSCRIPTION other CONNECTION 'host=127.0.0.1 dbname=none' PUBLICATION everything
  WITH (connect = false, slot_name = NONE);
"""
ODD = f"""\
{SUBSCRIPTION}
ALTER DATABASE task_db IS_TEMPLATE true;
CREATE SCHEMA "a\ttab";
ALTER DATABASE task_db SET search_path = public, "a\ttab";
"""
IS_ODD = """\
SELECT datistemplate, EXISTS (SELECT FROM pg_subscription WHERE subdbid = pg_database.oid),
       EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = pg_database.oid)
  FROM pg_database WHERE datname = 'task_db';
"""


def test_a_live_database_of_an_odd_kind_is_replaced_again_and_again(filled: Copy) -> None:
    """A template, with a subscription, and with a search_path that has a tab."""
    inside(filled, "task_db", ODD)
    filled.ok("db.snapshot", "--name", "odd")

    for _ in range(2):
        filled.ok("db.restore", "--name", "odd", "--yes")
        assert (tasks(filled), inside(filled, "postgres", IS_ODD)) == (3, "t|t|t\n")
    assert not [name for name in databases(filled) if name.startswith("composed_")]
    filled.ok("db.reset", "--yes")
    filled.ok("db.restore", "--name", "odd", "--yes")
    filled.ok("down", "--volumes", "--yes")
    filled.ok("up")
    assert not listed(filled)["damaged"]
    filled.ok("db.restore", "--latest", "--yes")
    assert tasks(filled) == 3

    filled.ok("down", "--volumes", "--no-snapshot", "--yes")


def test_a_leftover_that_cannot_be_dropped_is_in_nobodys_way(filled: Copy) -> None:
    name = f"composed_old_{'0' * 12}"
    inside(filled, "postgres", f"CREATE DATABASE {name};")
    slot = "SELECT 1 FROM pg_create_logical_replication_slot('held', 'test_decoding');"
    inside(filled, "postgres", "ALTER SYSTEM SET wal_level = 'logical';")
    filled.ok("dc", "--", "restart", "db")
    filled.ok("up")
    inside(filled, name, slot)
    held = ("pg_recvlogical", "-U", "cp_user", "-d", name, "-S", "held", "--start", "-f", "-")
    filled.ok("dc", "--", "exec", "--detach", "db", *held)

    done = filled.inv("db.reset", "--yes")

    assert done.returncode == 0
    assert f"The database {name}, a copy, could not be dropped: " in done.stderr
