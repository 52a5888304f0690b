"""Every verb that lasts in local mode, ended in every way."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from composed.gateway import Gateway
from tests.stacks.copies import Copy
from tests.stacks.sqlite import leader
from tests.stacks.terminals import SLEEP, WAYS, end_input, end_verb
from tests.stacks.waiting import wait_until


def test_logs_are_followed_until_ctrl_c(copy: Copy) -> None:
    copy.ok("up")
    logs = copy.start("logs", "--follow")
    assert logs.stdout
    assert "gunicorn" in logs.stdout.readline()

    logs.send_signal(signal.SIGINT)
    logs.communicate(timeout=30)

    assert logs.returncode == 130


# The words typed, and a pattern that the terminal shows once the verb is under way.
LASTING = {
    "up": (["--echo", "up"], "guarded_wsgi"),
    "logs": (["logs", "--follow"], "gunicorn"),
    # Not `sh -c 'echo …; sleep …'`: bash as sh outlives a Ctrl-C between the two.
    "shell": (["shell", "--", "python", "-c", SLEEP], "under way"),
    "manage": (["manage", "--", "shell", "-c", SLEEP], "under way"),
    "dbshell": (["dbshell"], "sqlite>"),
}


@pytest.mark.parametrize(
    ("verb", "way"),
    # SQLite takes a Ctrl-C at the prompt: the test below.
    [(verb, way) for verb in LASTING for way in WAYS if (verb, way) != ("dbshell", "Ctrl-C")],
)
def test_a_verb_ends_on_a_signal_and_the_next_up_works(verb: str, way: str, stack: Copy) -> None:
    words, sign = LASTING[verb]
    stack.ok("down" if verb == "up" else "up")
    terminal = stack.terminal(*words)
    terminal.expect(sign)
    gateway, inv = Gateway(stack.root), terminal.pid

    assert end_verb(terminal, way) == WAYS[way]

    # The server, which is to stay, has another group.
    wait_until(lambda: inv not in {p.group for p in gateway.processes()}, "its children's end")
    stack.ok("up")
    assert stack.ps()["backend"]["health"] == "healthy"
    assert servers(stack) == {leader(stack)}  # neither a second server nor an unknown server


def servers(copy: Copy) -> set[int]:
    """Return the leaders of all groups that run in the server's folder."""
    tree, found = copy.root / "server", set()
    for process in Gateway(copy.root).processes():
        with contextlib.suppress(OSError):  # ended meanwhile
            if Path(f"/proc/{process.pid}/cwd").readlink() == tree:
                found.add(process.group)
    return found


def test_a_program_that_handles_ctrl_c_keeps_its_own_exit_code(stack: Copy) -> None:
    stack.ok("up")
    terminal = stack.terminal("dbshell")
    terminal.expect_exact("sqlite>")
    terminal.sendintr()
    terminal.sendline("select 40 + 2;")
    terminal.expect_exact("42\r\n")

    assert end_input(terminal, "sqlite>") == 0
