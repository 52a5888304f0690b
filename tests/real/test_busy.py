"""A busy machine: the engine ends health checks, while the database answers."""

from __future__ import annotations

import pytest

from tests.stacks.copies import Copy
from tests.stacks.waiting import wait_until

# A health check that takes longer than the engine allows, while the file /dev/shm/busy exists.
OVERRIDE = """\
services:
  db:
    healthcheck:
      test:
        - CMD-SHELL
        - "pg_isready --quiet --host 127.0.0.1 || exit 1;
          sleep ${SECONDS_OF_A_PROBE:-0}; test ! -e /dev/shm/busy || sleep 9"
      interval: 1s
      timeout: 2s
      retries: 1
      start_period: 30s
      start_interval: 1s
"""


@pytest.fixture(scope="module")
def busy(shared_copy: Copy) -> Copy:
    """Give a migrated stack whose database is unhealthy."""
    (shared_copy.root / "docker-compose.override.yml").write_text(OVERRIDE)
    shared_copy.ok("up", "--migrate")
    keep_busy(shared_copy)
    return shared_copy


def keep_busy(stack: Copy) -> None:
    stack.docker("exec", stack.container("db"), "touch", "/dev/shm/busy")
    wait_until(lambda: stack.ps()["db"]["health"] == "unhealthy", "an unhealthy database")


@pytest.mark.parametrize(
    "words",
    [
        "db.snapshot --name saved",
        "manage -- check --database default",
        "migrate --check",
        "db.rehearse",
        "db.restore --name saved --yes",
        "db.credentials",
        "db.reset --yes",
    ],
)
def test_a_database_that_answers_is_used(words: str, busy: Copy) -> None:
    busy.ok(*words.split())

    assert busy.ps()["db"]["health"] == "unhealthy"


def test_up_waits_for_the_health_check_of_a_database_that_answers(busy: Copy) -> None:
    up = busy.start("up")
    wait_until(lambda: "unhealthy" in str(up.stderr and up.stderr.readline()), "Compose's refusal")
    busy.docker("exec", busy.container("db"), "rm", "/dev/shm/busy")

    assert up.communicate()[1] is not None
    assert up.returncode == 0


def test_a_database_that_is_down_is_used_as_soon_as_it_answers(busy: Copy) -> None:
    busy.ok("down")

    busy.ok("db.snapshot", "--name", "again", SECONDS_OF_A_PROBE="9")
