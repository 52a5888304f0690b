"""A nox session of a foreign project in local mode: a server and a file of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.real.test_sessions import CHECK, MANAGE, NOXFILE, TASKS, URLS, WSGI
from tests.stacks.copies import ROOT, Copy, plain_environment

SETTINGS = """\
import os

SECRET_KEY, DEBUG, ALLOWED_HOSTS = "not-a-secret", True, ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
ROOT_URLCONF, WSGI_APPLICATION = "shop.urls", "shop.wsgi.application"
FILE = os.environ.get("SQLITE_PATH", "db.sqlite3")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FILE}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Copy:
    for name, text in {
        "noxfile.py": NOXFILE.replace("stack(session)", 'stack(session, mode="local")'),
        "check.py": CHECK,
        "manage.py": MANAGE,
        "shop/settings.py": SETTINGS,
        "shop/urls.py": URLS,
        "shop/wsgi.py": WSGI,
        "tasks.py": TASKS,
    }.items():
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_text(text)
    (tmp_path / "shop/.git").mkdir()  # a clone of its own, wherever the tests run
    (tmp_path / "shop/db.sqlite3").write_text("the developer's")
    return Copy(tmp_path / "shop", plain_environment(tmp_path) | {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--", "fail"], 1)])
@pytest.mark.parametrize("tasks", [True, False])
def test_it_has_a_file_of_its_own(tasks: bool, words: list[str], code: int, shop: Copy) -> None:
    if not tasks:
        (shop.root / "tasks.py").unlink()
    done = shop.run(sys.executable, "-m", "nox", "--session", "integration", *words)

    assert done.returncode == code, done.stdout + done.stderr
    assert "AT http://127.0.0.1:" in done.stdout
    assert (shop.root / "db.sqlite3").read_text() == "the developer's"
    (own,) = (shop.root / ".composed").glob("shop-*")
    kept = {"session.lock", *(["failures"] if code else [])}
    assert {file.name for file in own.iterdir()} == kept
    assert not (shop.root / "data").exists()


def test_a_file_of_the_developer_is_refused(shop: Copy) -> None:
    settings = (shop.root / "shop/settings.py").read_text()
    (shop.root / "shop/settings.py").write_text(settings.replace("SQLITE_PATH", "FILE"))
    done = shop.run(sys.executable, "-m", "nox", "--session", "integration")

    assert done.returncode == 1
    assert "the variable SQLITE_PATH" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (shop.root / "db.sqlite3").read_text() == "the developer's"
