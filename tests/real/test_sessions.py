"""`nox -s integration` of a foreign project, beside the stack that its developer uses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks.copies import REMOVE, ROOT, Copy, plain_environment
from tests.stacks.ports import free_port
from tests.stacks.waiting import wait_until
from tests.web import request

NOXFILE = """\
import nox
from composed import sessions


@nox.session
def integration(session):
    with sessions.stack(session) as env:
        url = sessions.address(session, env)
        session.run("python", "check.py", *session.posargs, env={**env, "URL": url})
"""

TASKS = "from composed.verbs import *\n\nnamespace = collect(__name__)\n"

# The session's tests: the database is another one than the developer's.
CHECK = """\
import os, sys, time, urllib.request

text = urllib.request.urlopen(os.environ["URL"]).read().decode()
print("AT", os.environ["URL"], flush=True)
assert text == "groups:", text
if "wait" in sys.argv:
    print("WAITING", flush=True)
    time.sleep(100)
assert "fail" not in sys.argv, "as asked"
"""

# All that a Compose file can fix: names of containers, image and volume, ports.
COMPOSE = """\
name: NAME
services:
  web:
    build: .
    image: NAME-image
    container_name: NAME-web
    ports: ["127.0.0.1:PORT:8000"]
    volumes: [".:/code"]
    environment: {DB: NAME-db}
    depends_on: {db: {condition: service_healthy}}
    healthcheck:
      test: [CMD, python, -c, "import urllib.request as u; u.urlopen('http://localhost:8000')"]
      interval: 1s  # fails until the tables are there
      retries: 60
  db:
    image: postgres:15
    container_name: NAME-db
    environment: {POSTGRES_PASSWORD: not-a-secret}
    volumes: [data:/var/lib/postgresql/data]
    healthcheck:
      test: [CMD-SHELL, pg_isready --host 127.0.0.1]
      interval: 1s
      retries: 60
volumes:
  data: {name: NAME-rows}
"""

DOCKERFILE = """\
FROM python:3.13-slim-trixie
RUN pip install --no-cache-dir 'django~=5.2.0' 'gunicorn~=27.0' 'psycopg2-binary~=2.9'
WORKDIR /code
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "shop.wsgi"]
"""

SETTINGS = """\
import os

SECRET_KEY, DEBUG, ALLOWED_HOSTS = "not-a-secret", True, ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
ROOT_URLCONF, WSGI_APPLICATION = "shop.urls", "shop.wsgi.application"
SERVER = {"NAME": "postgres", "USER": "postgres", "PASSWORD": "not-a-secret"}
SERVER |= {"ENGINE": "django.db.backends.postgresql", "HOST": os.environ["DB"]}
DATABASES = {"default": SERVER}
"""

URLS = """\
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.urls import path


def index(request):
    return HttpResponse(" ".join(["groups:", *Group.objects.values_list("name", flat=True)]))


urlpatterns = [path("", index)]
"""

WSGI = """\
import os
from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
application = get_wsgi_application()
"""

MANAGE = """\
import os, sys
from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
"""

ROW = "insert into auth_group (name) values ('mine')"


def written(root: Path) -> None:
    """Write the project; no other run has the name or the port."""
    names = {"NAME": root.name, "PORT": str(free_port())}
    for name, text in {
        "noxfile.py": NOXFILE,
        "check.py": CHECK,
        "compose.yaml": re.sub("NAME|PORT", lambda found: names[found[0]], COMPOSE),
        "Dockerfile": DOCKERFILE,
        "manage.py": MANAGE,
        "shop/settings.py": SETTINGS,
        "shop/urls.py": URLS,
        "shop/wsgi.py": WSGI,
        "tasks.py": TASKS,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """The project, whose developer has a stack with a row."""
    root = tmp_path_factory.mktemp("foreign") / f"shop-{uuid.uuid4().hex[:8]}"
    written(root)
    # For the noxfile, as if composed was installed.
    copy = Copy(root, plain_environment(root.parent) | {"PYTHONPATH": str(ROOT)})
    try:
        copy.ok("up", "--migrate")
        copy.ok("dbshell", "--command", ROW)
        yield copy
    finally:
        for stack in {label for label in labels(copy) if label.startswith(root.name)}:
            copy.run("sh", "-c", REMOVE, f"label=com.docker.compose.project={stack}")


def labels(shop: Copy) -> set[str]:
    """Return the name of every stack on the engine that has a container, volume or network."""
    form = '{{.Label "com.docker.compose.project"}}'
    kinds = ("ps --all", "volume ls", "network ls")
    return {
        name for kind in kinds for name in shop.docker(*kind.split(), "--format", form).splitlines()
    }


def nox(shop: Copy, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nox", "--session", "integration", "--reuse-venv", "yes", *words],
        cwd=shop.root,
        env=shop.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def assert_only_the_developers(shop: Copy, containers: str) -> None:
    """Check that the developer's stack is as before, and the only one."""
    assert {name for name in labels(shop) if name.startswith(shop.root.name)} == {shop.root.name}
    images = shop.docker("images", "--format", "{{.Repository}}").split()
    ours = [image for image in images if image.startswith(shop.root.name)]
    assert ours == [f"{shop.root.name}-image"]
    assert running(shop) == containers
    assert request(shop.ps()["web"]["url"]).text == "groups: mine"
    assert not (shop.root / "data").exists()  # no snapshot of a database that is gone


def running(shop: Copy) -> str:
    """Return the developer's containers, with their image and ports."""
    label = f"label=com.docker.compose.project={shop.root.name}"
    form = "{{.ID}} {{.Image}} {{.Ports}}"
    return shop.docker("ps", "--no-trunc", "--filter", label, "--format", form)


def test_it_runs_beside_the_developers_stack(shop: Copy) -> None:
    before = running(shop)
    session = nox(shop)
    out, _ = session.communicate()

    assert session.returncode == 0, out
    (url,) = re.findall(r"^AT (\S+)$", out, re.MULTILINE)
    assert url != shop.ps()["web"]["url"]
    assert_only_the_developers(shop, before)


def test_a_failure_shows_logs_and_a_bundle_and_leaves_nothing(shop: Copy) -> None:
    before = running(shop)
    session = nox(shop, "--", "fail")
    out, _ = session.communicate()

    assert session.returncode == 1, out
    assert "AssertionError: as asked" in out
    assert "database system is ready to accept connections" in out  # the logs
    (bundle,) = re.findall(r"Bundle: (\S+)$", out, re.MULTILINE)
    assert "integration: " in (Path(bundle) / "what-happened.txt").read_text()
    assert_only_the_developers(shop, before)


def test_sigterm_during_the_start_leaves_nothing(shop: Copy) -> None:
    before = running(shop)
    session = nox(shop)
    own = f"{shop.root.name}-integration-"
    wait_until(lambda: own in " ".join(labels(shop)), "something of the session's stack", 120)
    session.send_signal(signal.SIGTERM)
    out, _ = session.communicate()

    assert session.returncode == 130, out
    assert_only_the_developers(shop, before)


def test_ctrl_c_during_the_tests_leaves_nothing(shop: Copy) -> None:
    before = running(shop)
    session = nox(shop, "--", "wait")
    assert session.stdout
    seen = "".join(iter(session.stdout.readline, "WAITING\n"))
    os.killpg(session.pid, signal.SIGINT)
    out, _ = session.communicate()

    assert session.returncode == 130, seen + out
    assert_only_the_developers(shop, before)
