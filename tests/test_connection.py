"""The question to Django for its database, and the record of the answer."""

import subprocess
import sys
from pathlib import Path

import pytest

from composed.data.connection import SCRIPT, read

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
