"""Random interruptions of random verbs, in a file for each mode: these run side by side.

``RANDOM_SEED`` and ``RANDOM_CASES`` repeat a run, or make a run longer.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from tests.faults.work import ROWS, servers
from tests.stacks.copies import ROOT, Copy
from tests.stacks.postgresql import FILL, sql
from tests.stacks.sqlite import SERIES, execute, leader, rows

VERBS = (
    *("db.snapshot", "db.restore --name whole --yes", "db.reset --yes", "down --volumes --yes"),
    *("down", "restart", "up", "db.rehearse", "destroy --yes", "db.restore --latest --yes"),
)
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
FAULTS = (*SIGNALS, "child killed", "database killed")
COUNT = "SELECT count(*) FROM task_api_task"


@pytest.fixture(scope="module")
def whole(stack: Copy, mode: str) -> Copy:
    """Have 2000 tasks, a snapshot of them, and the program that users have in ``.venv``."""
    (script,) = re.findall(
        r'^SCRIPT = """\\\n(.*?)"""', (ROOT / "inv").read_text(), re.DOTALL | re.M
    )
    program = stack.root / ".venv/bin/inv"
    program.parent.mkdir(parents=True)
    program.write_text(script.format(f"{sys.executable} -S {stack.root}/composed/__main__.py"))
    program.chmod(0o755)
    stack.program = str(program)
    if mode == "local":
        execute(stack, f"INSERT INTO task_api_task {SERIES}")
    else:
        sql(stack, FILL.format(count=ROWS))
    stack.ok("db.snapshot", "--name", "whole")
    return stack


def strike(stack: Copy, mode: str, fault: str, verb: subprocess.Popen[str]) -> None:
    """Interrupt the verb, which may have ended; a signal goes to its whole group, as a shell's."""
    with contextlib.suppress(ProcessLookupError):
        if fault == "SIGKILL":
            verb.kill()
        elif fault in SIGNALS:
            os.killpg(verb.pid, signal.Signals[fault])
        elif fault == "child killed":
            for pid in stack.run("pgrep", "-P", str(verb.pid)).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
        elif mode == "local":
            with contextlib.suppress(OSError, ValueError):  # no server runs
                os.killpg(leader(stack), signal.SIGKILL)
        elif ids := servers(stack):
            stack.run("docker", "kill", "--signal", "KILL", *ids)


def tasks(stack: Copy, mode: str) -> int:
    """Return the number of tasks, 0 without a table."""
    if mode == "local":
        there = rows(stack, "SELECT 1 FROM sqlite_master WHERE name = 'task_api_task'")
        return int(rows(stack, COUNT)[0][0]) if there else 0
    container = stack.container("db")  # a cut-off restart leaves Compose's name for a while
    has_table = sql(stack, "SELECT to_regclass('task_api_task')", container)
    return int(sql(stack, COUNT, container)) if has_table else 0


def interrupt(whole: Copy, mode: str, usual: int) -> str:
    """Interrupt a verb again and again, look for every row each time; return the figures."""
    seed = int(os.environ.get("RANDOM_SEED", secrets.randbelow(1 << 32)))
    cases = int(os.environ.get("RANDOM_CASES", usual))
    random, faults, lost = Random(seed), Counter[str](), 0  # no secret
    name = f"random interruptions, seed {seed}, {mode or 'docker'} mode"
    for number in range(cases):
        verb, fault = random.choice(VERBS), random.choice(FAULTS)
        case = f"{name}, case {number}: {fault} during {verb}"
        print(case)  # shown after a failure
        process = whole.start(*verb.split())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0, 1.0 if mode == "local" else 4.0))
        strike(whole, mode, fault, process)
        _, error = process.communicate(timeout=120)
        assert "Traceback (most recent call last)" not in error, f"{case}: {error}"

        again = whole.inv("up")  # the next verb
        assert again.returncode == 0, (case, error, again.stderr)
        if tasks(whole, mode) != ROWS:  # replaced: then the snapshot before has every row
            whole.ok("db.restore", "--latest", "--no-snapshot", "--yes")
        lost += ROWS - tasks(whole, mode)
        assert lost == 0, (case, error)
        faults[fault] += 1

    figures = ", ".join(f"{count} {fault}" for fault, count in sorted(faults.items()))
    return f"{name}: {cases} cases ({figures}), {lost} rows lost"
