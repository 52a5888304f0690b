"""The verbs that lead inside: through a terminal, through a pipe, and with an error."""

from __future__ import annotations

import os
import signal
import subprocess

import pexpect
import pytest

from tests.stacks.copies import Copy
from tests.stacks.fixtures import NewCopy
from tests.stacks.postgresql import sql
from tests.stacks.terminals import end_input, exit_code
from tests.stacks.waiting import wait_until

SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def test_a_shell_in_a_terminal_resizes_and_survives_ctrl_c(stack: Copy) -> None:
    shell = stack.terminal("shell")
    shell.expect_exact("$ ")
    shell.sendline("stty size")
    shell.expect_exact("30 100")
    shell.setwinsize(20, 70)
    wait_until(lambda: size(shell) == "20 70", "the terminal's new size inside")

    shell.sendline("sleep 600 && echo slept")
    wait_until(lambda: "sleep 600" in stack.processes("backend"), "the sleep inside")
    shell.sendintr()
    shell.sendline("echo $((40 + 2))")
    shell.expect_exact("42")

    assert end_input(shell, "$ ") == 0
    assert "slept\r\n" not in str(shell.before).replace("echo slept\r\n", "")


def size(shell: pexpect.spawn[str]) -> str:
    shell.sendline("stty size")
    shell.expect(r"\d+ \d+\r\n")
    return str(shell.after).strip()


def test_psql_in_a_terminal_survives_ctrl_c(stack: Copy) -> None:
    psql = stack.terminal("dbshell")
    psql.expect_exact("task_db=# ")
    psql.sendline("select pg_sleep(600);")
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    wait_until(lambda: sql(stack, asleep) == "1", "the statement being executed")
    canceled = "canceling statement due to user request"
    for _ in range(10):  # a cancel request that comes while the server is busy can be lost
        psql.sendintr()
        if psql.expect_exact([canceled, pexpect.TIMEOUT], timeout=3) == 0:
            break
    assert psql.after == canceled
    psql.expect_exact("task_db=# ")
    psql.sendline("select 40 + 2;")
    psql.expect_exact("42")

    assert end_input(psql, "task_db=# ") == 0


def test_a_pipe_goes_through_without_terminal_codes(stack: Copy) -> None:
    assert stack.ok("shell", text="echo $((40 + 2)); tty || true") == "42\nnot a tty\n"
    assert stack.ok("dbshell", "--", "--no-align", "--tuples-only", text="select 6 * 7;") == "42\n"
    assert stack.ok("shell", "--django", text="print(6 * 7)").splitlines()[-1] == "42"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["shell", "--", "sh", "-c", "exit 7"], 7),
        (["manage", "--", "shell", "-c", "raise SystemExit(9)"], 9),
        (["manage", "--", "check", "--fail-level", "WARNING"], 0),
        (["manage", "--", "check", "--deploy", "--fail-level", "WARNING"], 1),
        (["manage", "--", "no-such-command"], 1),
        (["dbshell", "--command", "select nothing"], 1),
        (["makemigrations", "--check"], 0),
        (["migrate", "--check"], 0),
        (["shell", "--service", "web"], 66),
        (["logs", "--service", "web"], 66),
    ],
    ids=str,
)
def test_the_code_is_kept(words: list[str], code: int, stack: Copy) -> None:
    done = stack.inv(*words)

    assert done.returncode == code, done.stderr


def test_a_script_stops_at_its_first_error(stack: Copy) -> None:
    done = stack.inv("dbshell", text="select nothing; select 6 * 7;")

    assert done.returncode != 0
    assert "42" not in done.stdout


def test_logs_are_followed_until_ctrl_c(stack: Copy) -> None:
    logs = stack.start("logs", "--follow", "--service", "backend")
    assert logs.stdout
    assert "backend" in logs.stdout.readline()

    logs.send_signal(signal.SIGINT)
    logs.communicate(timeout=30)

    assert logs.returncode == 130


def test_ctrl_c_in_a_terminal_ends_with_130(stack: Copy) -> None:
    logs = stack.terminal("logs", "--follow")
    logs.expect_exact("backend")
    logs.sendintr()

    assert exit_code(logs) == 130


def test_the_next_verb_ends_a_command_whose_inv_was_killed(stack: Copy) -> None:
    before = stack.containers("--all")
    killed = stack.start("manage", "--", "shell", "-c", "import time; time.sleep(600)", **SILENT)
    wait_until(lambda: stack.containers() - before, "the one-off container")
    killed.kill()
    killed.wait()

    stack.ok("ps")

    assert stack.containers("--all") == before


def test_the_next_verb_ends_a_program_that_a_killed_shell_left_running(stack: Copy) -> None:
    def asleep() -> bool:
        return "sleep 611" in stack.processes("backend")

    shell = stack.terminal("shell")
    shell.expect_exact("$ ")
    shell.sendline("sleep 611")
    wait_until(asleep, "the sleep inside")
    assert shell.pid
    os.killpg(shell.pid, signal.SIGKILL)  # inv and the docker client at once
    wait_until(lambda: not shell.isalive(), "the end of inv")
    assert asleep()

    stack.ok("ps")

    assert not asleep()
    shell.close(force=True)


# Asks a question after a while, as a handler of `post_migrate` may.
ASKING = """
import sys, time
from django.apps import AppConfig
from django.db.models.signals import post_migrate
def _ask(sender, **options):
    if sender.label == "task_api":
        print("  Applying long.0001_work...", end="", flush=True)
        time.sleep(3)
        print(" OK")
        print("answered", input("Which colour? "))
"""


def in_a_shell(stack: Copy, *words: str) -> pexpect.spawn[str]:
    """Start a verb as the first of two lines in a shell: what follows is typed ahead."""
    shell = pexpect.spawn(
        "bash", ["--norc"], cwd=str(stack.root), env={**os.environ, **stack.env, "PS1": "prompt> "},
        encoding="utf-8", timeout=60,
    )  # fmt: skip
    shell.expect_exact("prompt> ")
    shell.sendline(" ".join((stack.program, *words)))
    return shell


@pytest.mark.parametrize(
    ("words", "sign"),
    [("migrate", "Operations to perform"), ("restart", "Recreate"), ("build", "backend")],
)
def test_what_is_typed_ahead_is_for_the_shell(words: str, sign: str, stack: Copy) -> None:
    shell = in_a_shell(stack, words)
    shell.expect(sign)
    shell.sendline("echo $((40 + 2))")
    shell.expect(r"\s42\s")
    shell.close()


def test_a_question_of_a_migration_is_answered(new_copy: NewCopy) -> None:
    copy = new_copy()
    apps = "\nclass Asks(AppConfig):\n    name = 'task_api'\n    def ready(self):\n"
    copy.append("server/task_api/apps.py", f"{ASKING}{apps}        post_migrate.connect(_ask)\n")
    copy.ok("up")
    shell = in_a_shell(copy, "migrate")
    shell.expect_exact("long.0001_work...")
    shell.sendline("red")

    shell.expect_exact("answered red")
    shell.sendline("echo $((40 + 2))")
    shell.expect(r"\s42\s")
    shell.close()
