"""Every verb that lasts, ended in every way; and the output on a poor terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.stacks.copies import INV, Copy
from tests.stacks.terminals import SLEEP, WAYS, end_verb, exit_code
from tests.stacks.waiting import wait_until

# The words typed, and a pattern that the terminal shows once the verb is under way.
SHOWS = {
    "up": (["up", "--build"], "FROM|Running"),
    "down": (["down"], "Stopping"),
    "restart": (["restart"], "Recreate|Stopping|Starting"),
    "build": (["build", "--no-cache"], "RUN"),
    "logs": (["logs", "--follow"], "backend"),
}
# The words typed, and the process inside.
RUNS = {
    "manage": (["manage", "--", "shell", "-c", SLEEP], "sleep(611)"),
    "shell": (["shell", "--", "sleep", "612"], "sleep 612"),
    "dbshell": (["dbshell", "--command", "select pg_sleep(613)"], "pg_sleep(613)"),
}


@pytest.fixture
def running(stack: Copy) -> Iterator[Copy]:
    """Give the running stack; after the test, `up` makes the stack whole, with nothing else."""
    stack.ok("up")
    yield stack
    stack.ok("up")
    assert {row["health"] for row in stack.ps().values()} == {"healthy"}
    assert len(stack.containers("--all")) == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", SHOWS)
def test_a_verb_ends_and_the_next_up_works(verb: str, way: str, running: Copy) -> None:
    words, sign = SHOWS[verb]
    terminal = running.terminal(*words)
    terminal.expect(sign)

    assert end_verb(terminal, way) == WAYS[way]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", RUNS)
def test_a_process_inside_ends_with_its_verb(verb: str, way: str, stack: Copy) -> None:
    words, sign = RUNS[verb]

    def inside() -> bool:  # asked without a verb, which would clean up
        ids = stack.containers()
        return any(sign in stack.docker("top", id_, "-o", "pid,args") for id_ in ids)

    terminal = stack.terminal(*words)
    wait_until(inside, f"{sign} inside")
    if verb == "manage":
        terminal.expect("under way")
    code = end_verb(terminal, way)
    if way == "SIGKILL":
        stack.ok("ps")

    assert code == WAYS[way] or (way == "Ctrl-C" and code == 1)  # typed inside: the inner code
    assert not inside()
    assert len(stack.containers("--all")) == 2


@pytest.mark.parametrize("poor", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
@pytest.mark.parametrize(
    "words",
    [
        "up --build",
        "restart",
        "ps",
        "logs",
        "migrate --plan",
        "shell -- python -c import_nothing",
        "manage -- no-such-command",
        "shell --service web",
    ],
)
def test_plain_text_has_no_escape_codes(words: str, poor: dict[str, str], stack: Copy) -> None:
    terminal = stack.terminal(*words.split(), env=poor)
    exit_code(terminal)

    assert terminal.before
    assert "\x1b" not in terminal.before


def test_a_narrow_terminal_gets_a_block_for_each_service(stack: Copy) -> None:
    terminal = stack.terminal("ps", columns=40)
    exit_code(terminal)

    shown = str(terminal.before).replace("\r\n", "\n")
    assert "service: backend\nstate: running\nhealth: healthy\naddress: http://127" in shown
    assert max(map(len, shown.splitlines())) <= 40


@pytest.mark.parametrize("words", ["logs", "ps"])
def test_a_pipe_gets_plain_text_and_a_closed_one_ends_the_verb(words: str, stack: Copy) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    closed = stack.start(words, stdout=writer)
    os.close(writer)

    assert closed.communicate()[1] == ""
    assert closed.returncode == -signal.SIGPIPE
    assert "\x1b" not in stack.ok(words)


@pytest.mark.parametrize(
    ("words", "code"),
    [("ps", 0), ("logs", 0), ("migrate", 0), ("shell -- true", 0), ("down --volumes", 77)],
)
def test_closed_streams_are_no_obstacle(words: str, code: int, stack: Copy) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$0" {words} <&- >&-', INV],
        cwd=stack.root,
        env=stack.env,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
