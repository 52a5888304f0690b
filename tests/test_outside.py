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
    ("written", "variables"),
    [
        ("DAY: 2024-01-01", {"DAY": "2024-01-01"}),
        ("DAY: 2024-13-45", {"DAY": "2024-13-45"}),
        ("on: yes", {"on": "yes"}),
        (
            "A: 1.10, B: 010, C: 1_000, D: true, E: .inf",
            {"A": "1.10", "B": "010", "C": "1_000", "D": "true", "E": ".inf"},
        ),
        ("A: null, B: ~, C: , D: ''", {"D": ""}),
        ("null: x, ~: y, 5: z, A: !!str 1", {"5": "z", "A": "1"}),
        ("<<: {A: 1}, B: =", {"A": "1", "B": "="}),
    ],
)
def test_a_value_of_a_file_is_the_text_that_stands_there(
    written: str, variables: dict[str, str], recorder: Recorder, tmp_path: Path
) -> None:
    web = f"{{command: gunicorn x, environment: {{{written}}}}}"
    (tmp_path / "compose.yaml").write_text(f"services: {{web: {web}}}\n")
    recorder.on("docker").say(code=NOT_FOUND)

    assert known(tmp_path) == ("web", variables)


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {environment: {A: !!int x}}}",
        "services: {web: {environment: {A: !!int ''}}}",
        "services: {web: {environment: {A: !!bool maybe}}}",
        "services: {web: {environment: {A: !!timestamp soon}}}",
        "services: {web: {environment: {A: !!timestamp 2024-13-45}}}",
        f"services: {'[' * 9999}",
        "services: {web: {environment: [[A=1]]}}",
        "services: {web: {environment: {A: {B: 1}}}}",
        "services: {web: {environment: A=1}}",
        "services: {web: {command: {A: 1}}}",
        "services: {web: {image: [x]}}",
        "services: {web: {env_file: [[x]]}}",
        'services: {web: {env_file: ["\\0", {path: [x]}, null, 5, {}]}}',
        f"services: {{web: {{env_file: {'x' * 999}}}}}",
        "services: {web: &w {environment: *w}}",
        "services: &s [*s]",
        "services: {web: null, null: {image: x}, ? [a] : {image: x}}",
        "services: {? {a: b} : {image: x}}",
        "services: null",
        "5",
        "",
        "\x01",
    ],
)
def test_no_shape_of_a_file_is_a_traceback(text: str, recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    recorder.on("docker").say(code=NOT_FOUND)

    assert known(tmp_path) == ("", {})


def test_an_env_file_that_cannot_be_read_says_nothing(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {command: gunicorn x, env_file: a}}")
    (tmp_path / "a").mkdir()
    recorder.on("docker").say(code=NOT_FOUND)

    assert known(tmp_path) == ("web", {})


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
