"""Each row that is confirmed while a verb replaces the data is live or in the printed snapshot."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.faults.writers import titles, writing
from tests.stacks.copies import Copy
from tests.stacks.waiting import wait_until

ENOUGH = 30
TAKEN = re.compile(r"^Snapshot taken: (\S+)$", re.MULTILINE)

each_verb = pytest.mark.parametrize(
    "verb", ["db.restore --name base", "db.reset", "down --volumes", "destroy"]
)


@pytest.fixture(scope="module", params=["", "local"], ids=["docker", "local"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def base(stack: Copy) -> Copy:
    """Have a snapshot of a migrated stack without tasks."""
    stack.ok("db.snapshot", "--name", "base")
    return stack


def check_each_is_there(
    stack: Copy, mode: str, confirmed: set[str], snapshots: list[str], figures: str
) -> str:
    """Find each title in the live data or in a printed snapshot; return the figures."""
    stack.ok("up", "--migrate")
    found = titles(stack, mode)
    live = len(found & confirmed)
    for name in snapshots:
        stack.ok("db.restore", "--name", name, "--no-snapshot", "--yes")
        found |= titles(stack, mode)
    neither = len(confirmed - found)
    assert neither == 0, sorted(confirmed - found)
    return f"writers: {figures}: {len(confirmed)} confirmed, {live} live, {neither} in neither"


@each_verb
def test_a_confirmed_row_is_live_or_in_the_snapshot(
    verb: str, mode: str, base: Copy, record_property: Callable[[str, object], None]
) -> None:
    with writing(base.url, verb) as confirmed:
        wait_until(lambda: len(confirmed) > ENOUGH, "some rows")
        done = base.inv(*verb.split(), "--yes")

    assert done.returncode == 0, done.stderr
    (name,) = TAKEN.findall(done.stderr)
    assert done.stderr.endswith(f"To bring the data back: inv db.restore --name {name}\n")
    figures = f"{verb.split(' --name', maxsplit=1)[0]}, {mode or 'docker'} mode"
    record_property("figures", check_each_is_there(base, mode, confirmed, [name], figures))


@each_verb
def test_a_confirmed_row_outlives_the_death_of_the_verb(
    verb: str, mode: str, base: Copy, record_property: Callable[[str, object], None]
) -> None:
    """`kill -9` right after the name of the snapshot is printed, when the data are to go."""
    with writing(base.url, f"killed {verb}") as confirmed:
        wait_until(lambda: len(confirmed) > ENOUGH, "some rows")
        with base.start(*verb.split(), "--yes", stdout=subprocess.DEVNULL) as killed:
            assert killed.stderr
            printed = ""
            while not TAKEN.search(printed) and (line := killed.stderr.readline()):
                printed += line
            killed.send_signal(signal.SIGKILL)

    figures = f"{verb.split(' --name', maxsplit=1)[0]}, killed, {mode or 'docker'} mode"
    names = TAKEN.findall(printed)
    assert len(names) == 1, printed
    record_property("figures", check_each_is_there(base, mode, confirmed, names, figures))
