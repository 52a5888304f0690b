"""`composed init`: what it finds, what it warns of, and the files that it writes."""

import dataclasses
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from composed.docker.model import Model
from composed.docker.profiles import Inactive
from composed.docker.volatile import keeps_data
from composed.errors import EngineError, RefusedError, SettingError
from composed.gateway import Gateway
from composed.init.drafts import (
    Draft,
    drafts,
    install_command,
    needs_two_lines,
    sqlite_environment,
)
from composed.init.facts import django_database, examine
from composed.init.report import Fact, Report, as_text
from composed.init.warnings import warnings
from composed.init.writing import put, write
from composed.project import Project
from composed.verbs.init import chosen
from tests.samples import ROOT, Capsys, MonkeyPatch

MANAGE = """\
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
"""
SETTINGS = """\
import os
# DATABASES = {"HOST": "commented"}
WSGI_APPLICATION = "shop.wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "HOST": os.environ["DB_HOST"]}}
"""
COMPOSE = """\
services:
  # the server
  web:
    build: .
    command: gunicorn shop.wsgi
  db:
    image: postgres:15
volumes:
  data:
"""
WEB: dict[str, Any] = {
    "command": "gunicorn shop.wsgi",
    "image": "shop",
    "environment": {"DB_HOST": "db"},
    "ports": [{"published": "8000", "target": 8000}],
    "depends_on": {"db": {"condition": "service_healthy"}},
    "healthcheck": {"test": ["CMD", "true"]},
}
DATA = {"type": "volume", "source": "data", "target": "/var/lib/postgresql/data"}
DB: dict[str, Any] = {"image": "postgres:15", "volumes": [DATA], "healthcheck": {"test": ["CMD"]}}
UNCHECKED = "no health check: inv up waits for "

DOOR = (sys.executable, "-c", "from composed.door import main; main()")
DOCKER = """\
#!/bin/sh
case "$*" in "compose config --format json") cat model.json ;; *) exit 1 ;; esac
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """A project with settings for PostgreSQL and a Compose file, in a clone of git."""
    folder = tmp_path / "shop"
    write_files(folder, {"manage.py": MANAGE, "shop/settings.py": SETTINGS})
    write_files(folder, {"docker-compose.yml": COMPOSE})
    subprocess.run(["git", "init", "-q", "-b", "trunk", folder], check=True)
    return Project.at(folder)


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def model(**services: object) -> Model:
    volumes = {"data": {"name": "shop_data"}}
    return Model({"name": "shop", "services": services, "volumes": volumes})


def drafted(project: Project, **keys: str) -> dict[str, Draft]:
    """Return the drafts by the names of the files."""
    found = drafts(project, Gateway(project.root), keys)
    return {project.relative(draft.file): draft for draft in found}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def init(folder: Path, *words: str, docker: bool = False) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr; the PATH has git, and perhaps a ``docker``."""
    tools = folder.parent / "tools"
    if not tools.exists():
        tools.mkdir()
        git = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout
        (tools / "git").symlink_to(git.strip())
        for name in ("sh", "cat"):
            (tools / name).symlink_to(f"/bin/{name}")
    if docker:
        (tools / "docker").write_text(DOCKER)
        (tools / "docker").chmod(0o755)
    done = subprocess.run(
        [*DOOR, "init", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": str(tools)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


# What is found.


def test_what_is_written_somewhere_is_found_with_the_line(shop: Project) -> None:
    report = examine(shop, model(web=WEB, db=DB))

    assert report == Report(
        found=[
            Fact("Compose file", "docker-compose.yml", "as Compose finds it"),
            Fact("source", ".", "manage.py"),
            Fact("settings", "shop.settings", "manage.py:2"),
            Fact(
                "server without Docker",
                "python -m gunicorn --reload shop.wsgi:application",
                "shop/settings.py:3",
            ),
            Fact("backend", "web", "docker-compose.yml:3"),
            Fact("database", "db", "docker-compose.yml:6"),
            Fact("port", "8000", "docker-compose.yml:3"),
            Fact("Django's database", "db, by DB_HOST", "shop/settings.py:4"),
        ],
        guessed=[Fact("manage.py", "python manage.py", "the source in the container")],
    )


def test_a_key_is_found_in_pyproject(shop: Project) -> None:
    write_files(shop.root, {"pyproject.toml": '[tool.composed]\nbackend = "web"\nsource = "."\n'})
    Project.at.cache_clear()
    project = Project.at(shop.root)

    report = examine(project, model(web=WEB, other=WEB, db=DB))

    assert Fact("backend", "web", "pyproject.toml:2") in report.found
    assert Fact("source", ".", "pyproject.toml:3") in report.found


def test_a_service_without_a_sign_of_a_server_is_a_guess(shop: Project) -> None:
    report = examine(shop, model(web={"build": str(shop.root)}, db=DB))

    assert [(fact.what, fact.value) for fact in report.guessed] == [
        ("backend", "web"),
        ("database", "db"),
        ("manage.py", "python manage.py"),
    ]


def test_several_services_are_a_choice_and_none_is_unknown(shop: Project) -> None:
    two = examine(shop, model(web=WEB, site=WEB, db=DB))
    none = examine(shop, model(cache={"image": "redis"}))

    cure = 'pyproject.toml: [tool.composed] backend = "web"'
    assert two.unknown == [Fact("backend", "several could be it: web, site", cure)]
    assert two.choices == {"backend": ["web", "site"]}
    assert [fact.value for fact in none.unknown] == ["no service looks like it"] * 2
    assert none.choices == {}


def test_what_no_file_tells_is_unknown(tmp_path: Path) -> None:
    report = examine(Project(tmp_path), EngineError("No docker.", "Install it"))

    assert report.found == report.guessed == report.warnings == []
    assert [fact.what for fact in report.unknown] == [
        "Compose file",
        "source",
        "settings",
        "server without Docker",
        "services",
    ]
    assert report.unknown[-1] == Fact("services", "No docker.", "Install it")


def test_several_compose_files_and_manage_files_are_unknown(shop: Project) -> None:
    (shop.root / "docker-compose.yml").unlink()
    write_files(
        shop.root, {"a/local.yml": "", "b/local.yml": "", "a/manage.py": "", "b/manage.py": ""}
    )
    (shop.root / "manage.py").unlink()

    project = Project(shop.root)
    with pytest.raises(SettingError) as several:
        _ = project.compose
    report = examine(project, several.value)

    unknown = {fact.what: fact.value for fact in report.unknown}
    assert unknown["Compose file"] == "There are several Compose files: a/local.yml, b/local.yml."
    assert unknown["source"].startswith("More than one manage.py")
    assert "services" not in unknown  # the first of these facts says it


@pytest.mark.parametrize(
    ("environment", "settings", "proof"),
    [
        ({"DB_HOST": "db"}, 'x = env("DB_HOST")', "db, by DB_HOST"),
        ({"DB_HOST": "db"}, 'x = env("OTHER")', ""),
        ({"DB_HOST": "db"}, '# x = env("DB_HOST")', ""),
        ({"DB_HOST": "other"}, 'x = env("DB_HOST")', ""),
        ({"DB_NAME": "db"}, 'x = env("DB_NAME")', ""),
        (
            {"DATABASE_URL": "postgres://u:p@db:5432/n"},
            "x = dj_database_url.config()",
            "db, by DATABASE_URL",
        ),
        ({"DATABASE_URL": "postgres://u:p@db/n"}, 'x = env("DATABASE_URL")', "db, by DATABASE_URL"),
        ({"DATABASE_URL": "postgres://u:p@db2/n"}, 'x = env("DATABASE_URL")', ""),
        ({}, "x = {'HOST': 'db'}", "db"),
        ({}, "# x = {'HOST': 'db'}", ""),
    ],
)
def test_the_database_of_django_is_proven_by_a_host(
    shop: Project, environment: dict[str, str], settings: str, proof: str
) -> None:
    write_files(shop.root, {"shop/settings.py": settings})
    service = model(web={**WEB, "environment": environment}).service("web")

    found = django_database(shop, service, "db")

    assert (found.value if found else "") == proof
    assert "u:p" not in str(found)


def test_a_module_beside_the_settings_can_name_the_database(shop: Project) -> None:
    (shop.root / "shop/settings.py").unlink()
    write_files(shop.root, {"manage.py": MANAGE.replace("shop.settings", "shop.settings.local")})
    write_files(shop.root, {"shop/settings/local.py": "", "shop/settings/base.py": SETTINGS})

    found = django_database(shop, model(web=WEB).service("web"), "db")

    assert found == Fact("Django's database", "db, by DB_HOST", "shop/settings/base.py:4")


def test_a_database_that_is_not_proven_is_a_warning(shop: Project) -> None:
    write_files(shop.root, {"shop/settings.py": "ENGINE = 'django.db.backends.sqlite3'\n"})

    [warning] = examine(shop, model(web=WEB, db=DB)).warnings

    assert (warning.what, "SQLite alone" in warning.value) == ("Django's database", True)


# Warnings.


def test_a_stack_without_a_danger_has_no_warning(shop: Project) -> None:
    assert warnings(shop, model(web=WEB, db=DB), "web", "db") == []


@pytest.mark.parametrize(
    ("web", "db", "others", "warning"),
    [
        ({"healthcheck": None}, {}, {}, ("web", f"{UNCHECKED}an answer over HTTP", ":3")),
        ({"healthcheck": {"disable": True}}, {}, {}, ("web", UNCHECKED, ":3")),
        ({}, {"healthcheck": None}, {}, ("db", f"{UNCHECKED}a connection", ":6")),
        ({}, {"volumes": []}, {}, ("db", "no volume has /var/lib/postgresql/data: ", ":6")),
        ({"container_name": "one"}, {}, {}, ("web", "container_name one: ", ":3")),
        ({}, {}, {"old": {"image": "mysql"}}, ("old", "another database: ", "")),
        ({}, {}, {"queue": {"image": "shop"}}, ("queue", "runs the image of web: ", "")),
        ({"command": "sh -c 'manage.py reset_db && x'"}, {}, {}, ("web", "reset_db: ", ":3")),
        (
            {"command": ["python", "manage.py", "loaddata", "x"]},
            {},
            {},
            ("web", "loaddata: ", ":3"),
        ),
        ({"entrypoint": "django-admin flush --no-input"}, {}, {}, ("web", "flush: ", ":3")),
    ],
)
def test_a_danger_is_a_warning(
    shop: Project,
    web: dict[str, Any],
    db: dict[str, Any],
    others: dict[str, Any],
    warning: tuple[str, str, str],
) -> None:
    [found] = warnings(shop, model(web={**WEB, **web}, db={**DB, **db}, **others), "web", "db")

    assert (found.what, found.place.removeprefix("docker-compose.yml")) == warning[::2]
    assert found.value.startswith(warning[1])


def test_a_script_that_changes_data_is_named_with_the_line(shop: Project) -> None:
    script = "#!/bin/sh\n# manage.py loaddata\npython manage.py flush\nexec manage.py migrate\n"
    write_files(shop.root, {"start.sh": script, "Dockerfile": "FROM python\nCOPY . /app\n"})
    web = {**WEB, "build": {"context": str(shop.root)}, "command": "/app/start.sh"}

    [found] = warnings(shop, model(web=web, db=DB), "web", "db")

    assert (found.value.partition(":")[0], found.place) == ("flush", "start.sh:3")


def test_migrations_at_each_start_are_no_warning(shop: Project) -> None:
    command = "sh -c 'python manage.py migrate && python manage.py loaddata x && gunicorn x'"
    web = {**WEB, "command": command}
    report = examine(shop, model(web=web, db=DB))

    said = "migrate: each start applies migrations, without a snapshot"
    assert Fact("web", said, "docker-compose.yml:3") in report.found
    changes = [fact.value for fact in report.warnings if fact.what == "web"]
    assert changes == ["loaddata: each start loads data"]


def test_a_command_of_the_dockerfile_is_named_with_the_line(shop: Project) -> None:
    write_files(shop.root, {"Dockerfile": 'FROM python\nCMD ["python", "manage.py", "flush"]\n'})
    web = {**WEB, "build": {"context": str(shop.root)}, "command": None}

    [found] = warnings(shop, model(web=web, db=DB), "web", "db")

    assert found.place == "Dockerfile:2"


def test_a_health_check_of_the_dockerfile_counts(shop: Project) -> None:
    web = {**WEB, "build": {"context": str(shop.root)}, "healthcheck": None}
    for end, count in (("HEALTHCHECK CMD true\n", 0), ("HEALTHCHECK NONE\n", 1)):
        write_files(shop.root, {"Dockerfile": f"FROM python\n{end}"})
        assert len(warnings(shop, model(web=web, db=DB), "web", "db")) == count


@pytest.mark.parametrize(
    ("image", "mount", "environment", "keeps"),
    [
        ("postgres:15", DATA, {}, True),
        ("postgres:15", {**DATA, "type": "bind", "source": "/d"}, {}, True),
        ("postgres:15", {**DATA, "type": "tmpfs", "source": ""}, {}, False),
        ("postgres:15", {**DATA, "source": ""}, {}, False),
        ("postgres:15", {**DATA, "target": "/backups"}, {}, False),
        ("postgres:15", {**DATA, "target": "/var/lib/postgresql"}, {}, False),
        (
            "postgres:15",
            {**DATA, "target": "/var/lib/postgresql"},
            {"PGDATA": "/var/lib/postgresql/x"},
            True,
        ),
        ("postgres:18", {**DATA, "target": "/var/lib/postgresql"}, {}, True),
        ("postgres:15", {**DATA, "target": "/data"}, {"PGDATA": "/data/pg"}, True),
        ("bitnami/postgresql", {**DATA, "target": "/bitnami/postgresql"}, {}, True),
        ("docker.io/bitnami/postgresql:17", {**DATA, "target": "/bitnami"}, {}, True),
        ("postgres:15", {**DATA, "target": "/etc/postgresql/postgresql.conf"}, {}, False),
        ("postgres:15", {**DATA, "target": "/var/lib/postgresql/data/pg.conf"}, {}, False),
        ("postgres:15", {**DATA, "target": "/var/lib/postgres/data"}, {}, False),
    ],
)
def test_a_volume_keeps_the_data(
    image: str, mount: dict[str, str], environment: dict[str, str], keeps: bool
) -> None:
    db = {"image": image, "volumes": [mount], "environment": environment}

    assert keeps_data(model(db=db).service("db")) == keeps


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({".env.example": "A=\n"}, 1),
        ({".env.example": "A=\n", ".env": ""}, 0),
        ({".env.example": "COMPOSE_PROJECT_NAME=\n"}, 0),
        ({}, 0),
    ],
)
def test_an_example_without_an_env_file_is_a_warning(
    shop: Project, files: dict[str, str], count: int
) -> None:
    write_files(shop.root, files)

    assert len(warnings(Project(shop.root), model(web=WEB, db=DB), "web", "db")) == count


def test_services_of_profiles_that_are_not_active_are_told(shop: Project) -> None:
    write_files(shop.root, {".env.example": "COMPOSE_PROFILES=web\n"})
    every = model(web=WEB | {"profiles": ["web"]}, db=DB)
    others = Inactive(("db", "web"), every, (), "cp .env.example .env")

    report = examine(Project.at(shop.root), model(), others)

    why = "Each service belongs to a profile that is not active: db, web"
    cure = "Type: cp .env.example .env; Then: inv up"
    assert report.unknown == [Fact("backend", why, cure), Fact("database", why, cure)]
    seen = "no service is active without .env, although there is .env.example"
    assert report.warnings == [Fact(".env", seen, ".env.example")]


def test_a_named_service_of_a_profile_is_told_apart(shop: Project) -> None:
    every = model(web=WEB | {"profiles": ["web"]}, db=DB)
    project = dataclasses.replace(shop, backend="web")

    report = examine(project, model(db=DB), Inactive(("web",), every, ("db",)))

    why = "Service 'web' belongs to a profile that is not active"
    assert report.unknown == [Fact("backend", why, "Type: COMPOSE_PROFILES=web inv up")]


def test_the_lists_are_shown_in_their_order() -> None:
    text = as_text(Report(found=[Fact("a", "b", "c:1")], warnings=[Fact("d", "e\x1b")]))

    assert text.splitlines() == [
        "FOUND  VALUE  FROM",
        "a      b      c:1",
        "",
        "GUESSED: nothing",
        "",
        "COULD NOT TELL: nothing",
        "",
        "WARNING  WHAT   FROM",
        "d        e\\x1b",
    ]


# Files.


def test_a_project_gets_its_files(shop: Project) -> None:
    found = drafted(shop)

    assert {name: draft.offered for name, draft in found.items()} == {
        "tasks.py": False,
        ".git/info/exclude": False,
        "noxfile.py": True,
        ".github/workflows/composed.yml": True,
    }
    assert found[".git/info/exclude"].content.endswith(
        "\n.composed/\ndata/snapshots/\ndata/.snapshots.*\n"
    )
    assert 'branches: ["trunk"]' in found[".github/workflows/composed.yml"].content
    compile(found["tasks.py"].content, "tasks.py", "exec")


def test_a_project_in_a_folder_of_the_clone_gets_its_files(shop: Project) -> None:
    write_files(shop.root, {"a b/manage.py": MANAGE, "a b/docker-compose.yml": COMPOSE})

    found = drafted(Project(shop.root / "a b"))

    assert found["../.git/info/exclude"].content.endswith(
        "\na b/.composed/\na b/data/snapshots/\na b/data/.snapshots.*\n"
    )
    workflow = found["../.github/workflows/composed.yml"].content
    assert '        working-directory: "a b"\n    steps:\n' in workflow


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"tasks.py": ""}, "tasks.py"),
        ({"tasks/__init__.py": ""}, "tasks.py"),
        ({".gitignore": ".composed/\n/data\n"}, ".git/info/exclude"),
        (
            {".git/info/exclude": ".composed/\ndata/snapshots/\ndata/.snapshots.*\n"},
            ".git/info/exclude",
        ),
        ({"noxfile.py": ""}, "noxfile.py"),
        ({".github/workflows/composed.yml": ""}, ".github/workflows/composed.yml"),
        ({".github/workflows/ci.yaml": "run: nox -s lint"}, ".github/workflows/composed.yml"),
        ({".gitlab-ci.yml": ""}, ".github/workflows/composed.yml"),
    ],
)
def test_what_is_there_is_not_written(shop: Project, files: dict[str, str], name: str) -> None:
    assert name in drafted(shop)

    write_files(shop.root, files)

    assert name not in drafted(shop)


def test_a_last_line_without_an_end_stays_whole(shop: Project) -> None:
    write_files(shop.root, {".git/info/exclude": "mine"})

    assert (
        drafted(shop)[".git/info/exclude"].content
        == "mine\n.composed/\ndata/snapshots/\ndata/.snapshots.*\n"
    )


def test_a_folder_without_git_gets_no_list_and_no_workflow(tmp_path: Path) -> None:
    assert list(drafted(Project(tmp_path))) == ["tasks.py", "noxfile.py"]


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        ("x = dj_database_url.config()", {"DATABASE_URL": "sqlite:///unit.sqlite3"}),
        ("x = env.db('DATABASE_URL')", {"DATABASE_URL": "sqlite:///unit.sqlite3"}),
        ("ENGINE = env('E', 'django.db.backends.sqlite3')", {}),
        ("ENGINE = 'django.db.backends.postgresql'", None),
    ],
)
def test_the_settings_decide_whether_sqlite_is_possible(
    code: str, environment: dict[str, str] | None
) -> None:
    assert sqlite_environment(code) == environment


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ({}, ["# There is no session unit: "]),
        ({"shop/settings.py": "sqlite3"}, ['install("-e", ".")', '"manage.py", "test", env={}']),
        (
            {"shop/settings.py": "env.db()", "pytest.ini": ""},
            ['"pytest-django"', '"pytest", env={"DAT'],
        ),
        ({"shop/settings.py": "sqlite3", "requirements.txt": ""}, ['"-r", "requirements.txt"']),
        ({"shop/settings.py": "sqlite3", "uv.lock": ""}, ['run_install("uv", "sync", env={"UV_']),
    ],
)
def test_the_noxfile_fits_the_project(
    shop: Project, files: dict[str, str], lines: list[str]
) -> None:
    write_files(shop.root, files)

    text = drafted(shop)["noxfile.py"].content

    compile(text, "noxfile.py", "exec")
    assert all(line in text for line in (*lines, "def lint(", "def integration(", "with stack("))
    assert ("def unit(" in text) == bool(files)
    assert "$" not in text


def test_the_noxfile_changes_to_the_folder_of_the_source(shop: Project) -> None:
    write_files(shop.root, {"app/manage.py": MANAGE, "app/shop/settings.py": "sqlite3"})
    (shop.root / "manage.py").unlink()

    assert 'session.chdir("app")' in drafted(Project(shop.root))["noxfile.py"].content


@pytest.mark.parametrize(("file", "has_linter"), [("ruff.toml", True), ("README.md", False)])
def test_a_linter_of_the_project_accepts_the_tasks(
    shop: Project, file: str, has_linter: bool
) -> None:
    write_files(shop.root, {file: ""})

    text = drafted(shop)["tasks.py"].content

    assert ("import *  # noqa: F403\n" in text) == has_linter
    assert ("import *\n" in text) != has_linter


@pytest.mark.parametrize(
    "before",
    [
        "",
        "[project]\nname = 'x'",
        "[tool.composed]\nsource = '.'\n[tool.ruff]\n",
        "[tool.composed] # ours\n",
        "[tool.composed]",
        "[tool.composed]\r\nsource = '.'\r\n",
    ],
)
def test_a_key_is_added_and_the_rest_stays(shop: Project, before: str) -> None:
    (shop.root / "pyproject.toml").write_text(before, newline="")

    after = drafted(shop, backend="web")["pyproject.toml"].content

    expected = tomllib.loads(before)
    expected.setdefault("tool", {}).setdefault("composed", {})["backend"] = "web"
    assert tomllib.loads(after) == expected


@pytest.mark.parametrize(
    "before",
    [
        b"tool = 1\n",
        b"x = [",
        b"tool = {composed = {}}\n",
        b"[tool]\ncomposed.source = '.'\n",
        b"\xff",
    ],
)
def test_a_file_that_cannot_take_a_key_is_refused(shop: Project, before: bytes) -> None:
    (shop.root / "pyproject.toml").write_bytes(before)

    with pytest.raises(SettingError):
        drafted(shop, backend="web")


def test_a_file_that_is_none_is_refused(shop: Project) -> None:
    (shop.root / ".git/info/exclude").unlink(missing_ok=True)
    os.mkfifo(shop.root / ".git/info/exclude")

    with pytest.raises(RefusedError, match="it is a pipe"):
        drafted(shop)


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("uv.lock", "uv add --dev composed"),
        ("poetry.lock", "poetry add --group dev composed"),
        ("requirements.txt", "pip install composed"),
    ],
)
def test_the_lock_decides_how_to_install(shop: Project, file: str, command: str) -> None:
    write_files(shop.root, {file: ""})

    assert install_command(shop) == command


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("import invoke", True),
        ("import invoke\n# see composed.verbs", True),
        ("from composed.verbs import *", False),
        ("from celery import shared_task", False),
    ],
)
def test_tasks_without_the_verbs_need_two_lines(shop: Project, text: str, needs: bool) -> None:
    assert not needs_two_lines(shop)

    write_files(shop.root, {"tasks.py": text})

    assert needs_two_lines(shop) == needs


def test_a_file_is_replaced_whole_and_readable(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        put(tmp_path / "a/b/new", "x")
    finally:
        os.umask(mask)
    old = tmp_path / "old"
    old.write_text("before")
    old.chmod(0o640)
    (tmp_path / "link").symlink_to("old")
    put(tmp_path / "link", "after")

    names = ("a", "a/b", "a/b/new", "old")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in names]
    assert modes == [0o755, 0o755, 0o644, 0o640]
    assert ((tmp_path / "link").is_symlink(), old.read_text()) == (True, "after")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "link", "old"]


def test_a_thing_that_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(RefusedError):
        put(tmp_path / "pipe", "x")


def test_an_interrupt_leaves_no_half_file(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    (tmp_path / "file").write_text("before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / "file", "after")

    assert contents(tmp_path) == {"file": b"before"}


def test_offered_files_wait_for_consent(shop: Project, capsys: Capsys) -> None:
    offered = Draft(shop.root / "noxfile.py", "x", offered=True, purpose="y")

    assert write(shop, [offered], yes=False) == [offered]
    assert not offered.file.exists()
    assert write(shop, [offered], yes=True) == []
    assert capsys.readouterr().err == "Wrote noxfile.py.\n"


@pytest.mark.parametrize(("typed", "keys"), [("2", {"backend": "b"}), ("", {}), ("3", {})])
def test_the_user_chooses_between_services(
    typed: str, keys: dict[str, str], monkeypatch: MonkeyPatch
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return f"{typed}\n"

        def write(self, _text: str) -> None: ...

        def flush(self) -> None: ...

    report = Report(choices={"backend": ["a", "b"]})
    assert chosen(report) == {}  # no terminal
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr", Terminal())

    assert chosen(report) == keys


# The verb.


def test_init_writes_little_without_consent_and_then_nothing(shop: Project) -> None:
    before = contents(shop.root)

    assert init(shop.root, "--check")[0] == 1
    assert contents(shop.root) == before
    code, out, err = init(shop.root)

    assert (
        code,
        out.endswith("\nInstall the verbs: pip install composed\nThen type: composed up\n"),
    ) == (0, True)
    assert "There is no docker command here." in out
    assert err == (
        "Wrote tasks.py.\nCompleted .git/info/exclude.\n"
        "Left out: noxfile.py, .github/workflows/composed.yml. To write: composed init --yes\n"
    )
    after = contents(shop.root)
    assert {*after} - {*before} == {"tasks.py"}
    assert init(shop.root, "--check")[0] == 0
    assert init(shop.root)[0] == 0
    assert contents(shop.root) == after


def test_init_with_consent_writes_all_and_then_nothing(shop: Project) -> None:
    (shop.root / "model.json").write_text(
        json.dumps({"name": "shop", "services": {"web": WEB, "db": DB}})
    )
    (shop.root / "app").mkdir()

    code, out, _err = init(shop.root / "app", "--yes", docker=True)

    after = contents(shop.root)
    assert (code, "backend                web" in out) == (0, True)
    assert {"tasks.py", "noxfile.py", ".github/workflows/composed.yml"} <= {*after}
    assert init(shop.root, "--check", "--yes", docker=True)[0] == 0
    assert init(shop.root, "--yes", docker=True)[0] == 0
    assert contents(shop.root) == after


def test_a_dry_run_of_init_writes_nothing(shop: Project) -> None:
    before = contents(shop.root)
    argv = [*DOOR, "--dry", "init", "--yes"]

    done = subprocess.run(argv, cwd=shop.root, env={"PYTHONPATH": str(ROOT)}, check=False)

    assert (done.returncode, contents(shop.root)) == (0, before)


def test_init_says_which_lines_existing_tasks_need(shop: Project) -> None:
    write_files(shop.root, {"tasks.py": "raise SystemExit(9)\nimport invoke\n"})

    code, _out, err = init(shop.root)

    assert code == 0
    assert "\nfrom composed.verbs import *\nnamespace = collect(__name__)\n" in err
    assert (shop.root / "tasks.py").read_text() == "raise SystemExit(9)\nimport invoke\n"


@pytest.mark.parametrize(
    ("file", "name"),
    [("tasks.py", "tasks.py"), ("tasks/__init__.py", "tasks"), ("tasks/a", "tasks")],
)
def test_init_leaves_a_name_of_the_project_alone(shop: Project, file: str, name: str) -> None:
    write_files(shop.root, {file: "from celery import shared_task  # invoked by beat\n"})

    code, out, err = init(shop.root)

    assert code == 0
    assert f"{name} is the project's own. Type: composed VERB\n" in err
    assert "two lines" not in err
    assert out.endswith("Then type: composed up\n")
    assert {found.name for found in shop.root.glob("tasks*")} == {name}


KEY = 'Name yours in pyproject.toml: [tool.composed] source = "FOLDER"'
NO_FILE = "Composed looks for compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml."


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ({}, (", and no Compose file.", KEY, NO_FILE)),
        ({"compose.yml": COMPOSE}, (".", KEY)),
        ({"compose.yml": COMPOSE, "a/b/c/d/manage.py": MANAGE}, (".", KEY)),
    ],
)
def test_init_writes_nothing_where_no_verb_could_start_anything(
    files: dict[str, str], lines: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    write_files(folder, files)
    before, expected = contents(folder), "\n  ".join(lines)

    code, out, err = init(folder, "--yes")

    problem = f"There is no manage.py in {folder} and 3 folders deep below{expected}\n"
    assert (code, out, err) == (66, "", problem)
    code, out, err = init(folder, "--check")
    assert (code, err) == (66, problem)
    assert "COULD NOT TELL" in out
    assert contents(folder) == before


def test_init_names_the_folder_of_the_key_where_it_has_no_source(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_files(tmp_path / "in", {"pyproject.toml": '[tool.composed]\nsource = "x"\n'})
    write_files(tmp_path / "in", {"manage.py": MANAGE, "compose.yml": COMPOSE})

    code, _out, err = init(tmp_path / "in", "--yes")

    where = f"{tmp_path}/in/x, the folder of the key source."
    assert (code, err) == (66, f"There is no manage.py in {where}\n  {KEY}\n")


@pytest.mark.parametrize(
    "keys", ["", '[tool.composed]\nsource = "a/b/c/d"\n', '[tool.composed]\nmanage = ["x"]\n']
)
def test_init_goes_on_where_a_verb_could_start_something(keys: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write_files(folder, {"a/b/c/d/manage.py": MANAGE} if keys else {"manage.py": MANAGE})
    write_files(folder, {"pyproject.toml": keys} if keys else {})

    code, out, _err = init(folder, "--yes")

    assert (code, (folder / "tasks.py").is_file()) == (0, True)
    assert out.endswith("\nThen type: COMPOSED_MODE=local composed up\n")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"pyproject.toml": "[tool.composed]\nx = [\n"}, 78),
        ({"pyproject.toml": "[tool.composed]\nfrob = 1\n"}, 78),
        ({"docker-compose.yml": "services: [\n", "model.json": "{"}, 0),
        ({"model.json": '{"services": {"web": []}}'}, 0),
        ({"manage.py": "\0", "shop/settings.py": "\0"}, 0),
        ({".env": "no assignment\n"}, 0),
    ],
)
def test_bad_input_is_said_and_nothing_is_lost(
    shop: Project, files: dict[str, str], code: int
) -> None:
    write_files(shop.root, files)
    before = contents(shop.root)

    assert init(shop.root, "--yes", docker=True)[0] == code

    after = contents(shop.root)
    assert {name: after[name] for name in before if "exclude" not in name} == {
        name: text for name, text in before.items() if "exclude" not in name
    }
