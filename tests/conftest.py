"""Fixtures of the tests of the machinery: a project on disk, and a recorder of commands."""

import dataclasses
import json
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
from invoke import Collection, Program

import tasks
from composed.docker import engine
from composed.docker.volume.server import TemporaryServer
from composed.gateway import Gateway
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import DB_ROW, ENV, FACTS, OURS, PS_ROW, RAW, READY, ROOT, Inv, model, ps_answer

# A background job of a script ignores Ctrl-C, and so would every process of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Replace the gateway; the stack seems to run."""
    recorder = Recorder()
    recorder.on("docker", "image", "inspect", "--format", "{{.Id}}").say("sha256:1\n")
    # The image of the running backend is current.
    recorder.on("docker", "inspect", "--format", "{{.Image}}…").say("sha256:1 shop-backend\n")
    recorder.on("ps", "--services").say("backend\ndb\n")
    recorder.on("compose", "version").say("2.26.1-4\n")
    recorder.on("config", "--no-interpolate").say(json.dumps(RAW))
    recorder.on("config", "--format").say(model(backend=0, db=0))
    recorder.on("config", "--services").say("backend\ndb\n")
    recorder.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW))
    recorder.on("--file", "-", "config", "--format").say('{"services": {"check": {}}}')
    recorder.http = lambda url: (200, READY)
    for method in ("run", "ask", "pipe", "spawn", "fetch", "is_bound", "listeners"):
        monkeypatch.setattr(Gateway, method, getattr(recorder, method))
    monkeypatch.setattr(engine, "is_set_up", lambda *_: True)
    monkeypatch.setattr("composed.health.waiting.SECONDS_TO_RELOAD", 0)
    return recorder


@pytest.fixture
def postgres(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A server with two tables, and a volume; a backend that names no migrations."""
    recorder.http = lambda url: (404, "Not Found")
    recorder.on("--dbname", "postgres").say("15.18 (Debian 15.18-0)\n")
    recorder.on("--dbname", "composed_new_CALL").say(FACTS)
    recorder.on("--dbname", "composed_proof_…").say(FACTS)
    recorder.on("--dbname", "task_db").say(f"00000 00-1\n{FACTS}")
    recorder.on("--dbname", "composed_closed_…").say(f"00000 00-1\n{FACTS}")
    recorder.on("run", "--detach").say("c1\n")  # a server that no other program can reach
    monkeypatch.setattr(TemporaryServer, "databases", lambda _: ["task_db"])
    recorder.on("{{.State.Running}}").say("true\n")
    recorder.on("pg_restore", "--list").say("; Dumped from database version: 15.18 (Debian)\n")
    recorder.on("pg_dump").say("the dump")
    configured = json.loads(model(backend=0, db=0))
    configured["services"]["db"]["volumes"] = [{"type": "volume", "source": "db-data"}]
    configured["volumes"] = {"db-data": {"name": "shop_db-data"}}
    recorder.on("config", "--format").say(json.dumps(configured))
    volumes = "shop_db-data shop\nshop_other \nother_db-data other\n"
    recorder.on("volume", "ls", "--format").say(volumes)
    recorder.on("git", "rev-parse").say("1234567890abcdef\nmain\n")
    recorder.on("showmigrations").say("[X]  a.0001_initial\n[ ]  a.0002_more\n")
    return recorder


@pytest.fixture
def pending(postgres: Recorder) -> list[str]:
    """The pending migrations that the running backend names: one, and tables have rows."""
    names = ["a.0002_more"]
    postgres.http = lambda url: (503, json.dumps({"pending": names}))
    return names


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project folder with a complete ``.env``, for the verbs to find."""
    shutil.copy(ROOT / ".env.example", tmp_path)
    (tmp_path / "server").mkdir()
    (tmp_path / ".env").write_text(ENV)
    project = dataclasses.replace(OURS, root=tmp_path)
    monkeypatch.setattr(Project, "of", lambda _c: project)
    return project


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give calls and failures one name; remove the caller's variables that change settings."""
    monkeypatch.setattr("composed.calls.new_name", lambda: "CALL")
    monkeypatch.setattr("composed.doctor.bundle.utc_now", lambda: "NOW")
    names = "COMPOSE_ENV_FILES NO_COLOR DOCKER_HOST DOCKER_CONTEXT CI COMPOSED_MODE TERM"
    for name in names.split():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def inv(
    project: Project,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Inv:
    """Run ``inv`` with these words, as typed, and return the exit code."""
    monkeypatch.setattr("composed.verbs.signals_handled", nullcontext)

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["inv", *words])
        program = Program(namespace=Collection.from_module(tasks))
        try:
            program.run(["inv", *words])
        except SystemExit as end:
            return int(str(end.code or 0))
        return 0

    return Inv(run, capsys)
