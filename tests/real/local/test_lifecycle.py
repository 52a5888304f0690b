"""The life of a server in local mode: up, ports, copies, edits, verbs inside, down."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from composed.gateway import Gateway
from tests.stacks.copies import Copy, assert_all_succeed, with_defaults
from tests.stacks.fixtures import NewCopy
from tests.stacks.ports import free_port, port_of
from tests.stacks.sqlite import leader
from tests.stacks.views import (
    add_views,
    failures_of_clients,
    served,
    slow_requests,
    statuses_of_writers,
)
from tests.stacks.waiting import wait_until


def without_docker(folder: Path) -> str:
    """Return a PATH with every program of the present PATH but Docker's."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*"):
            link = folder / program.name
            if not program.name.startswith("docker") and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


def test_a_first_session_without_docker(copy: Copy, tmp_path: Path) -> None:
    del copy.env["COMPOSED_MODE"]
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
    outputs = assert_all_succeed(*(copy.start("up") for _ in range(2)))

    assert len({url for output in outputs for url in re.findall(r"http://\S+", output)}) == 1


def test_many_inv_at_once_make_one_env_file(copy: Copy) -> None:
    """Each prints or uses secrets as soon as it has made them: nobody overwrites them."""
    file = copy.root / ".env"
    for _ in range(5):
        file.unlink()
        processes = [copy.start("env") for _ in range(4)]
        wait_until(file.exists, "the first .env")
        first = file.read_text()
        assert_all_succeed(*processes)

        assert file.read_text() == first
        assert [path.name for path in copy.root.glob(".env*")] == [".env", ".env.example"]


@pytest.mark.parametrize("umask", ["000", "077"])
def test_what_others_may_read_is_nothing_of_the_data(umask: str, copy: Copy) -> None:
    old = copy.root / ".composed" / "old"
    old.mkdir(parents=True)
    (copy.root / "data").mkdir()
    (copy.root / "data").chmod(0o755)  # of an earlier Composed
    script = f"umask {umask}; exec {copy.program} up --migrate"
    assert copy.run("sh", "-c", script).returncode == 0
    assert copy.ask("/api/tasks", "POST", {"title": "written"}).status == 201

    names = ("data", "data/db.sqlite3", "data/db.sqlite3-wal", "data/db.sqlite3-shm", ".composed")
    own = [copy.own, copy.own / "backend.log", copy.own / "backend.json"]
    paths = [*(copy.root / name for name in names), *own]
    assert [str(path) for path in paths if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("change", ["restart", "reload"])
@pytest.mark.parametrize("kept", [False, True], ids=["new connections", "kept connections"])
def test_no_request_is_lost(change: str, kept: bool, copy: Copy) -> None:
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.url
    wait_until(served(url, "first"), "the first value")

    with ThreadPoolExecutor(1) as threads:
        over = threading.Event()
        failures = threads.submit(failures_of_clients, url, over, kept=kept)
        for number in range(3):
            # As an editor saves: a server that loads a file half written would be right to fail.
            saved = extra.with_suffix(".new")
            saved.write_text(f"VALUE = 'edit {number}'\n")
            saved.replace(extra)
            if change == "restart":
                copy.ok("restart")
            wait_until(served(url, f"edit {number}"), "the edit")
        over.set()

    assert failures.result() == []
    assert copy.url == url


def test_two_copies_run_side_by_side(copy: Copy, new_copy: NewCopy) -> None:
    other = new_copy("other")
    for one in (copy, other):
        one.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "here alone"})

    assert (copy.titles(), other.titles()) == ({"here alone"}, set())


def test_a_taken_port_gives_way_and_the_choice_is_kept(copy: Copy, holder: socket.socket) -> None:
    port = port_of(holder)
    with_defaults(copy, port, free_port())
    assert copy.inv("up", "--strict-ports").returncode == 73

    done = copy.inv("up")
    assert done.returncode == 0, done.stderr
    url = copy.url
    assert url != f"http://127.0.0.1:{port}"
    assert f"(PID {os.getpid()}): using {url.split(':')[2]}, kept as BACKEND_PORT" in done.stderr

    holder.close()
    copy.ok("restart")
    assert copy.url == url
    copy.ok("down")
    copy.ok("up", "--strict-ports")
    assert copy.url == url


def test_copies_that_start_at_once_find_a_port_each(new_copy: NewCopy) -> None:
    port = free_port()
    copies = [with_defaults(new_copy(name), port, free_port()) for name in ("a", "b", "c")]

    assert_all_succeed(*(copy.start("up", "--migrate") for copy in copies))

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
    copy.append("server/task_api/settings.py", "\nimport no_such_module\n")

    done = copy.inv("up", "--timeout", "600")

    assert done.returncode == 75
    assert "No module named 'no_such_module'" in done.stderr


def test_an_edit_is_served_and_a_restart_reads_the_settings(copy: Copy) -> None:
    extra = add_views(copy)
    copy.ok("up", "--migrate")
    url = copy.url
    extra.write_text("VALUE = 'edited'\n")
    wait_until(served(url, "edited"), "the edited value")

    extra.write_text("import os\nVALUE = os.environ['WEB_CONCURRENCY']\n")
    copy.append(".env", "WEB_CONCURRENCY=1\n")
    copy.ok("restart")

    assert copy.ask("/value").text == "1"


def test_down_loses_no_request_that_is_being_answered(copy: Copy) -> None:
    add_views(copy)
    copy.ok("up", "--migrate")

    with slow_requests(copy, 8) as answers:
        copy.ok("down")

    assert [answer.result().text for answer in answers] == ["slow"] * 8


def test_eight_writers_at_once_all_succeed(copy: Copy) -> None:
    copy.ok("up", "--migrate")

    assert statuses_of_writers(copy.url) == {201}


def test_verbs_inside_keep_their_codes(copy: Copy) -> None:
    copy.ok("up", "--migrate")

    assert copy.inv("manage", "--", "shell", "-c", "raise SystemExit(9)").returncode == 9
    assert copy.inv("shell", "--", "sh", "-c", "exit 7").returncode == 7
    assert copy.ok("shell", text="echo $DATABASE_ENGINE") == "sqlite\n"
    assert copy.inv("makemigrations", "--check").returncode == 0


def test_an_up_after_an_interrupted_down_starts_anew(copy: Copy) -> None:
    add_views(copy)
    copy.ok("up", "--migrate")
    before = leader(copy)
    with slow_requests(copy, 1) as [answer]:
        down, log = copy.start("down"), copy.own / "backend.log"
        wait_until(lambda: "Handling signal: term" in log.read_text(), "the stop under way")
        down.terminate()
        down.communicate()
        copy.ok("up")

    assert down.returncode == 143
    assert answer.result().text == "slow"
    assert leader(copy) != before
    assert copy.ask("/api/tasks").status == 200
