"""Real failures: an interrupt, no engine, a bad setting, a broken image, no database."""

from __future__ import annotations

from tests.stacks.copies import assert_all_succeed
from tests.stacks.fixtures import NewCopy
from tests.stacks.terminals import exit_code
from tests.stacks.waiting import wait_until


def test_ctrl_c_in_up_is_130_and_the_next_verb_works(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("build")
    up = copy.terminal("up")
    wait_until(copy.containers, "a container being started")
    up.sendintr()

    assert exit_code(up) == 130
    assert "Traceback" not in str(up.before)
    copy.ok("up")
    assert {row["health"] for row in copy.ps().values()} == {"healthy"}


def test_an_engine_that_does_not_answer_is_69(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("env")

    done = copy.inv("up", DOCKER_HOST="unix:///nowhere/docker.sock")

    assert done.returncode == 69
    assert done.stderr.startswith("The Docker Engine does not answer: ")
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_not_of_its_kind_is_78(new_copy: NewCopy) -> None:
    copy = new_copy()

    done = copy.inv("up", DEBUG="perhaps")

    assert done.returncode == 78
    assert done.stderr.endswith("DEBUG is 'perhaps'.\n  Valid: true or false.\n")
    assert copy.containers("--all") == set()


def test_an_image_that_does_not_build_is_75(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.append("server/Dockerfile", "\nFROM development\nRUN false\n")
    compose = copy.root / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("      target: development\n", ""))

    done = copy.inv("up")

    assert done.returncode == 75
    assert "docker compose up ended with" in done.stderr
    assert copy.containers("--all") == set()


def test_two_up_at_once_end_well(new_copy: NewCopy) -> None:
    copy = new_copy()

    assert_all_succeed(*(copy.start("up") for _ in range(2)))

    assert set(copy.ps()) == {"backend", "db"}


def test_a_backend_outlives_its_database(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("up", "--migrate")
    copy.ok("dc", "--", "stop", "db")
    assert copy.ask("/healthz").status == 503
    assert copy.ask("/api/tasks").status == 503

    copy.ok("dc", "--", "start", "db")

    wait_until(lambda: copy.ask("/api/tasks").status == 200, "the database's return")
