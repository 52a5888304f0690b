"""A background program is recorded, known by PID and start, and ended with all children."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from composed import machine
from composed.errors import Interrupted, RefusedError
from composed.gateway import Gateway
from composed.local import daemon as module
from composed.local.daemon import Daemon
from tests.recorder import Recorder
from tests.samples import MonkeyPatch

CHILD = "import time; time.sleep(600)"
STARTED = "print('started', flush=True)"
# Starts a child in the same group, prints a line, and ends on SIGTERM.
PARENT = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "{CHILD}"])
{STARTED}
{CHILD}
"""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(Gateway(tmp_path), tmp_path)
    yield daemon
    daemon.stop(seconds=0)
    with suppress(ChildProcessError):  # collect ended children: outside a test they are init's
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def start(daemon: Daemon, script: str = PARENT, *options: str) -> int:
    argv = [sys.executable, "-c", script, *options]
    daemon.start(argv, cwd=Path.cwd(), env={"ADDED": "x"}, port=4711)
    until(lambda: "started" in daemon.log.read_text())
    running = daemon.running()
    assert running
    return running.pid


def group(pid: int) -> list[int]:
    return [p.pid for p in Gateway(Path()).processes() if p.group == pid]


def test_a_second_object_knows_the_program(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon)
    running = Daemon(Gateway(tmp_path), tmp_path).running()

    assert running
    assert (running.pid, running.port) == (pid, 4711)


@pytest.mark.parametrize(
    "values",
    [
        {"pid": 0},  # the group of the kernel's threads
        {"pid": 1},
        {"pid": "1"},
        {"port": 99999999},
        {"at": ""},
        {"at": None},
        {"folder": "\0"},
        {"folder": "\ud800"},
        {"since": 1},
    ],
)
def test_a_record_of_no_possible_process_counts_as_none(
    values: dict[str, object], daemon: Daemon, tmp_path: Path
) -> None:
    good = {"pid": os.getpid(), "since": "1", "port": 80, "at": 1.5, "folder": ""}
    (tmp_path / "backend.json").write_text(json.dumps(good))
    assert daemon.last()
    (tmp_path / "backend.json").write_text(json.dumps(good | values))

    assert (daemon.last(), daemon.running(), daemon.pids()) == (None, None, set())


def test_a_folder_whose_name_is_no_utf_8_is_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "b\udcff"
    daemon = Daemon(Gateway(tmp_path), folder)
    pid = start(daemon)
    last = daemon.last()
    daemon.stop(seconds=0)

    assert last
    assert (last.pid, last.folder) == (pid, str(folder))


def test_a_program_with_a_mangled_record_is_stopped_by_its_pid(
    daemon: Daemon, tmp_path: Path
) -> None:
    pid = start(daemon, PARENT, "--bind", "127.0.0.1:1")
    (tmp_path / "backend.json").write_text('{"pid": ')

    daemon.stop(seconds=0)

    assert group(pid) == []


@pytest.mark.parametrize("name", ["backend.log", "backend.json", "backend.pid"])
def test_a_pipe_in_place_of_a_file_is_named_before_a_start(
    name: str, daemon: Daemon, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / name)

    assert (daemon.log_after(0), daemon.log_size(), daemon.last()) == ("", 0, None)
    with pytest.raises((OSError, RefusedError), match="it is a pipe, not a file"):
        daemon.start(["true"], cwd=tmp_path, env={}, port=1)

    (tmp_path / name).unlink()


IGNORE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.mark.parametrize(("first", "seconds"), [("", 10), (IGNORE, 0)])
def test_a_stop_ends_the_whole_group(first: str, seconds: int, daemon: Daemon) -> None:
    pid = start(daemon, first + PARENT)
    assert len(group(pid)) == 2

    daemon.stop(seconds=seconds)

    until(lambda: group(pid) == [])
    assert daemon.last() is None


def test_children_of_a_killed_leader_are_ended(daemon: Daemon) -> None:
    pid = start(daemon)
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.running() is None)
    assert len(group(pid)) == 1

    daemon.stop(seconds=10)

    until(lambda: group(pid) == [])


RECORD = '{{"pid": {pid}, "since": "long ago", "port": 1, "at": 0}}'


@pytest.mark.parametrize(("name", "text"), [("json", RECORD), ("pid", "{pid}\n")])
def test_a_reused_pid_is_left_alone(name: str, text: str, daemon: Daemon, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True) as other:
        (tmp_path / f"backend.{name}").write_text(text.format(pid=other.pid))

        assert daemon.running() is None
        daemon.stop(seconds=10)

        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}'])
def test_a_broken_record_is_none(text: str, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "backend.json").write_text(text)

    assert daemon.last() is None
    assert daemon.running() is None


def test_a_long_log_moves_aside(daemon: Daemon, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1)
    for number in range(5):
        daemon.log.write_text(f"log {number}")
        daemon.rotate()

    kept = {file.name: file.read_text() for file in tmp_path.glob("backend.log.*")}
    assert kept == {f"backend.log.{n}": f"log {5 - n}" for n in (1, 2, 3)}
    assert daemon.log_size() == 0


def test_a_program_goes_on_with_the_emptied_log(daemon: Daemon, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1)
    start(daemon, f"{STARTED}; {CHILD}")
    with daemon.log.open("ab") as log:  # as the program has the log
        daemon.rotate()
        log.write(b"after")

    assert daemon.log_after(0) == "after"


@pytest.mark.parametrize("address", [["--bind", "127.0.0.1:1"], ["--port", "1"]])
def test_a_program_without_a_record_is_ended(
    daemon: Daemon, tmp_path: Path, address: list[str]
) -> None:
    pid = start(daemon, f"{STARTED}; {CHILD}", *address)
    (tmp_path / "backend.json").unlink()  # as if `inv` had been killed before

    daemon.stop(seconds=0)

    until(lambda: group(pid) == [])


def test_another_program_with_the_pid_is_left_alone(daemon: Daemon, tmp_path: Path) -> None:
    pid = start(daemon, f"{STARTED}; {CHILD}")
    (tmp_path / "backend.json").unlink()
    note = (tmp_path / "backend.pid").read_text()

    for command in ("", f"{pid}\n", f"{pid}\npython -m gunicorn --bind 127.0.0.1:1\n"):
        (tmp_path / "backend.pid").write_text(command)
        daemon.stop(seconds=0)
        assert group(pid) == [pid]

    (tmp_path / "backend.pid").write_text(note)


def test_a_signal_during_the_start_ends_the_verb_after_the_record(
    daemon: Daemon, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    spawn = Gateway.spawn

    def interrupted(self: Gateway, argv: Sequence[str], **options: Any) -> int:
        pid = spawn(self, argv, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(Gateway, "spawn", interrupted)
    with pytest.raises(Interrupted) as end:
        daemon.start([sys.executable, "-c", CHILD], cwd=tmp_path, env={}, port=1)

    assert end.value.code == 143
    assert daemon.running()


def test_ps_replaces_proc(recorder: Recorder, monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    out = "  1 0   1 Ss   Sun Nov 22 15:31:15 2026\n 22 1  20 Z+   Sun Nov 22 15:31:16 2026\n"
    monkeypatch.setattr(machine, "PROC", tmp_path)
    recorder.on("ps").say(out)

    assert Gateway(tmp_path).processes() == [(1, 0, 1, "Sun Nov 22 15:31:15 2026")]


@pytest.fixture
def second(tmp_path: Path) -> Daemon:
    """The daemon of another folder."""
    (tmp_path / "second").mkdir()
    return Daemon(Gateway(tmp_path), tmp_path / "second")


def test_a_copied_record_is_not_followed(daemon: Daemon, second: Daemon, tmp_path: Path) -> None:
    pid = start(daemon)
    shutil.copy(tmp_path / "backend.json", tmp_path / "second")

    assert second.running() is None
    second.stop(seconds=0)

    assert pid in daemon.pids()
    assert daemon.running()


def test_a_moved_folder_knows_the_program(daemon: Daemon, second: Daemon, tmp_path: Path) -> None:
    pid = start(daemon)
    shutil.move(tmp_path / "backend.json", tmp_path / "second")

    running = second.running()
    second.stop(seconds=0)

    assert running
    assert (running.pid, running.folder) == (pid, str(tmp_path))


def test_a_log_is_read_after_an_offset(daemon: Daemon, monkeypatch: MonkeyPatch) -> None:
    assert (daemon.log_after(0), daemon.log_size()) == ("", 0)

    daemon.log.write_text("old\nnew\n")

    assert daemon.log_size() == 8
    assert daemon.log_after(4) == "new\n"
    assert daemon.log_after(9) == "old\nnew\n"  # the log was moved aside meanwhile
    monkeypatch.setattr(module, "LOG_BYTES_READ", 2)
    assert daemon.log_after(0) == "w\n"
