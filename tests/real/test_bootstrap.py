"""A newcomer's first use of `./inv`: nothing faked, packages from the network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BASE = getattr(sys, "_base_executable", "")


@pytest.mark.parametrize("without_uv", [False, True])
def test_a_first_and_a_second_use(
    without_uv: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "Größe & mehr"
    for folder in ("composed", "locks"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("inv", "tasks.py"):
        shutil.copy(ROOT / name, root)
    if without_uv:
        monkeypatch.setenv("PATH", "/usr/bin:/bin")

    def inv(*words: str) -> tuple[int, str, str]:
        command = [BASE, str(root / "inv"), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.split("\n")[0], done.stderr

    message = "Making .venv from locks/inv.txt (once) …\n"
    assert inv("--list") == (0, "Available tasks:", message)
    assert inv("--list") == (0, "Available tasks:", "")
    nox = subprocess.run([root / ".venv/bin/nox", "--version"], capture_output=True, check=False)
    assert nox.returncode == 0


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a checkout whose `.venv` is made."""
    root = tmp_path_factory.mktemp("used") / "shop"
    for folder in ("composed", "locks"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("inv", "tasks.py", "pyproject.toml", ".env.example"):
        shutil.copy(ROOT / name, root)
    (root / "server/task_api").mkdir(parents=True)
    (root / ".env").write_text("COMPOSED_MODE=local\n")
    subprocess.run([root / "inv", "env"], check=True, capture_output=True)
    return root


@pytest.mark.skipif(sys.platform != "linux", reason="env of GNU blocks signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", ["./inv ps", "./inv --list", "./inv doctor", ".venv/bin/inv ps"])
def test_a_signal_at_any_moment_ends_inv_without_a_word(
    words: str, number: signal.Signals, used: Path
) -> None:
    """The moments are spread over the time that the verb takes."""
    began = time.monotonic()
    subprocess.run(words.split(), cwd=used, check=False, capture_output=True)
    takes = time.monotonic() - began
    codes = []
    for moment in range(25):
        process = subprocess.Popen(
            words.split(),
            cwd=used,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(takes * moment / 25)
        if process.poll() is None:
            os.killpg(process.pid, number)
        assert process.communicate()[1] == ""
        codes.append(process.returncode)

    assert set(codes) <= {-number, 128 + number, 0, 75}  # or the verb had ended before
    assert {-number, 128 + number} & set(codes)
