"""`kill -9` in the middle of work on data: every committed row is there, the next verb works."""

from __future__ import annotations

import signal

import pytest

from tests.faults.work import (
    MIGRATE,
    RESTORE,
    SNAPSHOT,
    Work,
    begin,
    check_whole,
    each_work,
    is_migrated,
    servers,
    take_back,
)
from tests.stacks.copies import Copy
from tests.stacks.postgresql import sql


@each_work
def test_a_killed_inv_leaves_all_as_it_was(work: Work, filled: Copy) -> None:
    with work.around(filled):
        killed = begin(work, filled)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        filled.ok("ps")  # any verb ends a process that was left inside
        killed.communicate(timeout=60)
        if work is MIGRATE and is_migrated(filled):  # the verb had ended before that
            take_back(filled)

    check_whole(filled)


@each_work
def test_a_killed_database_leaves_all_as_it_was(work: Work, filled: Copy) -> None:
    with work.around(filled):
        cut_off = begin(work, filled)
        filled.docker("kill", "--signal", "KILL", *servers(filled))
        _, error = cut_off.communicate(timeout=60)
        filled.ok("up", POSTGRES_IMAGE="postgres:15")

    assert cut_off.returncode > 0, error
    assert "Traceback (most recent call last)" not in error
    check_whole(filled)


# An upgrade stops the database service anyway.
@pytest.mark.parametrize("work", [SNAPSHOT, RESTORE, MIGRATE], ids=str)
def test_a_killed_backend_is_no_obstacle(work: Work, filled: Copy) -> None:
    backend = filled.container("backend")
    with work.around(filled):
        goes_on = begin(work, filled)
        filled.docker("kill", "--signal", "KILL", backend)
        if work is SNAPSHOT:  # which waits for the lock of this test
            sql(
                filled,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE granted "
                "AND mode = 'AccessExclusiveLock'",
            )
        _, error = goes_on.communicate(timeout=60)

    assert goes_on.returncode == 0, error
    if work is SNAPSHOT:
        filled.run("rm", "-r", str(filled.root / "data/snapshots/cut-off"))
    if work is MIGRATE:
        assert is_migrated(filled)
        take_back(filled)
    check_whole(filled)
