"""Which settings a project's files use: found in Python source, and asked of Compose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from composed.doctor.env_uses import names_read, uses
from composed.findings import Finding
from composed.gateway import Answer, Gateway
from composed.project import Project
from tests.recorder import Recorder

VARIABLES = """\
NAME                   REQUIRED   DEFAULT VALUE   ALTERNATE VALUE
POSTGRES_DB            false      task_db
SECRET_KEY             true
"""


@pytest.mark.parametrize(
    "source",
    [
        'import os\nos.environ["NAME"]',
        'import os\nos.environ.get("NAME", "x")',
        'import os\nos.getenv("NAME")',
        'from os import environ\nenviron["NAME"]',
        'from os import environ\nenviron.get("NAME")',
        'from os import getenv\ngetenv("NAME")',
        'env("NAME")',
        'env.bool("NAME", default=False)',
        'DATABASES = {"default": env.db("NAME")}',
        'config("NAME", cast=int)',
        'def number(name):\n    return int(os.environ[name])\nnumber("NAME")',
    ],
)
def test_a_name_that_is_read_is_found(source: str) -> None:
    assert names_read(source) == {"NAME"}


@pytest.mark.parametrize(
    "source",
    [
        'def access(environ):\n    return environ.get("PATH_INFO")',
        'print("NAME")',
        'os.environ.setdefault("NAME", "x")',
        "os.environ.get(name)",
        "env()",
        'env.bool("lower")',
        'def say(word):\n    print(word)\nsay("NAME")',
    ],
)
def test_what_is_not_read_from_the_environment_is_left_out(source: str) -> None:
    assert names_read(source) == set()


def test_compose_is_asked_for_the_variables(project: Project, recorder: Recorder) -> None:
    recorder.on("--variables").say(VARIABLES)
    server = replace(project, settings_files=())

    used, unread = uses(server, Gateway(project.root), [project.root / ".env"])

    words = ["--env-file", ".env", "--project-name", "check", "config", "--variables"]
    assert recorder.asked == [["docker", "compose", *words]]
    assert used.readers == dict.fromkeys(("POSTGRES_DB", "SECRET_KEY"), "a Compose file")
    assert (used.required, unread) == (["SECRET_KEY"], [])


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (Answer(127, "", ""), "ok", "there is no docker here"),
        (Answer(16, "", "unknown flag: --variables"), "warning", "Compose lists their variables"),
        (Answer(1, "", 'unterminated quoted value "hush'), "warning", "Compose fails"),
    ],
)
def test_compose_files_that_cannot_be_asked_are_left_out_with_a_row(
    answer: Answer, state: str, why: str, project: Project, recorder: Recorder
) -> None:
    recorder.on("--variables").give(answer)

    used, rows = uses(replace(project, settings_files=()), Gateway(project.root), [])

    assert used == ({}, [])
    assert [(row.what, row.state) for row in rows] == [("Compose files", state)]
    assert rows[0].seen.startswith(f"not compared: {why}")
    assert "hush" not in str(rows)


def test_a_settings_file_that_cannot_be_read_has_a_row(
    project: Project, recorder: Recorder
) -> None:
    folder: Path = project.root / project.source
    (folder / "broken.py").write_text("def (")
    server = replace(project, settings_files=("broken.py", "absent.py"))

    _used, rows = uses(server, Gateway(project.root), [])

    cure = "Correct it, or name yours in [tool.composed] settings_files"
    assert rows == [
        Finding(
            "server/broken.py", "warning", "not compared: invalid syntax (<unknown>, line 1)", cure
        ),
        Finding("server/absent.py", "warning", "not compared: No such file or directory", cure),
    ]
