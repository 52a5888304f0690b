"""A volume under a newer PostgreSQL: all data is moved, or all stays as before."""

from __future__ import annotations

import os
import signal

import pytest

from tests.stacks.copies import Copy, cut_off, volumes
from tests.stacks.postgresql import sql
from tests.stacks.views import add_views, slow_requests
from tests.stacks.waiting import wait_until

NEW = "postgres:17"
FILL = """\
INSERT INTO task_api_task (id, title, description, done, created, updated)
SELECT gen_random_uuid(), 'task ' || n, '', false, now(), now() FROM generate_series(1, 2000) n;
CREATE SEQUENCE counter;
SELECT setval('counter', 41);
CREATE ROLE reader LOGIN PASSWORD 'not-a-secret';
GRANT SELECT ON task_api_task TO reader;
ALTER DATABASE task_db SET work_mem = '5MB';
"""
SEEN = """\
SELECT (SELECT count(*) FROM task_api_task), nextval('counter'),
       has_table_privilege('reader', 'task_api_task', 'SELECT'), current_setting('work_mem')
"""


@pytest.fixture(scope="module")
def old(stack: Copy) -> Copy:
    """Have a stack on PostgreSQL 15 with data; ``.env`` names 17."""
    add_views(stack)
    stack.ok("dbshell", text=FILL)
    stack.ok("dbshell", "--command", "CREATE DATABASE other")
    sql(stack, "CREATE TABLE t AS SELECT 7 AS n", database="template1")
    stack.append(".env", f"POSTGRES_IMAGE={NEW}\n")
    return stack


def env(copy: Copy) -> str:
    return (copy.root / ".env").read_text()


def test_up_refuses_before_a_container_is_changed(old: Copy) -> None:
    before = old.containers()

    done = old.inv("up")

    assert done.returncode == 78
    assert (
        f"Volume {old.project}_db-data holds data of PostgreSQL 15; POSTGRES_IMAGE is {NEW}, "
        "which is 17.\n  Move the data: inv db.upgrade\n"
    ) in done.stderr
    assert old.containers() == before
    version = ("--command", "SHOW server_version", "--", "--tuples-only", "--no-align")
    assert old.ok("dbshell", *version).startswith("15.")


def test_an_upgrade_that_is_killed_changes_nothing(old: Copy) -> None:
    before = env(old)

    cut_off(old, "db.upgrade", signal.SIGKILL, lambda: len(volumes(old)) == 2)

    wait_until(lambda: old.inv("ps") and len(volumes(old)) == 1, "the new volume gone")

    assert env(old) == before
    assert not old.containers("--filter", "label=composed.call")
    old.ok("up", POSTGRES_IMAGE="postgres:15")
    assert sql(old, "SELECT count(*) FROM task_api_task") == "2000"


def test_an_upgrade_that_is_hung_up_stops_nothing_that_up_starts_later(old: Copy) -> None:
    old.ok("up", POSTGRES_IMAGE="postgres:15")
    with slow_requests(old, 1) as (slow,):
        upgrade = old.start("db.upgrade")
        lines = iter(str(upgrade.stderr and upgrade.stderr.readline()) for _ in range(1000))
        assert any("Stopping" in line for line in lines)
        os.killpg(upgrade.pid, signal.SIGHUP)
        upgrade.communicate()
        old.ok("up", POSTGRES_IMAGE="postgres:15")
        assert slow.result().text == "slow"

    assert upgrade.returncode == 129
    events = ("events", "--since", "1s", "--until", "0s")
    wait_until(lambda: not old.docker(*events, "--filter", "event=kill"), "an engine at rest")
    assert {row["state"] for row in old.ps().values()} == {"running"}
    assert old.ask("/healthz").status == 200


def test_an_upgrade_that_fails_changes_nothing(old: Copy) -> None:
    before = env(old)
    sql(old, "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/refint', 'check_primary_key'")
    sql(old, "UPDATE pg_proc SET probin = '$libdir/gone' WHERE proname = 'f'")

    done = old.inv("db.upgrade")

    assert done.returncode == 74, done.stderr
    assert "the old volume stays:" in done.stderr
    assert env(old) == before
    assert len(volumes(old)) == 1
    old.ok("up", POSTGRES_IMAGE="postgres:15")
    sql(old, "DROP FUNCTION f()")


def test_an_upgrade_moves_everything(old: Copy) -> None:
    first = f"{old.project}_db-data"

    shown = old.ok("db.upgrade")

    assert f"When all is well: docker volume rm {first}\n" in shown
    assert env(old).endswith("POSTGRES_VOLUME=${COMPOSE_PROJECT_NAME}_db-data-17\n")
    assert volumes(old) == {first, f"{first}-17"}
    old.ok("up")
    assert sql(old, "SHOW server_version").startswith("17.")
    assert sql(old, SEEN) == "2000|42|t|5MB"
    assert old.ask("/api/tasks").status == 200
    assert "other" in sql(old, "SELECT datname FROM pg_database").split()
    assert sql(old, "SELECT n FROM t", database="template1") == "7"
    assert old.ok("db.upgrade") == "The data is of this version: nothing was changed.\n"


def test_there_is_no_way_back_but_to_the_old_volume(old: Copy) -> None:
    done = old.inv("up", POSTGRES_IMAGE="postgres:15")

    assert done.returncode == 78
    assert "inv db.upgrade" not in done.stderr

    old_volume = {"POSTGRES_IMAGE": "postgres:15", "POSTGRES_VOLUME": f"{old.project}_db-data"}
    old.ok("up", **old_volume)
    assert sql(old, SEEN) == "2000|42|t|5MB"
