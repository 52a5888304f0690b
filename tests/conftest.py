"""Fixtures of the tests of the machinery: a project on disk, and a recorder of commands."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke import Collection, Program

import tasks
from composed.docker import engine
from composed.process import Gateway
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import DB_ROW, ENV, PS_ROW, RAW, READY, ROOT, model, ps_answer

# A background job of a script ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Replace both ways to other processes; the stack seems to run."""
    it = Recorder()
    it.on("docker", "image", "inspect", "--format", "{{.Id}}").say("sha256:1\n")
    # The running backend was made from the image as it is.
    it.on("docker", "inspect", "--format", "{{.Image}}…").say("sha256:1 shop-backend\n")
    it.on("ps", "--services").say("backend\ndb\n")
    it.on("compose", "version").say("2.26.1-4\n")
    it.on("config", "--no-interpolate").say(json.dumps(RAW))
    it.on("config", "--format").say(model(backend=0, db=0))
    it.on("config", "--services").say("backend\ndb\n")
    it.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW))
    it.on("--file", "-", "config", "--format").say('{"services": {"check": {}}}')
    monkeypatch.setattr(Gateway, "run", it.run)
    monkeypatch.setattr(Gateway, "ask", it.ask)
    monkeypatch.setattr(Gateway, "pipe", it.pipe)
    monkeypatch.setattr(Gateway, "spawn", it.spawn)
    monkeypatch.setattr(engine, "is_set_up", lambda *_: True)
    monkeypatch.setattr("composed.health.readiness.answer", lambda url: (200, READY))
    monkeypatch.setattr("composed.health.readiness.SECONDS_TO_RELOAD", 0)
    return it


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project folder of its own with a finished ``.env``, which the verbs will find."""
    shutil.copy(ROOT / ".env.example", tmp_path)
    (tmp_path / "server").mkdir()
    (tmp_path / ".env").write_text(ENV)
    project = Project(tmp_path)
    monkeypatch.setattr(Project, "of", lambda _c: project)
    return project


@pytest.fixture(autouse=True)
def _failures_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composed.doctor.bundle.utc_now", lambda: "NOW")


@pytest.fixture(autouse=True)
def _environment_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the caller's shell would add to the settings."""
    for name in (
        "COMPOSE_ENV_FILES",
        "NO_COLOR",
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "CI",
        "COMPOSED_MODE",
        "TERM",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def inv(
    project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run ``inv`` with these words, as typed, and return its exit code."""
    monkeypatch.setattr("composed.modes.end_as_shells_count", lambda: None)

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["inv", *words])
        program = Program(namespace=Collection.from_module(tasks))
        try:
            program.run(["inv", *words])
        except SystemExit as end:
            return int(str(end.code or 0))
        return 0

    return run
