"""Bytecode of the package is kept, which Invoke forbids, unless whoever calls forbids it too."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from composed.verbs import bytecode_kept

sys.dont_write_bytecode = True
with bytecode_kept():
    print(sys.dont_write_bytecode)
assert sys.dont_write_bytecode
"""


@pytest.mark.parametrize(("options", "forbidden"), [([], "False"), (["-B"], "True")])
def test_bytecode_is_kept_unless_python_was_told_otherwise(
    options: list[str], forbidden: str
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, *options, "-c", SCRIPT]

    assert subprocess.check_output(argv, env=env, text=True).strip() == forbidden
