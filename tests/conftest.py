"""What the tests of the machinery share: a project on disk, and a recorder of commands."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from invoke import Collection, Program

import tasks
from composed.docker import engine
from composed.env.settings import declared, generated_names
from composed.process import Answer, Gateway
from composed.project import Project

ROOT = Path(__file__).parent.parent

# A background job of a script ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ENV = """\
COMPOSE_PROJECT_NAME=shop
APP_UID=1000
APP_GID=1000
POSTGRES_DB=task_db
POSTGRES_USER=cp_user
POSTGRES_PASSWORD=not-a-secret
SECRET_KEY=not-a-secret-either
"""

PS_ROW = {
    "Service": "backend",
    "State": "running",
    "Health": "healthy",
    "RunningFor": "3 minutes ago",
    "Labels": "com.docker.compose.oneoff=False",
    "Publishers": [{"URL": "127.0.0.1", "TargetPort": 8000, "PublishedPort": 8123}],
}
RAW = {
    "services": {
        "backend": {"ports": ["127.0.0.1:${BACKEND_PORT:-8000}:8000"]},
        "db": {"ports": ["127.0.0.1:${DB_PORT:-5433}:5432"]},
    }
}
DB_ROW = {**PS_ROW, "Service": "db", "Publishers": []}


# What .env.example leaves for each project to fill in.
GENERATED = generated_names(Project(ROOT), declared((ROOT / ".env.example").read_text()))

READY = '{"ready": true, "pending": [], "unknown": []}'


def ps_answer(*rows: Mapping[str, object]) -> Answer:
    return Answer(0, "\n".join(json.dumps(row) for row in rows), "")


def container(service: str = "backend", restarts: int = 0, **state: object) -> str:
    """Return what ``docker inspect`` says of a container; ``Log`` is its health check's."""
    log = state.pop("Log", [])
    health = state.pop("Health", "starting")
    about = {"Status": "running", "StartedAt": "2026-01-31T12:00:00Z", "ExitCode": 0, **state}
    about |= {"Health": {"Status": health, "Log": log}} if health else {}
    return json.dumps({"id": service, "service": service, "state": about, "restarts": restarts})


def probe(at: str, said: str = "", code: int = 1) -> dict[str, object]:
    return {"Start": at, "ExitCode": code, "Output": said}


@dataclass
class Recorder:
    """Stands for the gateway: notes every command, gives prepared answers to questions."""

    ran: list[list[str]] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)
    insisted: list[bool] = field(default_factory=list)
    without: list[bytes] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    asked_in: list[Path | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    piped: list[list[str]] = field(default_factory=list)
    fed: list[str] = field(default_factory=list)
    outputs: dict[str, Answer] = field(default_factory=dict)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        insist: bool = False,
        without: bytes = b"",
    ) -> int:
        self.ran.append(list(argv))
        self.environments.append(dict(env or {}))
        self.insisted.append(insist)
        self.without.append(without)
        return next((code for words, code in self.codes.items() if words in " ".join(argv)), 0)

    def ask(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        text: str = "",
    ) -> Answer:
        self.asked.append(list(argv))
        self.asked_in.append(cwd)
        self.texts.append(text)
        line = " ".join(argv)
        found = (answer for words, answer in self.answers.items() if words in line)
        return next(found, Answer(0, "", ""))

    @contextmanager
    def pipe(self, argv: Sequence[str]) -> Iterator[FakePipe]:
        """Give what was prepared on stdout; note what was written to stdin."""
        self.piped.append(list(argv))
        line = " ".join(argv)
        found = (answer for words, answer in self.outputs.items() if words in line)
        pipe = FakePipe(next(found, Answer(0, "", "")))
        yield pipe
        self.fed.append(pipe.stdin.getvalue().decode(errors="replace"))


class FakePipe:
    """Stands for a process with pipes."""

    def __init__(self, answer: Answer) -> None:
        self.stdin = io.BytesIO()
        self.stdout = io.BufferedReader(io.BytesIO(answer.out.encode()))
        self._answer = answer

    def end(self) -> Answer:
        return self._answer._replace(out=self.stdout.read().decode())


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Replace both ways to other processes; the stack seems to run."""
    it = Recorder(
        answers={
            "check --file - config --format": Answer(0, '{"services": {"check": {}}}', ""),
            "ps --all": ps_answer(PS_ROW, DB_ROW),
            "config --services": Answer(0, "backend\ndb\n", ""),
            "config --format": model(backend=0, db=0),
            "config --no-interpolate": Answer(0, json.dumps(RAW), ""),
            "compose version": Answer(0, "2.26.1-4\n", ""),
            "ps --services": Answer(0, "backend\ndb\n", ""),
            # The running backend was made from the image as it is.
            "docker inspect --format {{.Image}}": Answer(0, "sha256:1 shop-backend\n", ""),
            "docker image inspect --format {{.Id}}": Answer(0, "sha256:1\n", ""),
        }
    )
    monkeypatch.setattr(Gateway, "run", it.run)
    monkeypatch.setattr(Gateway, "ask", it.ask)
    monkeypatch.setattr(Gateway, "pipe", it.pipe)
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


def model(**ports: int) -> Answer:
    """Return the answer of ``docker compose config`` for services with one port each."""
    services: dict[str, Any] = {
        name: {"ports": [{"published": str(port), "host_ip": "127.0.0.1", "target": 1}]}
        for name, port in ports.items()
    }
    return Answer(0, json.dumps({"services": services}), "")
