"""A lock that the kernel drops tells calls under way from abandoned calls."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from composed.calls import Calls
from composed.errors import Interrupted
from composed.gateway import Gateway
from tests.samples import ROOT

GATEWAY = Gateway(ROOT)


def test_a_call_under_way_is_not_abandoned(tmp_path: Path) -> None:
    calls = Calls(GATEWAY, tmp_path)
    with calls.under_way("backend"):
        assert calls.abandoned() == {}

    assert list(tmp_path.iterdir()) == []


def test_a_call_that_fails_is_forgotten(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Calls(GATEWAY, tmp_path).under_way():
        1 / 0  # noqa: B018

    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_call_is_abandoned(tmp_path: Path) -> None:
    calls = Calls(GATEWAY, tmp_path)
    with pytest.raises(Interrupted), calls.under_way("db"):
        raise Interrupted

    assert list(calls.abandoned().values()) == ["db"]


def test_a_killed_call_is_abandoned(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from composed.calls import Calls\n"
        "from composed.gateway import Gateway\n"
        "with Calls(Gateway(Path()), Path(sys.argv[1])).under_way('db'): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    calls = Calls(GATEWAY, tmp_path)

    ((call, service),) = calls.abandoned().items()
    assert service == "db"

    calls.forget(call)
    assert calls.abandoned() == {}


def test_a_missing_folder_has_no_calls(tmp_path: Path) -> None:
    assert Calls(GATEWAY, tmp_path / "none").abandoned() == {}


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda file: file.symlink_to("/dev/zero")])
def test_a_thing_that_is_no_record_is_left_alone(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "thing")

    assert Calls(GATEWAY, tmp_path).abandoned() == {}


@pytest.mark.parametrize("text", [b"\xff", b"a\0b", b"--all", b"a b", b"x" * 10_000])
def test_a_text_that_names_nothing_counts_as_empty(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "call").write_bytes(text)

    assert Calls(GATEWAY, tmp_path).abandoned() == {"call": ""}


def test_a_waiting_inv_names_the_child_of_a_killed_inv(tmp_path: Path) -> None:
    """The PID in the file is of an ``inv`` that is gone; its child holds the lock."""
    script = (
        "import os, sys; from pathlib import Path; from composed.gateway import Gateway\n"
        "gateway = Gateway(Path())\n"
        "with gateway.lock(Path(sys.argv[1])):\n"
        "    gateway.run(['sh', '-c', f'kill -9 {os.getpid()}; echo $$; read x'])"
    )
    lock, piped = tmp_path / "lock", subprocess.PIPE
    argv = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=piped, stdout=piped, text=True) as killed:
        assert killed.stdin
        assert killed.stdout
        child = killed.stdout.readline().strip()
        killed.wait()
        code = script.replace("gateway.run", "print")
        argv = [sys.executable, "-c", code, str(lock)]
        with subprocess.Popen(argv, cwd=ROOT, stdout=piped, stderr=piped, text=True) as second:
            assert second.stderr
            waiting = second.stderr.readline()
            killed.stdin.close()

    assert waiting == f"Waiting for sh (PID {child}), started by an inv that has ended …\n"


def test_a_second_inv_waits_and_names_the_first(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from composed.gateway import Gateway\n"
        "with Gateway(Path()).lock(Path(sys.argv[1])): print('in')"
    )
    argv, piped = [sys.executable, "-c", script, str(tmp_path / "lock")], subprocess.PIPE
    with GATEWAY.lock(tmp_path / "lock"):
        second = subprocess.Popen(argv, cwd=ROOT, stdout=piped, stderr=piped, text=True)
        assert second.stderr
        waiting = second.stderr.readline()
        assert second.poll() is None
    out, _ = second.communicate()

    assert waiting.startswith("Waiting for another inv (PID ")
    assert out == "in\n"
