"""Local mode with real processes: no engine is asked, nothing is mocked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pexpect
import pytest

from composed.gateway import Gateway
from tests.real.conftest import (
    SLEEP,
    WAYS,
    Copy,
    clone,
    end,
    finish,
    free_port,
    number,
    wait_until,
    with_defaults,
)
from tests.real.faults import LATER, Fault, each_fault
from tests.real.test_serving import add_views, served
from tests.web import request

# Two thousand tasks, as `INSERT INTO task_api_task` takes them.
SERIES = """
(id, title, description, done, created, updated)
WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
SELECT lower(hex(randomblob(16))), 'task ' || n, '', 0, datetime('now'), datetime('now') FROM series
"""

NewCopy = Callable[..., Copy]


@pytest.fixture
def copy(new_copy: NewCopy) -> Copy:
    it = new_copy()
    it.env["COMPOSED_MODE"] = "local"
    return it


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Share a migrated stack among the tests that leave it as it was."""
    it = clone(tmp_path_factory.mktemp("local") / "shop")
    it.env["COMPOSED_MODE"] = "local"
    try:
        it.ok("up", "--migrate")
        yield it
    finally:
        end(it)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Share a copy among the tests that break it and mend it again."""
    it = clone(tmp_path_factory.mktemp("shared") / "shop")
    it.env["COMPOSED_MODE"] = "local"
    it.ok("env")
    yield it
    end(it)


def leader(copy: Copy) -> int:
    record = copy.root / ".composed" / copy.project / "backend.json"
    return int(json.loads(record.read_text())["pid"])


def without_docker(folder: Path) -> str:
    """Return a PATH that has every program of this one but Docker's."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*"):
            link = folder / program.name
            if not program.name.startswith("docker") and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


def test_a_first_session_without_docker(new_copy: NewCopy, tmp_path: Path) -> None:
    copy = new_copy()
    copy.env["PATH"] = without_docker(tmp_path / "bin")

    done = copy.inv("up")
    assert done.returncode == 0, done.stderr
    assert "No Docker Engine is set up here: running Gunicorn and SQLite" in done.stderr
    assert "backend  running  healthy  http://127.0.0.1:" in done.stdout
    assert "Type: inv migrate" in done.stdout
    assert copy.ask("/api/tasks").status == 503

    copy.ok("migrate")
    assert copy.ask("/api/tasks", "POST", {"title": "kept"}).status == 201
    copy.ok("down")
    assert copy.ps() == {}
    copy.ok("up")
    assert copy.titles() == {"kept"}

    copy.ok("down")
    assert copy.run("git", "status", "--short").stdout == ""


def test_two_up_at_once_start_one_server(copy: Copy) -> None:
    both = [copy.start("up") for _ in range(2)]
    ends = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], ends
    assert len({url for out, _ in ends for url in re.findall(r"http://\S+", out)}) == 1


def test_two_copies_run_side_by_side(copy: Copy, new_copy: NewCopy) -> None:
    other = new_copy("other")
    other.env["COMPOSED_MODE"] = "local"
    for it in (copy, other):
        it.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "here alone"})

    assert (copy.titles(), other.titles()) == ({"here alone"}, set())


def local(copy: Copy, port: int) -> Copy:
    copy.env["COMPOSED_MODE"] = "local"
    return with_defaults(copy, port, free_port())


def test_a_taken_port_gives_way_and_the_choice_is_kept(
    new_copy: NewCopy, holder: socket.socket
) -> None:
    port = number(holder)
    copy = local(new_copy(), port)
    assert copy.inv("up", "--strict-ports").returncode == 73

    done = copy.inv("up")
    assert done.returncode == 0, done.stderr
    url = copy.ps()["backend"]["url"]
    assert url != f"http://127.0.0.1:{port}"
    assert f"(PID {os.getpid()}): using {url.split(':')[2]}, kept as BACKEND_PORT" in done.stderr

    holder.close()
    copy.ok("restart")
    assert copy.ps()["backend"]["url"] == url
    copy.ok("down")
    copy.ok("up", "--strict-ports")
    assert copy.ps()["backend"]["url"] == url


def test_copies_that_start_at_once_find_a_port_each(new_copy: NewCopy) -> None:
    port = free_port()
    copies = [local(new_copy(name), port) for name in ("a", "b", "c")]

    starts = [copy.start("up", "--migrate") for copy in copies]
    ends = [process.communicate() for process in starts]

    assert [process.returncode for process in starts] == [0, 0, 0], ends
    for copy in copies:
        copy.ask("/api/tasks", "POST", {"title": copy.root.name})
    assert [copy.titles() for copy in copies] == [{"a"}, {"b"}, {"c"}]


def test_a_copied_folder_leaves_the_originals_server_alone(copy: Copy, tmp_path: Path) -> None:
    copy.ok("up", "--migrate")
    copied = Copy(shutil.copytree(copy.root, tmp_path / "copied"), dict(copy.env))

    done = copied.inv("down")

    assert done.returncode == 0
    assert f"A copy of {copy.root}: it gets copied-" in done.stderr
    assert copy.ask("/api/tasks").status == 200
    copied.ok("up")
    copied.ask("/api/tasks", "POST", {"title": "in the copy"})
    assert copy.titles() == set()
    copied.ok("down")
    assert copied.ps() == {}
    assert copy.ask("/api/tasks").status == 200


def test_a_moved_folder_keeps_its_server_and_data(copy: Copy, tmp_path: Path) -> None:
    copy.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "kept"})
    project, before = copy.project, leader(copy)

    copy.root = Path(shutil.move(copy.root, tmp_path / "moved"))
    copy.ok("up")

    assert (copy.project, copy.titles()) == (project, {"kept"})
    assert before not in {process.pid for process in Gateway(copy.root).processes()}


def test_a_killed_server_is_seen_and_started_again(copy: Copy) -> None:
    copy.ok("up", "--migrate")
    os.kill(leader(copy), signal.SIGKILL)
    wait_until(lambda: copy.ps()["backend"]["state"] == "exited", "the end to be seen")

    copy.ok("up")

    assert copy.ask("/api/tasks").status == 200


def test_a_server_that_does_not_load_is_75_at_once(copy: Copy) -> None:
    with (copy.root / "server/task_api/settings.py").open("a") as settings:
        settings.write("\nimport no_such_module\n")

    done = copy.inv("up", "--timeout", "600")

    assert done.returncode == 75
    assert "No module named 'no_such_module'" in done.stderr


def test_an_edit_is_served_and_a_restart_reads_the_settings(copy: Copy) -> None:
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]
    extra.write_text("VALUE = 'edited'\n")
    wait_until(served(url, "edited"), "the edited value")

    extra.write_text("import os\nVALUE = os.environ['WEB_CONCURRENCY']\n")
    with (copy.root / ".env").open("a") as env:
        env.write("WEB_CONCURRENCY=1\n")
    copy.ok("restart")

    assert copy.ask("/value").text == "1"


def test_down_answers_what_is_being_answered(copy: Copy) -> None:
    add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]

    with ThreadPoolExecutor(8) as callers:
        answers = [callers.submit(request, f"{url}/slow") for _ in range(8)]
        wait_until(lambda: copy.ok("logs").count("slow began") == 8, "eight requests under way")
        copy.ok("down")

    assert [answer.result().text for answer in answers] == ["slow"] * 8


def test_eight_writers_at_once_all_succeed(copy: Copy) -> None:
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]

    def write(number: int) -> int:
        return request(f"{url}/api/tasks", "POST", {"title": f"writer {number}"}).status

    with ThreadPoolExecutor(8) as writers:
        assert set(writers.map(write, range(320))) == {201}


def test_verbs_inside_keep_their_codes(copy: Copy) -> None:
    copy.ok("up", "--migrate")

    assert copy.inv("manage", "--", "shell", "-c", "raise SystemExit(9)").returncode == 9
    assert copy.inv("shell", "--", "sh", "-c", "exit 7").returncode == 7
    assert copy.ok("shell", text="echo $DATABASE_ENGINE") == "sqlite\n"
    assert copy.inv("makemigrations", "--check").returncode == 0


def test_logs_are_followed_until_ctrl_c(copy: Copy) -> None:
    copy.ok("up")
    logs = copy.start("logs", "--follow")
    assert logs.stdout
    assert "gunicorn" in logs.stdout.readline()

    logs.send_signal(signal.SIGINT)
    logs.communicate(timeout=30)

    assert logs.returncode == 130


# What is typed, what the terminal shows once it is under way, and what is left after `kill -9`.
LASTING = {
    "up": (["--echo", "up"], "guarded_wsgi"),
    "logs": (["logs", "--follow"], "gunicorn"),
    # Not `sh -c 'echo …; sleep …'`: where sh is bash, it outlives a Ctrl-C between the two.
    "shell": (["shell", "--", "python", "-c", SLEEP], "under way"),
    "manage": (["manage", "--", "shell", "-c", SLEEP], "under way"),
    "dbshell": (["dbshell"], "sqlite>"),
}


@pytest.mark.parametrize(
    ("verb", "way"),
    # SQLite takes a Ctrl-C at its prompt: the test below.
    [(verb, way) for verb in LASTING for way in WAYS if (verb, way) != ("dbshell", "Ctrl-C")],
)
def test_a_verb_ends_on_a_signal_and_the_next_up_works(verb: str, way: str, stack: Copy) -> None:
    words, sign = LASTING[verb]
    stack.ok("down" if verb == "up" else "up")
    terminal = stack.terminal(*words)
    terminal.expect(sign)
    gateway, inv = Gateway(stack.root), terminal.pid

    assert finish(terminal, way) == WAYS[way]

    # The server, which is to stay, has a group of its own.
    wait_until(lambda: inv not in {p.group for p in gateway.processes()}, "its children's end")
    stack.ok("up")
    assert stack.ps()["backend"]["health"] == "healthy"
    assert servers(stack) == {leader(stack)}  # neither a second one nor one that nobody knows


def servers(copy: Copy) -> set[int]:
    """Return the leaders of all groups that run in the server's folder."""
    tree, found = copy.root / "server", set()
    for process in Gateway(copy.root).processes():
        with contextlib.suppress(OSError):  # ended meanwhile
            if Path(f"/proc/{process.pid}/cwd").readlink() == tree:
                found.add(process.group)
    return found


def test_a_program_that_takes_ctrl_c_ends_as_it_likes(stack: Copy) -> None:
    stack.ok("up")
    terminal = stack.terminal("dbshell")
    terminal.expect_exact("sqlite>")
    terminal.sendintr()
    terminal.sendline("select 40 + 2;")
    terminal.expect_exact("42\r\n")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 0


def test_an_up_after_an_interrupted_down_starts_anew(copy: Copy) -> None:
    add_views(copy)
    copy.ok("up", "--migrate")
    before, url = leader(copy), copy.ps()["backend"]["url"]
    with ThreadPoolExecutor(1) as callers:
        answer = callers.submit(request, f"{url}/slow")
        wait_until(lambda: "slow began" in copy.ok("logs"), "the request under way")
        down = copy.start("down")
        wait_until(lambda: "Handling signal: term" in copy.ok("logs"), "the stop under way")
        down.terminate()
        down.communicate()
        copy.ok("up")

    assert down.returncode == 143
    assert answer.result().text == "slow"
    assert leader(copy) != before
    assert copy.ask("/api/tasks").status == 200


@each_fault
def test_each_fault_is_explained(fault: Fault, shared: Copy) -> None:
    done = fault.provoke(shared)

    assert done.returncode == 75
    assert fault.is_explained(done), done.stderr


def test_a_full_disk_is_explained(shared: Copy) -> None:
    fault = Fault(
        "disk",
        "The disk of the engine or of this machine is full.",
        cure="df -h .",
        text="open('/dev/full', 'w').write(' ' * 100_000)",
    )

    assert fault.is_explained(fault.provoke(shared))


def test_up_tells_what_the_database_lacks_and_has_too_much(shared: Copy) -> None:
    assert "Pending migrations: " in shared.ok("restart")
    shared.ok("migrate")
    shared.ok("dbshell", "--command", LATER.format("datetime('now')"))

    out = shared.ok("up", ALLOWED_HOSTS="example.org")

    assert "Pending" not in out
    assert "  Type: git log --all --oneline -- '*/0999_later.py'\n" in out


def test_a_host_that_is_not_allowed_is_explained(shared: Copy) -> None:
    shared.ok("migrate")

    out = shared.ok("restart", ALLOWED_HOSTS="example.org")

    assert out.endswith(
        "\nDjango refuses the host name 127.0.0.1: add it to ALLOWED_HOSTS in .env.\n"
        "  Type: inv up\n"
    )


def test_a_restore_under_running_workers_brings_back_every_row(copy: Copy) -> None:
    copy.ok("up", "--migrate")
    url = copy.ps()["backend"]["url"]
    execute(copy, f"INSERT INTO task_api_task {SERIES}")
    assert copy.ok("db.snapshot", "--name", "two-thousand").endswith(" 2054 rows\n")
    execute(copy, "DELETE FROM task_api_task")
    statuses, over = set[int](), threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.add(request(f"{url}/api/tasks").status)
            statuses.add(request(f"{url}/api/tasks", "POST", {"title": "meanwhile"}).status)

    with ThreadPoolExecutor(2) as callers:
        asking = [callers.submit(ask) for _ in range(2)]
        try:
            wait_until(lambda: 201 in statuses, "a row written meanwhile")
            done = copy.inv("db.restore", "--name", "two-thousand", "--yes")
        finally:
            over.set()
    assert [caller.result() for caller in asking] == [None, None]

    assert done.returncode == 0, done.stderr
    assert statuses <= {200, 201, 503}
    titles = rows(copy, "SELECT title FROM task_api_task WHERE title <> 'meanwhile'")
    assert len(titles) == 2000
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert request(f"{url}/api/tasks").status == 200


def test_data_that_goes_can_be_brought_back(copy: Copy) -> None:
    copy.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "dear"})

    for words in ("db.reset", "down --volumes", "destroy"):
        done = copy.inv(*words.split(), "--yes")
        assert done.returncode == 0, done.stderr
        copy.ok(*done.stderr.splitlines()[-1].partition("inv ")[2].split(), "--yes")
        copy.ok("up")
        assert copy.titles() == {"dear"}


def database(copy: Copy) -> sqlite3.Connection:
    return sqlite3.connect(copy.root / "data/db.sqlite3", timeout=20)


def execute(copy: Copy, statement: str) -> None:
    with contextlib.closing(database(copy)) as connection, connection:
        connection.execute(statement)


def rows(copy: Copy, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(database(copy)) as connection:
        return connection.execute(query).fetchall()


MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("task_api", "0001_initial")]
    operations = [
        migrations.AddField("task", "note", models.TextField(default="?")),
        migrations.RunSQL("UPDATE task_api_task SET note = 'filled'"),
        migrations.RunSQL("{sql}"),
    ]
"""


def test_a_migration_is_rehearsed_then_rolled_back_when_it_fails(stack: Copy) -> None:
    stack.ask("/api/tasks", "POST", {"title": "kept"})
    file = stack.root / "server/task_api/migrations/0002_more.py"
    ours = stack.root / ".composed" / stack.project
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

    assert re.search(r"\ntask_api.0002_more +\d\.\d+ s +\d+ +the whole file WRITE\n", rehearsed)
    assert done.returncode == 1
    assert "task_api.0002_more failed: no such table: gone\nSQL: DROP TABLE gone\n" in done.stderr
    assert "Rolled back to " in done.stderr
    assert stack.ok(*columns) == before
    assert "kept" in stack.titles()
    assert [*ours.glob("restored*"), *ours.glob("swaps/*")] == []
