"""Snapshots and restores on PostgreSQL: committed rows are there, failures leave no trace."""

from __future__ import annotations

import base64
import gzip
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stacks.copies import Copy, cut_off
from tests.stacks.postgresql import FILL, USUAL, databases, dumping, listed, locked, sql, tasks
from tests.stacks.views import repeated
from tests.stacks.waiting import wait_until
from tests.web import request


@pytest.fixture
def filled(stack: Copy) -> Iterator[Copy]:
    """Have three tasks in the shared stack; after the test, the databases are the usual ones."""
    sql(stack, f"TRUNCATE task_api_task CASCADE; {FILL.format(count=3)}")
    yield stack
    assert databases(stack) == USUAL
    assert listed(stack)["half_made"] == []


@pytest.fixture(scope="module")
def dumps(stack: Copy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return dumps of the migrated stack with one task, by pg_dump and pg_dumpall."""
    sql(stack, f"TRUNCATE task_api_task CASCADE; {FILL.format(count=1)}")
    commands = {
        "custom": "pg_dump -Fc -U cp_user task_db",
        "sql": "pg_dump -U cp_user task_db",
        "create": "pg_dump -U cp_user --create task_db",
        "cluster": "pg_dumpall -U cp_user",
    }
    return {name: output(stack, command) for name, command in commands.items()}


def output(stack: Copy, command: str) -> bytes:
    words = ("shell", "--service", "db", "--", "sh", "-c", f"{command} | base64")
    return base64.b64decode(stack.ok(*words))


def test_a_restore_brings_back_every_row_under_load(filled: Copy) -> None:
    sql(filled, FILL.format(count=1997))
    sql(filled, "ALTER DATABASE task_db SET work_mem = '5MB'")
    filled.ok("db.snapshot", "--name", "two-thousand")
    sql(filled, "DELETE FROM task_api_task WHERE title <> 'task 1'")
    left = tasks(filled)

    url, statuses = filled.url, set[int]()

    with repeated(lambda: statuses.add(request(f"{url}/api/tasks").status)):
        done = filled.inv("db.restore", "--name", "two-thousand", "--yes")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: filled.ask("/api/tasks").status == 200, "the restored data")

    assert done.stdout.startswith("Restored: 11 tables, 2055 rows.\n")
    assert tasks(filled) == 2000
    assert statuses <= {200, 503}
    assert sql(filled, "SHOW work_mem") == "5MB"
    sql(filled, "ALTER DATABASE task_db RESET work_mem")
    undo = done.stderr.splitlines()[-1]
    assert undo.startswith("To bring the data back: inv db.restore --name ")
    filled.undo(done)
    assert tasks(filled) == left


def test_a_snapshot_while_others_write_is_of_one_moment(filled: Copy) -> None:
    url = filled.url

    with repeated(lambda: request(f"{url}/api/tasks", "POST", {"title": "meanwhile"})):
        wait_until(lambda: tasks(filled) > 3, "a writer at work")
        filled.ok("db.snapshot", "--name", "one-moment")

    filled.ok("db.restore", "--name", "one-moment", "--no-snapshot", "--yes")

    (manifest,) = [s for s in listed(filled)["snapshots"] if s["name"] == "one-moment"]
    assert tasks(filled) == manifest["rows"]["public.task_api_task"] > 3


def test_only_its_owner_may_read_a_snapshot_and_the_manifest_describes_it(filled: Copy) -> None:
    filled.ok("db.snapshot", "--name", "mine")
    folder = filled.root / "data/snapshots/mine"

    assert {f.name: f.stat().st_mode & 0o777 for f in folder.iterdir()} == {
        "database.dump": 0o600,
        "manifest.json": 0o600,
    }
    (manifest,) = [s for s in listed(filled)["snapshots"] if s["name"] == "mine"]
    head = filled.run("git", "rev-parse", "HEAD").stdout.strip()
    assert (manifest["engine"], manifest["commit"]) == ("postgresql", head)
    assert manifest["version"].startswith("15.")
    assert "task_api.0001_initial" in manifest["migrations"]
    assert manifest["rows"]["public.task_api_task"] == 3
    assert filled.inv("db.snapshot", "--name", "mine").returncode == 64


def test_an_empty_database_goes_there_and_back(filled: Copy) -> None:
    filled.ok("db.snapshot", "--name", "three")
    filled.ok("db.reset", "--no-snapshot", "--yes")
    assert filled.ask("/api/tasks").status == 503
    filled.ok("db.snapshot", "--name", "empty")

    back = filled.ok("db.restore", "--name", "three", "--no-snapshot", "--yes")
    assert (back, tasks(filled)) == ("Restored: 11 tables, 58 rows.\n", 3)

    done = filled.ok("db.restore", "--name", "empty", "--no-snapshot", "--yes")
    assert done.startswith("Restored: 0 tables, 0 rows.\nPending migrations: contenttypes.0001")
    assert "Type: inv migrate" in done
    filled.ok("db.restore", "--name", "three", "--no-snapshot", "--yes")


@pytest.mark.parametrize("name", ["custom", "sql"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_dump_from_elsewhere_is_restored(
    name: str, pack: Callable[[bytes], bytes], filled: Copy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "dump"
    file.write_bytes(pack(dumps[name]))

    filled.ok("db.restore", "--from", str(file), "--no-snapshot", "--yes")

    assert tasks(filled) == 1


WRONG: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "empty": (lambda _: b"", "is empty"),
    "zip": (lambda _: b"PK\x03\x04...", "is a zip archive"),
    "mysql": (lambda _: b"-- MySQL dump 10.13\n", "is a MySQL dump"),
    "sqlite": (lambda _: b"SQLite format 3\x00", "is of sqlite"),
    "cluster": (lambda d: d["cluster"], "of a whole cluster (pg_dumpall)"),
    "create": (lambda d: d["create"], 'reaches beyond its database: "CREATE DATABASE'),
    "sql cut": (lambda d: d["sql"][:-200], "is cut off"),
    "gzip cut": (lambda d: gzip.compress(d["custom"])[:-20], "is damaged or cut off"),
    "custom cut": (lambda d: d["custom"][: len(d["custom"]) // 2], "cannot be restored"),
    "custom head": (lambda d: d["custom"][:300], "cannot be restored"),
    "sql wrong": (
        lambda d: d["sql"].replace(b"CREATE TABLE", b"CREATE TABEL", 1),
        "cannot be restored",
    ),
    "newer": (
        lambda d: d["sql"].replace(b"database version 15", b"database version 99", 1),
        "The data is from PostgreSQL 99",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_restored_changes_nothing(
    name: str, filled: Copy, dumps: dict[str, bytes], tmp_path: Path
) -> None:
    make, reason = WRONG[name]
    file = tmp_path / "dump"
    file.write_bytes(make(dumps))

    done = filled.inv("db.restore", "--from", str(file), "--no-snapshot", "--yes")

    assert (done.returncode, reason in done.stderr) == (65, True), done.stderr
    assert tasks(filled) == 3
    assert filled.ask("/api/tasks").status == 200


def test_a_damaged_snapshot_is_refused_before_anything_is_done(filled: Copy) -> None:
    filled.ok("db.snapshot", "--name", "damaged")
    dump = filled.root / "data/snapshots/damaged/database.dump"
    whole = dump.read_bytes()

    dump.write_bytes(whole[: len(whole) // 2])
    cut = filled.inv("db.restore", "--name", "damaged", "--yes")
    dump.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    flipped = filled.inv("db.restore", "--name", "damaged", "--yes")

    assert (cut.returncode, flipped.returncode) == (65, 65)
    assert f"its dump has {len(whole) // 2} bytes of {len(whole)}" in cut.stderr
    assert "the checksum of its dump is another" in flipped.stderr


def test_rows_that_are_missing_after_a_restore_stop_it(filled: Copy) -> None:
    filled.ok("db.snapshot", "--name", "miscounted")
    file = filled.root / "data/snapshots/miscounted/manifest.json"
    manifest = json.loads(file.read_text())
    manifest["rows"]["public.task_api_task"] = 4
    file.write_text(json.dumps(manifest))
    sql(filled, FILL.format(count=5))

    done = filled.inv("db.restore", "--name", "miscounted", "--no-snapshot", "--yes")

    assert done.returncode == 65
    assert "public.task_api_task has 3 rows where the manifest has 4" in done.stderr
    assert (tasks(filled), filled.ask("/api/tasks").status) == (8, 200)


def test_a_half_made_snapshot_is_named_then_removed(filled: Copy) -> None:
    with locked(filled):
        cut_off(filled, "db.snapshot --name killed", signal.SIGKILL, lambda: dumping(filled))

        assert listed(filled)["half_made"] == [".killed.half-made"]
        assert not dumping(filled)

    done = filled.inv("db.snapshot", "--name", "killed")
    assert done.returncode == 0
    assert "Removed .killed.half-made" in done.stderr


def test_a_ctrl_c_leaves_nothing(filled: Copy) -> None:
    with locked(filled):
        snapshot = "db.snapshot --name interrupted"
        assert cut_off(filled, snapshot, signal.SIGINT, lambda: dumping(filled)) == 130
        assert not dumping(filled)

    assert not list((filled.root / "data/snapshots").glob("*interrupted*"))


def test_a_restore_that_was_cut_off_in_the_closed_window_is_healed(filled: Copy) -> None:
    swaps = filled.own / "swaps"
    swaps.mkdir(exist_ok=True)
    inside = ("dc", "--", "exec", "-T", "db", "psql", "-qU", "cp_user", "-d", "postgres")
    script = "CREATE DATABASE composed_new_00c0ffee0000; ALTER DATABASE task_db ALLOW_CONNECTIONS "
    filled.ok(*inside, text=f"{script} false; CREATE DATABASE composed_new_of_somebody;")

    (swaps / "00c0ffee0000").touch()  # the inv of this record lives no more

    filled.ok("ps")

    assert databases(filled) >= {"task_db", "composed_new_of_somebody"}
    assert "composed_new_00c0ffee0000" not in databases(filled)
    sql(filled, "DROP DATABASE composed_new_of_somebody")
    assert list(swaps.iterdir()) == []
    assert tasks(filled) == 3


def test_no_secret_is_in_an_argument_list_or_a_manifest(filled: Copy) -> None:
    password = filled.settings["POSTGRES_PASSWORD"]
    done = filled.inv("--echo", "db.snapshot", "--name", "quiet")
    manifest = (filled.root / "data/snapshots/quiet/manifest.json").read_text()

    assert done.returncode == 0
    assert password not in done.stderr + done.stdout + manifest
