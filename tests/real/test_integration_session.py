"""`nox -s integration` beside a development stack touches nothing and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from composed.env.settings import assignments
from tests.stacks.copies import Copy
from tests.stacks.fixtures import NewCopy
from tests.stacks.waiting import wait_until

PROJECT = "integration-"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep nox's virtual environments for the next test of this module."""
    return tmp_path_factory.mktemp("nox")


@pytest.fixture
def copy(new_copy: NewCopy) -> Copy:
    return new_copy()


def integration(copy: Copy, environments: Path) -> subprocess.Popen[str]:
    """Run the session with a selection that no test meets."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "nox", "--session", "integration(docker)"),
            *("--envdir", str(environments), "--reuse-venv", "yes"),
            *("--", "-k", "no_test_is_called_so"),
        ],
        cwd=copy.root,
        env=copy.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left(copy: Copy, *kind: str) -> set[str]:
    """Return all that the engine has with the label of an integration stack of this copy."""
    lines = copy.docker(*kind, "--filter", "label=com.docker.compose.project", "--format", "json")
    return {line for line in lines.splitlines() if f"={project(copy)}" in line}


def project(copy: Copy) -> str:
    env = copy.root / ".composed/integration-docker/env"
    return assignments(env.read_text())["COMPOSE_PROJECT_NAME"]


def assert_nothing_left(copy: Copy) -> None:
    for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert left(copy, *kind) == set()
    images = copy.docker("images", "--format", "{{.Repository}}").split()
    assert not [image for image in images if image.startswith(project(copy))]


def test_a_development_stack_is_untouched(copy: Copy, environments: Path) -> None:
    copy.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "mine"})
    before, settings = copy.containers(), (copy.root / ".env").read_text()

    session = integration(copy, environments)
    out, _ = session.communicate()

    assert session.returncode == 0, out
    assert copy.containers() == before
    assert copy.titles() == {"mine"}
    assert (copy.root / ".env").read_text() == settings
    assert_nothing_left(copy)


def test_a_start_that_fails_leaves_nothing(copy: Copy, environments: Path) -> None:
    for module in ("urls", "wsgi"):
        copy.append(f"server/task_api/{module}.py", "\nimport no_such_module\n")

    session = integration(copy, environments)
    out, _ = session.communicate()

    assert session.returncode != 0
    assert "no_such_module" in out
    assert_nothing_left(copy)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(number: signal.Signals, copy: Copy, environments: Path) -> None:
    session = integration(copy, environments)
    env = copy.root / ".composed/integration-docker/env"
    wait_until(lambda: env.exists() and left(copy, "ps"), "the stack's first container", 120)
    os.killpg(session.pid, number) if number == signal.SIGINT else session.send_signal(number)
    out, _ = session.communicate()

    assert session.returncode != 0, out
    assert_nothing_left(copy)


def test_without_an_engine_it_fails_and_says_so(copy: Copy, environments: Path) -> None:
    copy.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    session = integration(copy, environments)
    out, _ = session.communicate()
    del copy.env["DOCKER_HOST"]

    assert session.returncode != 0
    assert "The Docker Engine does not answer" in out
