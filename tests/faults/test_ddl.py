"""Snapshots and copies beside changes of the tables' structure: no row is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.work import ROWS, prepare_rows
from tests.stacks.copies import Copy
from tests.stacks.postgresql import listed, sql
from tests.stacks.waiting import wait_until

RETYPE = (
    "ALTER TABLE task_api_task"
    " ALTER COLUMN description TYPE varchar({size}) USING description || ''"
)
WAITING = "Waiting for the end of a change of a table, by session"
HELD = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
# A script until the first lock, and the rest.
CHANGES = {
    "rewrite": (RETYPE.format(size=5001), ""),
    # An older snapshot does not see TRUNCATE either.
    "truncate": (
        "CREATE TABLE kept AS SELECT * FROM task_api_task; TRUNCATE task_api_task",
        "INSERT INTO task_api_task SELECT * FROM kept; DROP TABLE kept",
    ),
    # The second lock comes while the snapshot waits: no deadlock may end the change.
    "two tables": ("LOCK TABLE django_session", RETYPE.format(size=5002)),
}


@pytest.fixture(scope="module")
def filled(stack: Copy) -> Copy:
    prepare_rows(stack)
    return stack


@contextmanager
def changing(stack: Copy, first: str, then: str = "") -> Iterator[Callable[[], None]]:
    """Change tables in a transaction beside the block; yield a function that commits."""
    psql = ("psql", "--quiet", "--username", "cp_user", "--dbname", "task_db")
    argv = ["docker", "exec", "--interactive", f"{stack.project}-db-1", *psql]
    with subprocess.Popen(
        [*argv, "--set", "ON_ERROR_STOP=1"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as session:
        assert session.stdin
        session.stdin.write(f"BEGIN; {first};\n")
        session.stdin.flush()
        wait_until(lambda: int(sql(stack, HELD)) or session.poll() is not None, "a change")

        def commit() -> None:
            _, error = session.communicate(f"{then}; COMMIT;\n", timeout=60)
            assert session.returncode == 0, error

        yield commit


def wait_for_words(verb: subprocess.Popen[str]) -> None:
    """Return when the verb says that it waits."""
    assert verb.stderr
    line = next((line for line in verb.stderr if line.startswith(WAITING)), "")
    assert line, "the verb has ended"


@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_beside_a_change_is_whole(
    change: str, filled: Copy, record_property: Callable[[str, object], None]
) -> None:
    name = change.replace(" ", "-")
    with changing(filled, *CHANGES[change]) as commit:
        verb = filled.start("db.snapshot", "--name", name)
        wait_for_words(verb)
        commit()
        _, error = verb.communicate(timeout=120)

    assert verb.returncode == 0, error
    (manifest,) = [row for row in listed(filled)["snapshots"] if row["name"] == name]
    assert manifest["rows"]["public.task_api_task"] == ROWS
    filled.ok("db.restore", "--name", name, "--no-snapshot", "--yes")
    short = ROWS - int(sql(filled, "SELECT count(*) FROM task_api_task"))
    assert short == 0
    record_property("figures", f"snapshot during a change ({change}): {ROWS} rows, {short} short")


def test_a_change_that_begins_after_the_moment_waits_for_the_dump(filled: Copy) -> None:
    """Short changes one after the other: each finds the dump at another point."""
    for number in range(3):
        verb = filled.start("db.snapshot", "--name", f"beside-{number}")
        for size in range(3):
            sql(filled, RETYPE.format(size=6000 + 3 * number + size))
        _, error = verb.communicate(timeout=120)
        assert verb.returncode == 0, error

    counts = {
        row["rows"]["public.task_api_task"]
        for row in listed(filled)["snapshots"]
        if row["name"].startswith("beside-")
    }
    assert counts == {ROWS}


def test_down_with_volumes_beside_a_change_keeps_every_row(filled: Copy) -> None:
    change = RETYPE.format(size=7000)
    psql = ("psql", "--quiet", "--username", "cp_user", "--dbname", "task_db", "--command")
    script = f"BEGIN; {change}; SELECT pg_sleep(6); COMMIT"
    argv = ["docker", "exec", f"{filled.project}-db-1", *psql, script]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as session:  # ends with the service
        wait_until(lambda: int(sql(filled, HELD)) > 0, "a change")
        done = filled.inv("down", "--volumes", "--yes")
        session.wait(60)

    assert done.returncode == 0, done.stderr
    filled.ok("up")
    filled.undo(done, "--no-snapshot")
    assert int(sql(filled, "SELECT count(*) FROM task_api_task")) == ROWS


def test_a_rehearsal_beside_a_change_copies_every_row(filled: Copy) -> None:
    migration = filled.root / "server/task_api/migrations/0099_rehearsed.py"
    migration.write_text(REHEARSED)
    try:
        with changing(filled, RETYPE.format(size=8000)) as commit:
            verb = filled.start("db.rehearse")
            wait_for_words(verb)
            commit()
            table, error = verb.communicate(timeout=120)
    finally:
        migration.unlink()

    assert f"({ROWS} rows)" in table, error


REHEARSED = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("task_api", "0002_task_done_page")]
    operations = [migrations.RunSQL("ALTER TABLE task_api_task ADD COLUMN extra int")]
"""
