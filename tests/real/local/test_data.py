"""Data in local mode: restores, removals and migrations on SQLite."""

from __future__ import annotations

import re

from tests.stacks.copies import Copy
from tests.stacks.sqlite import SERIES, assert_no_half_made_copy, execute, rows
from tests.stacks.views import repeated
from tests.stacks.waiting import wait_until
from tests.web import request

MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("task_api", "0002_task_done_page")]
    operations = [
        migrations.AddField("task", "note", models.TextField(default="?")),
        migrations.RunSQL("UPDATE task_api_task SET note = 'filled'"),
        migrations.RunSQL("{sql}"),
    ]
"""


def test_a_restore_under_running_workers_brings_back_every_row(copy: Copy) -> None:
    copy.ok("up", "--migrate")
    url = copy.url
    execute(copy, f"INSERT INTO task_api_task {SERIES}")
    assert copy.ok("db.snapshot", "--name", "two-thousand").endswith(" 2055 rows\n")
    execute(copy, "DELETE FROM task_api_task")
    statuses = set[int]()

    def ask() -> None:
        statuses.add(request(f"{url}/api/tasks").status)
        statuses.add(request(f"{url}/api/tasks", "POST", {"title": "meanwhile"}).status)

    with repeated(ask), repeated(ask):
        wait_until(lambda: 201 in statuses, "a row written meanwhile")
        done = copy.inv("db.restore", "--name", "two-thousand", "--yes")

    assert done.returncode == 0, done.stderr
    assert statuses <= {200, 201, 503}
    titles = rows(copy, "SELECT title FROM task_api_task WHERE title <> 'meanwhile'")
    assert len(titles) == 2000
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert request(f"{url}/api/tasks").status == 200


def test_removed_data_can_be_brought_back(copy: Copy) -> None:
    copy.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "dear"})

    for words in ("db.reset", "down --volumes", "destroy"):
        done = copy.inv(*words.split(), "--yes")
        assert done.returncode == 0, done.stderr
        copy.undo(done)
        copy.ok("up")
        assert copy.titles() == {"dear"}


def test_a_migration_is_rehearsed_then_rolled_back_when_it_fails(stack: Copy) -> None:
    stack.ask("/api/tasks", "POST", {"title": "kept"})
    file = stack.root / "server/task_api/migrations/0003_more.py"
    columns = ("dbshell", "--command", "SELECT sql FROM sqlite_master WHERE name = 'task_api_task'")
    before = stack.ok(*columns)
    try:
        file.write_text(MIGRATION.format(sql="SELECT 1"))
        rehearsed = stack.ok("db.rehearse")
        assert stack.ok(*columns) == before
        file.write_text(MIGRATION.format(sql="DROP TABLE gone"))
        done = stack.inv("migrate", "--rollback-on-failure")
    finally:
        file.unlink()

    assert re.search(r"\ntask_api.0003_more +\d\.\d+ s +\d+ +the whole file WRITE\n", rehearsed)
    assert done.returncode == 1
    assert "task_api.0003_more failed: no such table: gone\nSQL: DROP TABLE gone\n" in done.stderr
    assert "Rolled back to " in done.stderr
    assert stack.ok(*columns) == before
    assert "kept" in stack.titles()
    assert_no_half_made_copy(stack)
