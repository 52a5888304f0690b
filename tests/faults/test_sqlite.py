"""Work on data that is cut off in local mode, where the database is a file."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.faults.work import ROWS
from tests.stacks.copies import Copy, cut_off
from tests.stacks.sqlite import SERIES, assert_no_half_made_copy, database, execute, leader, rows
from tests.stacks.waiting import wait_until
from tests.web import request

MIGRATION = """\
import time
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("task_api", "0002_task_done_page")]
    operations = [
        migrations.RunSQL("UPDATE task_api_task SET description = 'half'"),
        migrations.RunPython(lambda apps, editor: [print("half", flush=True), time.sleep(3)]),
    ]
"""

SHELL = """\
import itertools, time
from task_api.models import Task
for number in itertools.count():
    Task.objects.create(title=f"shell {number}")
    print("confirmed", number, flush=True)
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def mode() -> str:
    return "local"


@pytest.fixture(scope="module")
def local(stack: Copy) -> Copy:
    """Have a server with 2000 tasks, a snapshot of them, and a table that is slow to copy."""
    execute(stack, f"INSERT INTO task_api_task {SERIES}")
    stack.ok("db.snapshot", "--name", "whole")
    execute(stack, "CREATE TABLE large AS SELECT randomblob(100000000) AS body")
    return stack


def check_whole(copy: Copy) -> None:
    """Bring the server up again: every committed row is there, and nothing half-made."""
    copy.ok("up")
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert rows(copy, "SELECT count(*), max(description) FROM task_api_task") == [(ROWS, "")]
    copy.ok("db.snapshot", "--name", "after")
    assert "half-made" not in copy.ok("db.list")
    copy.run("rm", "-r", str(copy.root / "data/snapshots/after"))
    assert_no_half_made_copy(copy)
    assert copy.ask("/api/tasks").status == 200


def has_bytes(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def test_a_killed_snapshot_leaves_nothing(local: Copy) -> None:
    half = local.root / "data/snapshots/.cut-off.half-made/database.dump"

    code = cut_off(local, "db.snapshot --name cut-off", signal.SIGKILL, lambda: has_bytes(half))

    assert code == -signal.SIGKILL
    assert "half-made: .cut-off.half-made\n" in local.ok("db.list")
    check_whole(local)


def test_a_killed_restore_changes_nothing(local: Copy) -> None:
    copied = local.own / "restored.sqlite3"
    with contextlib.closing(database(local)) as writer:
        writer.execute("BEGIN IMMEDIATE")  # for which the restore has to wait
        restore = "db.restore --name whole --no-snapshot --yes"
        code = cut_off(local, restore, signal.SIGKILL, lambda: has_bytes(copied))

    assert code == -signal.SIGKILL
    local.ok("ps")  # any verb cleans up
    assert rows(local, "SELECT length(body) FROM large") == [(100_000_000,)]
    check_whole(local)


def test_a_killed_migration_is_done_whole_or_not_at_all(local: Copy) -> None:
    file = local.root / "server/task_api/migrations/0003_half.py"
    file.write_text(MIGRATION)
    killed = local.start("migrate", "--no-snapshot")
    output = killed.stdout
    assert output
    wait_until(lambda: "half" in output.readline(), "the migration at work")
    (child,) = local.run("pgrep", "-P", str(killed.pid)).stdout.split()
    os.kill(int(child), signal.SIGKILL)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    assert rows(local, "SELECT count(*) FROM task_api_task WHERE description = 'half'") == [(0,)]
    file.unlink()
    check_whole(local)


def test_a_killed_server_loses_nothing_that_it_confirmed(local: Copy) -> None:
    url = local.url

    def write(number: int) -> int:
        try:
            return request(f"{url}/api/tasks", "POST", {"title": f"written {number}"}).status
        except (OSError, HTTPException):
            return 0

    with ThreadPoolExecutor(8) as writers:
        answers = writers.map(write, range(400))
        confirmed = [next(answers) for _ in range(50)].count(201)
        os.killpg(leader(local), signal.SIGKILL)
        confirmed += [*answers].count(201)

    local.ok("up")
    written = "FROM task_api_task WHERE title LIKE 'written %'"
    ((found,),) = rows(local, f"SELECT count(*) {written}")
    execute(local, f"DELETE {written}")
    assert 50 <= confirmed <= found
    assert confirmed < 400
    check_whole(local)


def test_no_database_is_removed_that_a_shell_writes_to(local: Copy) -> None:
    with local.start("manage", "--", "shell", "--command", SHELL) as shell:
        output = shell.stdout
        assert output
        wait_until(lambda: "confirmed" in output.readline(), "a row of the shell")
        for words in ("down --volumes", "destroy"):
            done = local.inv(*words.split(), "--yes")
            assert done.returncode == 77, done.stderr
            assert re.search(r"db.sqlite3 is used by \S+ \(PID \d+\)", done.stderr)
        assert local.ask("/api/tasks").status == 200  # the server is started again
        os.killpg(shell.pid, signal.SIGKILL)
        confirmed = 1 + output.read().count("confirmed")

    written = "FROM task_api_task WHERE title LIKE 'shell %'"
    ((found,),) = rows(local, f"SELECT count(*) {written}")
    execute(local, f"DELETE {written}")
    assert 10 < confirmed <= found
    check_whole(local)


def test_a_snapshot_that_may_not_grow_leaves_nothing(local: Copy) -> None:
    """A limit to the size of files ends a write as a full disk does, without root."""
    done = local.run("sh", "-c", f"ulimit -f 1024; exec {local.program} db.snapshot --name cut-off")

    assert done.returncode == 74, done.stderr
    assert done.stderr.endswith("The database is as it was.\n")
    check_whole(local)
