"""Migrations on PostgreSQL: the error of a failure, the way back, the rehearsal."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.stacks.copies import Copy, changed, cut_off
from tests.stacks.postgresql import FILL, USUAL, databases, listed, sql, tasks
from tests.stacks.terminals import WAYS, end_verb
from tests.stacks.waiting import wait_until

MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("task_api", "{after}")]
    operations = [{operations}]
"""
NOTE = 'migrations.AddField("task", "note", models.TextField(default="?"))'
RUN = 'migrations.RunSQL("{}")'
UPDATE = RUN.format("UPDATE task_api_task SET note = 'filled'")
RETYPE = RUN.format("ALTER TABLE task_api_task ALTER due TYPE timestamptz")
FAIL = RUN.format("DROP TABLE gone")
WAIT = RUN.format("SELECT pg_sleep(300)")
COLUMNS = """
SELECT count(*) FROM information_schema.columns
 WHERE table_name = 'task_api_task' AND column_name = 'note'
"""
Write = Callable[..., None]


@pytest.fixture(scope="module")
def three(stack: Copy) -> Copy:
    """Keep a snapshot of the migrated stack with three tasks."""
    sql(stack, FILL.format(count=3))
    stack.ok("db.snapshot", "--name", "three")
    return stack


@pytest.fixture
def write(three: Copy) -> Iterator[Write]:
    """Write migrations upon three tasks; afterwards no database is left but the usual."""
    folder = three.root / "server/task_api/migrations"

    def write(
        name: str, *operations: str, after: str = "0002_task_done_page", atomic: bool = True
    ) -> None:
        text = MIGRATION.format(atomic=atomic, after=after, operations=", ".join(operations))
        (folder / f"{name}.py").write_text(text)

    yield write
    for file in folder.glob("000[3-9]_*.py"):
        file.unlink()
    if sql(three, COLUMNS) != "0":  # of a test that failed
        three.ok("db.restore", "--name", "three", "--no-snapshot", "--yes")
    assert databases(three) == USUAL


def before_migrate(stack: Copy) -> list[str]:
    return [s["name"] for s in listed(stack)["snapshots"] if s["reason"] == "before migrate"]


def test_nothing_pending_takes_no_snapshot(three: Copy) -> None:
    before = before_migrate(three)

    done = three.inv("migrate")

    assert (done.returncode, "Snapshot taken" in done.stderr) == (0, False), done.stderr
    assert before_migrate(three) == before
    assert "nothing to rehearse" in three.ok("db.rehearse")


def test_a_failed_migration_is_named_with_its_sql_and_the_way_back(
    three: Copy, write: Write
) -> None:
    write("0003_note", NOTE)
    write("0004_fails", UPDATE, FAIL, after="0003_note")

    done = three.inv("migrate")

    assert done.returncode == 1
    assert "CommandError: task_api.0004_fails failed: " in done.stderr
    assert "\nSQL: DROP TABLE gone\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert sql(three, COLUMNS) == "1"  # the first has come to stay
    back = done.stderr.splitlines()[-1]
    assert back.startswith("  To bring the data back: inv db.restore --name ")
    three.ok(*back.partition("inv ")[2].split(), "--no-snapshot", "--yes")
    assert (sql(three, COLUMNS), tasks(three)) == ("0", 3)


def test_rollback_on_failure_brings_back_what_a_half_done_one_changed(
    three: Copy, write: Write
) -> None:
    delete = RUN.format("DELETE FROM task_api_task WHERE title <> 'task 1'")
    write("0003_half", NOTE, delete, FAIL, atomic=False)

    done = three.inv("migrate", "--rollback-on-failure")

    assert done.returncode == 1
    assert "task_api.0003_half failed: " in done.stderr
    assert "Rolled back to " in done.stderr
    assert (sql(three, COLUMNS), tasks(three)) == ("0", 3)


def test_a_rehearsal_reports_and_changes_nothing(three: Copy, write: Write) -> None:
    write("0003_note", NOTE, UPDATE)
    write("0004_retype", RETYPE, after="0003_note")
    write("0005_half", RUN.format("SELECT 1"), after="0004_retype", atomic=False)

    lines = three.ok("db.rehearse").splitlines()

    assert lines[0].split() == ["MIGRATION", "TIME", "ROWS", "WRITTEN", "LOCKS"]
    rows = [line.split(maxsplit=4) for line in lines[1:]]
    locked = "task_api_task ACCESS EXCLUSIVE (3 rows"
    assert [(name, written, locks) for name, _, _, written, locks in rows] == [
        ("task_api.0003_note", "3", f"{locked})"),
        ("task_api.0004_retype", "0", f"{locked}, rewritten)"),
        ("task_api.0005_half", "0", "not seen: it is not atomic"),
    ]
    assert all(float(row[1]) > 0 for row in rows)
    assert (databases(three), sql(three, COLUMNS), tasks(three)) == (USUAL, "0", 3)


def test_a_rehearsal_that_fails_names_the_sql_and_leaves_nothing(three: Copy, write: Write) -> None:
    write("0003_fails", NOTE, UPDATE, FAIL)

    done = three.inv("db.rehearse")

    assert done.returncode == 1
    assert '\ntask_api.0003_fails failed: table "gone" does not exist\n' in done.stdout
    assert done.stdout.endswith("\nSQL: DROP TABLE gone\n")
    assert (databases(three), sql(three, COLUMNS)) == (USUAL, "0")


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_rehearsal_leaves_nothing(
    three: Copy, write: Write, way: signal.Signals
) -> None:
    write("0003_waits", NOTE, WAIT)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"

    cut_off(three, "db.rehearse", way, lambda: sql(three, sleeping) == "1")

    three.ok("ps")  # after SIGKILL the next verb removes leftovers
    assert (databases(three), sql(three, sleeping)) == (USUAL, "0")
    assert not three.containers("--filter", "label=com.docker.compose.oneoff=True")


def test_a_rehearsal_needs_no_variable_for_the_name_of_the_database(
    three: Copy, write: Write
) -> None:
    write("0003_note", NOTE)
    settings = three.root / "server/task_api/settings.py"
    good = settings.read_text()
    with changed(settings, good, f'{good}\nDATABASES["default"]["NAME"] = "task_db"\n'):
        assert "task_api.0003_note" in three.ok("db.rehearse")

    assert (databases(three), sql(three, COLUMNS)) == (USUAL, "0")


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])
def test_an_interrupted_migration_ends_its_statement_at_once(
    way: str, three: Copy, write: Write
) -> None:
    write("0002_note", NOTE, WAIT)
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    terminal = three.terminal("migrate", "--no-snapshot")
    wait_until(lambda: sql(three, asleep) == "1", "the statement being executed")

    code = end_verb(terminal, way)

    assert code == WAYS[way]
    assert "Traceback" not in str(terminal.before)
    if way == "Ctrl-C":
        assert sql(three, asleep) == "0"
    assert sql(three, COLUMNS) == "0"
