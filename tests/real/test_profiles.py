"""Services of a profile, and services that leave the file: what `up` started, `down` stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stacks.copies import Copy, owned
from tests.stacks.fixtures import NewCopy

OVERRIDE = """\
services:
  tool:
    profiles: [tools]
    image: ${POSTGRES_IMAGE:-postgres:15}
    entrypoint: [sleep, infinity]
    init: true
    tmpfs: [/var/lib/postgresql/data]  # no volume without a name
    environment:
      GREETING: ${GREETING:-hello}
  broken:
    profiles: [broken]
    image: ${POSTGRES_IMAGE:-postgres:15}
    env_file: no-such-file
"""
PROFILE = "COMPOSE_PROFILES=tools\n"


@pytest.fixture
def tooled(new_copy: NewCopy) -> Copy:
    """Start a stack with a profile of the env file, then take the profile away."""
    copy = new_copy()
    override(copy).write_text(OVERRIDE)
    copy.append(".env", PROFILE)
    copy.ok("up")
    env = copy.root / ".env"
    env.write_text(env.read_text().replace(PROFILE, ""))
    return copy


def override(copy: Copy) -> Path:
    return copy.root / "docker-compose.override.yml"


def test_a_service_of_a_profile_is_part_of_the_stack(tooled: Copy) -> None:
    assert set(tooled.ps()) == {"backend", "db", "tool"}
    before = tooled.container("tool")
    tooled.ok("up")
    assert tooled.container("tool") == before
    tooled.ok("logs", "--service", "tool")
    assert tooled.ok("shell", "--service", "tool", "--", "printenv", "GREETING") == "hello\n"
    tooled.append(".env", "GREETING=welcome\n")

    tooled.ok("restart")

    assert tooled.ok("shell", "--service", "tool", "--", "printenv", "GREETING") == "welcome\n"
    tooled.ok("down")
    assert owned(tooled).keys() == {"volumes", "images"}


def test_a_service_that_has_left_the_file_is_shown_and_stopped(tooled: Copy) -> None:
    override(tooled).unlink()

    assert set(tooled.ps()) == {"backend", "db", "tool"}
    tooled.ok("up")
    tooled.ok("down")

    assert owned(tooled).keys() == {"volumes", "images"}


def test_nothing_of_a_profile_is_left_after_destroy(tooled: Copy) -> None:
    tooled.ok("destroy", "--yes")

    assert owned(tooled) == {}


def test_an_environment_names_a_profile_for_one_verb(new_copy: NewCopy) -> None:
    copy = new_copy()
    override(copy).write_text(OVERRIDE)
    copy.ok("up", COMPOSE_PROFILES="tools")

    copy.ok("down", "--volumes", "--yes")

    assert copy.ps() == {}
    assert owned(copy).keys() == {"images"}
