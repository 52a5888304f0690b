"""A newcomer's first use of `./inv`: nothing faked, packages from the network."""

from __future__ import annotations

import shutil
import subprocess
import sys
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
