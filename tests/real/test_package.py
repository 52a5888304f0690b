"""The wheel, in a new environment, gives another Django project the verbs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

from tests.stacks.copies import Copy, plain_environment, remove
from tests.web import request

PYPROJECT = """\
[tool.composed]
backend = "web"
database = "postgres"
secrets = ["DJANGO_SECRET_KEY", "DB_PASSWORD"]
backend_port = "WEB_PORT"
"""

EXAMPLE = """\
COMPOSE_PROJECT_NAME=
DJANGO_SECRET_KEY=
DB_NAME=shop
DB_USER=keeper
DB_PASSWORD=
# WEB_PORT=8000
SENTRY_DSN=
"""

COMPOSE = """\
services:
  postgres:
    image: postgres:15
    environment:
      POSTGRES_DB: ${DB_NAME}
      POSTGRES_USER: ${DB_USER}
      POSTGRES_PASSWORD: ${DB_PASSWORD}
    volumes: [shop-data:/var/lib/postgresql/data]
    healthcheck:
      test: [CMD-SHELL, pg_isready --host 127.0.0.1]
      interval: 1s
      retries: 60
  web:
    build: .
    command: gunicorn --bind 0.0.0.0:8000 shop.wsgi
    init: true
    depends_on: {postgres: {condition: service_healthy}}
    environment: [DJANGO_SECRET_KEY, DB_NAME, DB_USER, DB_PASSWORD, DB_HOST=postgres]
    ports: ["${WEB_PORT:-8000}:8000"]
    volumes: [".:/code"]
volumes:
  shop-data:
"""

DOCKERFILE = """\
FROM python:3.13-slim-trixie
RUN pip install --no-cache-dir 'django~=5.2.0' 'gunicorn~=27.0' 'psycopg2-binary~=2.9'
WORKDIR /code
"""

SETTINGS = """
import os
SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
if "DB_HOST" in os.environ:
    DATABASES["default"] = {"ENGINE": "django.db.backends.postgresql"} | {
        name: os.environ[f"DB_{name}"] for name in ("NAME", "USER", "PASSWORD", "HOST")
    }
"""

ADMIN = {
    "DJANGO_SUPERUSER_USERNAME": "ada",
    "DJANGO_SUPERUSER_EMAIL": "ada@example.org",
    "DJANGO_SUPERUSER_PASSWORD": "not-a-secret",
}


@pytest.fixture
def environment(pytestconfig: pytest.Config) -> Path:
    """Where the wheel is installed, beside Django and Gunicorn alone."""
    return Path(pytestconfig.getoption("environment") or pytest.fail("Type: nox -s package"))


@pytest.fixture(params=["docker", "local"])
def shop(request: pytest.FixtureRequest, environment: Path, tmp_path: Path) -> Iterator[Copy]:
    """A project that ``django-admin`` makes, with a Compose file and settings."""
    bin_, root = environment / "bin", tmp_path / "my shop"
    root.mkdir()
    subprocess.run([bin_ / "django-admin", "startproject", "shop", "."], cwd=root, check=True)
    with (root / "shop/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    for name, text in {
        "pyproject.toml": PYPROJECT,
        ".env.example": EXAMPLE,
        "compose.yaml": COMPOSE,
        "Dockerfile": DOCKERFILE,
        "tasks.py": "from composed.verbs import *\n\nnamespace = collect(__name__)\n",
    }.items():
        (root / name).write_text(text)
    env = plain_environment(tmp_path) | {"COMPOSED_MODE": request.param, "WEB_PORT": "0"}
    copy = Copy(root, env, str(bin_ / "inv"))
    if request.param == "docker" and os.getuid() == 0:  # the containers run as root
        os.chown(root, 1234, 1234)
    yield copy
    remove(copy)


def test_a_foreign_project_lives_with_the_verbs(shop: Copy) -> None:
    made = shop.inv("env").stderr
    assert made == "Made .env: COMPOSE_PROJECT_NAME, DJANGO_SECRET_KEY, DB_PASSWORD\n"
    up = shop.ok("up")
    assert "Pending migrations: contenttypes.0001_initial, " in up
    assert request(shop.ps()["web"]["url"]).status == 200

    assert "\nauth.0001_initial  " in shop.ok("db.rehearse")
    assert "Pending migrations" in shop.ok("up")

    shop.ok("migrate")
    assert shop.inv("migrate", "--check").returncode == 0
    assert "Pending migrations" not in shop.ok("up")
    shop.ok("createsuperuser", **ADMIN)
    assert users(shop) == "ada"

    shop.ok("down")
    assert shop.ps() == {}
    shop.ok("up")
    assert users(shop) == "ada"
    assert shop.ok("shell", "--", "sh", "-c", "echo ${DJANGO_SECRET_KEY:+is set}") == "is set\n"
    assert "Booting worker" in shop.ok("logs", "--service", "web")

    shop.ok("manage", "--", "startapp", "stock")
    assert (shop.root / "stock/models.py").stat().st_uid == shop.root.stat().st_uid

    shop.ok("restart")
    shop.ok("down", "--volumes", "--yes")
    shop.ok("up", "--migrate")
    assert users(shop) == ""


def test_its_checks_are_its_own(shop: Copy) -> None:
    done = shop.inv("test")

    assert done.returncode == 66
    assert "There is no noxfile.py in " in done.stderr


def test_the_wheel_holds_the_package_and_describes_it(environment: Path) -> None:
    [info] = environment.glob("lib/python*/site-packages/composed-*.dist-info")
    rows = (info / "RECORD").read_text().splitlines()
    metadata = message_from_string((info / "METADATA").read_text())

    [script] = [row.split(",")[0] for row in rows if row.startswith("../")]
    assert script == "../../../bin/composed"
    assert {row.split("/")[0] for row in rows} == {"..", "composed", info.name}
    assert {"composed/py.typed", f"{info.name}/licenses/LICENSE"} <= {
        row.split(",")[0] for row in rows
    }
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert str(metadata.get_payload()).startswith("# Composed")
    assert not list(info.parent.glob("nox"))


def users(shop: Copy) -> str:
    """Return the names in the database, as the client of the database shows them."""
    plain = ["--", "-At"] if shop.env["COMPOSED_MODE"] == "docker" else []
    return shop.ok("dbshell", "--command", "select username from auth_user", *plain).strip()
