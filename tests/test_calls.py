"""A lock that the kernel drops tells calls under way from abandoned calls."""

import subprocess
import sys
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
