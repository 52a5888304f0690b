"""The variables of the backend for local mode, and the database that Django uses there."""

import json
from pathlib import Path
from typing import Any

import pytest

from composed.docker.outside import outside
from composed.env.settings import load_settings
from composed.gateway import NOT_FOUND, Gateway
from composed.project import Project
from tests.recorder import Recorder

COMPOSE = """\
services:
  web:
    image: shop
    command: gunicorn shop.wsgi
    env_file: [one.env, {path: two.env, required: false}, gone.env]
    environment:
      - SQL_HOST=db
      - SECRET=${SECRET:-dull}
      - DEBUG
  db:
    image: postgres:15
    environment: {POSTGRES_USER: keeper, POSTGRES_PASSWORD: pw, POSTGRES_DB: shop_db}
"""
LEADING = {
    "DATABASE_URL": "postgres://keeper:pw@db/shop_db",
    "SQL_ENGINE": "django.db.backends.postgresql",
    "DB_HOST": "db",
    "PGPORT": "5432",
    "POSTGRES_USER": "keeper",
    "DB_NAME": "shop_db",
}
KEPT = {
    "ALLOWED_HOSTS": "localhost",
    "BROKER": "redis://redis:6379",
    "SALUTE": "keeper",
    "EMPTY": "",
}


def known(root: Path) -> tuple[str, dict[str, str]]:
    project = Project(root, source=".")
    found = outside(project, load_settings(project, {}), Gateway(root))
    return found.backend, dict(found.variables)


def services(**environment: str) -> str:
    db = {
        "image": "postgres:15",
        "environment": {"POSTGRES_USER": "keeper", "POSTGRES_DB": "shop_db"},
    }
    web: dict[str, Any] = {"command": "gunicorn x", "environment": environment}
    return json.dumps({"services": {"web": web, "db": db}})


def test_variables_that_lead_to_the_database_are_left_out(
    recorder: Recorder, tmp_path: Path
) -> None:
    recorder.on("config", "--format").say(services(**LEADING, **KEPT))

    assert known(tmp_path) == (
        "web",
        KEPT | {"DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}"},
    )


def test_without_docker_the_files_are_read(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "one.env").write_text("A=1\nB=2\nSQL_USER=keeper\n")
    (tmp_path / "two.env").write_text("B=3\n")
    recorder.on("docker").say(code=NOT_FOUND)

    assert known(tmp_path) == ("web", {"A": "1", "B": "3", "SECRET": "dull"})


@pytest.mark.parametrize(
    "text",
    ["services: [", "- a", "services: {web: {environment: !reset null}}", "services: {web: x}"],
)
def test_a_file_that_cannot_be_understood_says_nothing(
    text: str, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    recorder.on("docker").say(code=NOT_FOUND)

    assert known(tmp_path) == ("", {})


def test_an_error_of_compose_is_none_of_local_mode(recorder: Recorder, tmp_path: Path) -> None:
    recorder.on("config").say(code=15, err="bad file")

    assert known(tmp_path) == ("", {})
