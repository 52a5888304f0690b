"""Samples: settings, models of Compose, rows of ``docker compose ps``, containers, commands."""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from composed.env.settings import declared, generated_names
from composed.project import Project

ROOT = Path(__file__).parent.parent

Capsys = pytest.CaptureFixture[str]
MonkeyPatch = pytest.MonkeyPatch

ENV = """\
COMPOSE_PROJECT_NAME=shop
APP_UID=1000
APP_GID=1000
POSTGRES_DB=task_db
POSTGRES_USER=cp_user
POSTGRES_PASSWORD=not-a-secret
SECRET_KEY=not-a-secret-either-and-long-enough
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

OURS = Project.at(ROOT)

# The settings that .env.example leaves for each project to fill in.
GENERATED = generated_names(OURS, declared((ROOT / ".env.example").read_text()))

READY = '{"ready": true, "pending": [], "unknown": []}'

DC = "docker compose --env-file .env"
EXEC = f"{DC} exec --no-TTY --env COMPOSED_CALL=CALL"
ONE_OFF = f"{DC} run --rm --no-deps --no-TTY --label composed.call=CALL"
MANAGE = f"{ONE_OFF} --entrypoint python backend manage.py"
EXEC_DB = f"{EXEC} db"
PSQL = f"{EXEC_DB} psql --username cp_user --no-password --no-psqlrc --quiet"
PSQL_ON = f"{PSQL} --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname"
MOMENT = "--snapshot=00-1 --lock-wait-timeout=3s"
PG_DUMP = f"{EXEC_DB} pg_dump --username cp_user {MOMENT} --format=custom --dbname task_db"
PG_RESTORE = f"{EXEC_DB} pg_restore --username cp_user --no-owner --exit-on-error"

FACTS = """\
["version", "15.18 (Debian 15.18-0)"]
["search_path", "public"]
["locale", "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"]
["rows", "public.a", 3]
["rows", "public.b", 4]
["migration", "a.0001_initial"]
["end", ""]
"""


@dataclass(frozen=True)
class Inv:
    """The fixture ``inv``: run a verb, then read the texts printed since the last reading."""

    run: Callable[..., int]
    capsys: Capsys

    def __call__(self, *words: str) -> int:
        return self.run(*words)

    def out(self) -> str:
        return self.capsys.readouterr().out

    def err(self) -> str:
        return self.capsys.readouterr().err


def snapshot_names(project: Project) -> list[str]:
    return sorted(path.name for path in project.snapshots.glob("[!.]*"))


def make_socket(file: Path) -> None:
    """Bind a socket to a path; the socket stays in the file system."""
    here = Path.cwd()
    os.chdir(file.parent)  # the path of a socket has to be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
    finally:
        os.chdir(here)


def ps_answer(*rows: Mapping[str, object]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def container(service: str = "backend", restarts: int = 0, **state: object) -> str:
    """Return a container as ``docker inspect`` shows containers; ``Log`` are the probes."""
    log, health = state.pop("Log", []), state.pop("Health", "starting")
    full = {"Status": "running", "StartedAt": "2026-01-31T12:00:00Z", "ExitCode": 0, **state}
    full |= {"Health": {"Status": health, "Log": log}} if health else {}
    return json.dumps({"id": service, "service": service, "state": full, "restarts": restarts})


def probe(start: str, output: str = "", code: int = 1) -> dict[str, object]:
    return {"Start": start, "ExitCode": code, "Output": output}


def model(**ports: int) -> str:
    """Return the answer of ``docker compose config`` for services with one port each."""
    services: dict[str, Any] = {
        name: {"ports": [{"published": str(port), "host_ip": "127.0.0.1", "target": 1}]}
        for name, port in ports.items()
    }
    for database in services.keys() & {"db", "postgres"}:
        login = {"POSTGRES_USER": "cp_user", "POSTGRES_DB": "task_db"}
        services[database]["environment"] = login
    return json.dumps({"services": services})
