"""Calls under way are told from abandoned ones by a lock that the kernel drops."""

import subprocess
import sys
from pathlib import Path

import pytest

from composed.calls import Calls
from composed.errors import Interrupted
from composed.gateway import Gateway

ROOT = Path(__file__).parent.parent
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


def test_an_interrupted_call_is_abandoned_by_its_own_inv(tmp_path: Path) -> None:
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


def test_no_folder_is_no_call(tmp_path: Path) -> None:
    assert Calls(GATEWAY, tmp_path / "none").abandoned() == {}


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from composed.gateway import Gateway\n"
        "with Gateway(Path()).lock(Path(sys.argv[1])): print('in')"
    )
    with GATEWAY.lock(tmp_path / "lock"):
        second = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "lock")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr
        waiting = second.stderr.readline()
        assert second.poll() is None
    out, _ = second.communicate()

    assert waiting.startswith("Waiting for another inv (PID ")
    assert out == "in\n"
