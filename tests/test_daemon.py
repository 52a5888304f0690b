"""A background program is known again, told from another of its PID, and ended whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from composed import machine
from composed.errors import Interrupted
from composed.gateway import Gateway
from composed.local import daemon as module
from composed.local.daemon import Daemon
from tests.recorder import Recorder
from tests.samples import MonkeyPatch

CHILD = "import time; time.sleep(600)"
# Starts a child in its group, says so, and ends on SIGTERM.
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "{CHILD}"])
print("started", flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    it = Daemon(Gateway(tmp_path), tmp_path)
    yield it
    it.stop(seconds=0)
    reap()


def start(daemon: Daemon, folder: Path, script: str = PARENT) -> int:
    argv = [sys.executable, "-c", script]
    daemon.start(argv, cwd=folder, env={"ADDED": "x"}, port=4711)
    until(lambda: "started" in daemon.log.read_text())
    running = daemon.running()
    assert running
    return running.pid


def reap() -> None:
    """Collect ended children: outside a test they are init's."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def group(pid: int, folder: Path) -> list[int]:
    return [p.pid for p in Gateway(folder).processes() if p.group == pid]


def test_a_start_is_known_again(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon, tmp_path)
    again = Daemon(Gateway(tmp_path), tmp_path).running()

    assert again
    assert (again.pid, again.port) == (pid, 4711)


def test_a_stop_ends_the_whole_group(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon, tmp_path)
    assert len(group(pid, tmp_path)) == 2

    daemon.stop(seconds=10)

    until(lambda: group(pid, tmp_path) == [])
    assert daemon.last() is None


def test_a_program_that_ignores_the_request_is_killed(daemon: Daemon, tmp_path: Path) -> None:
    script = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){PARENT}"
    pid = start(daemon, tmp_path, script)

    daemon.stop(seconds=0)

    until(lambda: group(pid, tmp_path) == [])


def test_what_a_killed_leader_leaves_is_ended(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon, tmp_path)
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.running() is None)
    assert len(group(pid, tmp_path)) == 1

    daemon.stop(seconds=10)

    until(lambda: group(pid, tmp_path) == [])


def test_a_pid_given_anew_is_somebody_else(daemon: Daemon, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True) as other:
        record = {"pid": other.pid, "since": "long ago", "port": 1, "at": 0}
        (tmp_path / "backend.json").write_text(json.dumps(record))

        assert daemon.running() is None
        daemon.stop(seconds=10)

        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}'])
def test_a_record_that_is_broken_is_none(text: str, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "backend.json").write_text(text)

    assert daemon.last() is None
    assert daemon.running() is None


def test_a_long_log_is_moved_aside(
    daemon: Daemon, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1)
    for number in range(5):
        daemon.log.write_text(f"log {number}")
        daemon.rotate()

    kept = {file.name: file.read_text() for file in tmp_path.glob("backend.log.*")}
    assert kept == {f"backend.log.{n}": f"log {5 - n}" for n in (1, 2, 3)}
    assert daemon.log_size() == 0


def test_what_runs_goes_on_with_a_log_that_was_moved_aside(
    daemon: Daemon, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1)
    script = "import sys; print('started', flush=True)\nfor line in sys.stdin: pass"
    start(daemon, tmp_path, f"{script}\nimport time; time.sleep(600)")
    with daemon.log.open("ab") as other:  # as the program has it
        daemon.rotate()
        other.write(b"after")

    assert daemon.log_after(0) == "after"


def test_one_whose_start_was_never_written_down_is_found_and_ended(
    daemon: Daemon, tmp_path: Path
) -> None:
    script = "import time; print('started', flush=True); time.sleep(600)"
    argv = [sys.executable, "-c", script, "--bind", "127.0.0.1:1"]
    daemon.start(argv, cwd=tmp_path, env={}, port=1)
    until(lambda: "started" in daemon.log.read_text())
    pid = json.loads((tmp_path / "backend.json").read_text())["pid"]
    (tmp_path / "backend.json").unlink()  # as if `inv` had been killed before

    daemon.stop(seconds=0)

    until(lambda: group(pid, tmp_path) == [])


def test_a_noted_pid_that_is_anothers_by_now_is_left_alone(daemon: Daemon, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True) as other:
        (tmp_path / "backend.pid").write_text(f"{other.pid}\n")

        daemon.stop(seconds=0)

        assert other.poll() is None
        other.kill()


def test_a_signal_while_it_is_started_ends_us_once_that_is_written_down(
    daemon: Daemon, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    spawn = Gateway.spawn

    def interrupted(self: Gateway, argv: Sequence[str], **options: Any) -> int:
        pid = spawn(self, argv, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(Gateway, "spawn", interrupted)
    argv = [sys.executable, "-c", CHILD]
    with pytest.raises(Interrupted) as end:
        daemon.start(argv, cwd=tmp_path, env={}, port=1)

    assert end.value.code == 143
    assert daemon.running()


def test_without_proc_ps_is_asked(
    recorder: Recorder, monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    out = "  1 0   1 Ss   Sun Nov 22 15:31:15 2026\n 22 1  20 Z+   Sun Nov 22 15:31:16 2026\n"
    monkeypatch.setattr(machine, "PROC", tmp_path)
    recorder.on("ps").say(out)

    assert Gateway(tmp_path).processes() == [(1, 0, 1, "Sun Nov 22 15:31:15 2026")]


def test_the_record_of_a_copied_folder_is_the_other_folders(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon, tmp_path)
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "backend.json", tmp_path / "copy")
    copy = Daemon(Gateway(tmp_path), tmp_path / "copy")

    assert copy.running() is None
    copy.stop(seconds=0)

    running = daemon.running()
    assert running
    assert running.pid == pid
    assert pid in daemon.pids()


def test_a_moved_folder_knows_its_program_again(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon, tmp_path)
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "backend.json", tmp_path / "moved")
    moved = Daemon(Gateway(tmp_path), tmp_path / "moved")

    running = moved.running()
    moved.stop(seconds=0)

    assert running
    assert (running.pid, running.folder) == (pid, str(tmp_path))


def test_a_log_is_read_from_where_it_was(daemon: Daemon, monkeypatch: MonkeyPatch) -> None:
    assert (daemon.log_after(0), daemon.log_size()) == ("", 0)

    daemon.log.write_text("old\nnew\n")

    assert daemon.log_size() == 8
    assert daemon.log_after(4) == "new\n"
    assert daemon.log_after(9) == "old\nnew\n"  # it was moved aside meanwhile
    monkeypatch.setattr(module, "LOG_BYTES_READ", 2)
    assert daemon.log_after(0) == "w\n"
