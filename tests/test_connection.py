"""The question to Django for its database, and the record of the answer."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from composed.data.connection import MARK, SCRIPT, Connection, connection, fresh, read, recorded
from composed.gateway import Answer, Gateway
from composed.project import Project

SETTINGS = """\
from django.conf import settings
settings.configure(DATABASES={{"default": {{
    "ENGINE": "django.db.backends.sqlite3", "NAME": {name!r}, "OPTIONS": {{"uri": True}}}}}})
"""


def file_of_django(folder: Path, name: str) -> str:
    """Return the file that Django itself says it uses, for a NAME in the settings."""
    code = f"{SETTINGS.format(name=name)}{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return read(done.stdout).name


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("file:/data/db.sqlite3?mode=rwc", "/data/db.sqlite3"),
        ("file:///data/db.sqlite3", "/data/db.sqlite3"),
        ("file://localhost/data/db.sqlite3?cache=shared", "/data/db.sqlite3"),
        ("file:/data/a%20b%3F.sqlite3?mode=ro", "/data/a b?.sqlite3"),
        ("file:sub/db.sqlite3", "HERE/sub/db.sqlite3"),
        ("file::memory:?cache=shared", ":memory:"),
        ("file:shop?mode=memory&cache=shared", ":memory:"),
        (":memory:", ":memory:"),
        ("db.sqlite3", "HERE/db.sqlite3"),
        ("/data/a?b%20c", "/data/a?b%20c"),  # no URI
    ],
)
def test_django_names_the_file_of_sqlite(name: str, file: str, tmp_path: Path) -> None:
    assert file_of_django(tmp_path, name) == file.replace("HERE", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def stack_of(folder: Path, mode: str, name: str) -> Any:
    """Return a stack whose Django uses the SQLite file ``name``."""
    shown = MARK + json.dumps({"vendor": "sqlite", "name": name, "host": ""})
    inside = SimpleNamespace(ask_one_off=lambda *_: Answer(0, shown, ""))
    project, gateway = Project(folder), Gateway(folder)
    return SimpleNamespace(
        mode=mode, project=project, folder=folder / "own", gateway=gateway, inside=inside
    )


def test_a_record_of_one_mode_is_none_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "manage.py").touch()
    (tmp_path / "own").mkdir()
    local, docker = stack_of(tmp_path, "local", "/here"), stack_of(tmp_path, "docker", "/app/db")

    assert connection(local, "same").name == "/here"
    assert (fresh(docker, "same"), recorded(docker)) == (None, None)
    assert connection(docker, "same").name == "/app/db"
    assert fresh(local, "same") == Connection("sqlite", "/here", "")
