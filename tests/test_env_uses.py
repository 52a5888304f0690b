"""The settings that a project's files use: Python source, and Compose files."""

from dataclasses import replace

import pytest

from composed.doctor.env_check import names_read, uses
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
def test_a_name_that_the_source_reads_is_listed(source: str) -> None:
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
def test_a_name_that_the_environment_is_not_asked_for_is_left_out(source: str) -> None:
    assert names_read(source) == set()


def test_compose_is_asked_for_the_variables(project: Project, recorder: Recorder) -> None:
    recorder.on("--variables").say(VARIABLES)
    server = replace(project, settings_files=())

    readers, required, unread = uses(server, Gateway(project.root), [project.root / ".env"])

    words = ["--env-file", ".env", "--project-name", "check", "config", "--variables"]
    assert recorder.asked == [["docker", "compose", *words]]
    assert readers == dict.fromkeys(("POSTGRES_DB", "SECRET_KEY"), "a Compose file")
    assert (required, unread) == (["SECRET_KEY"], [])


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (Answer(127, "", ""), "ok", "there is no docker here"),
        (Answer(16, "", "unknown flag: --variables"), "warning", "Compose lists their variables"),
        (Answer(1, "", 'unterminated quoted value "hush'), "warning", "Compose fails"),
    ],
)
def test_compose_files_without_a_list_of_variables_have_a_finding(
    answer: Answer, state: str, reason: str, project: Project, recorder: Recorder
) -> None:
    recorder.on("--variables").give(answer)

    readers, required, rows = uses(replace(project, settings_files=()), Gateway(project.root), [])

    assert (readers, required) == ({}, [])
    assert [(row.what, row.state) for row in rows] == [("Compose files", state)]
    assert rows[0].seen.startswith(f"not compared: {reason}")
    assert "hush" not in str(rows)


@pytest.mark.usefixtures("recorder")
def test_a_settings_file_that_cannot_be_read_has_a_finding(project: Project) -> None:
    (project.tree / "broken.py").write_text("def (")
    server = replace(project, settings_files=("broken.py", "absent.py"))

    _, _, rows = uses(server, Gateway(project.root), [])

    cure = "Correct it, or name yours in [tool.composed] settings_files"
    syntax = "not compared: invalid syntax (<unknown>, line 1)"
    assert rows == [
        Finding("server/broken.py", "warning", syntax, cure),
        Finding("server/absent.py", "warning", "not compared: No such file or directory", cure),
    ]
