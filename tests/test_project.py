"""What a project says of itself in its ``pyproject.toml``."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from invoke import Config, Context

from composed.docker.services import parse_ps
from composed.env.file import complete_env, generated
from composed.env.settings import load_settings
from composed.errors import SettingError
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import PS_ROW, ROOT, Inv, model, ps_answer

NAME_SOURCE = 'Name yours in pyproject.toml: [tool.composed] source = "FOLDER"'


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Return the project of a ``tasks.py`` beside a ``pyproject.toml`` with this text."""

    def read(text: str = "", tasks: str = "tasks.py") -> Project:
        (tmp_path / "pyproject.toml").write_text(text)
        module = ModuleType("tasks")
        module.__file__ = str(tmp_path / tasks)
        monkeypatch.setitem(sys.modules, "tasks", module)
        return Project.of(Context(Config()))

    return read


Of = Callable[..., Project]


@pytest.mark.parametrize("text", ["", "[tool.other]\nbackend = 'x'\n", "# tool.composed\n"])
def test_without_a_table_every_name_is_the_default(text: str, of: Of, tmp_path: Path) -> None:
    assert of(text) == Project(tmp_path)


def test_without_a_pyproject_every_name_is_the_default(tmp_path: Path) -> None:
    assert Project.at(tmp_path) == Project(tmp_path)


def test_tasks_may_be_a_package(of: Of, tmp_path: Path) -> None:
    assert of(tasks="tasks/__init__.py").root == tmp_path


def test_each_kind_of_value_is_taken(of: Of, tmp_path: Path) -> None:
    text = (
        "[tool.composed]\nbackend = 'web'\nready = ''\nmanage = ['./m']\nsecrets = []\n"
        "local_environment = { DB = 'sqlite' }\n"
    )

    assert of(text) == Project(
        tmp_path,
        backend="web",
        ready="",
        manage=("./m",),
        secrets=(),
        local_environment={"DB": "sqlite"},
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "bakend = 'web'",
            "pyproject.toml sets 'bakend' in [tool.composed], which is no name there.\n"
            "  Valid: backend, database, source, manage, ",
        ),
        ("root = '/'", "pyproject.toml sets 'root' in [tool.composed], which is no name there.\n"),
        (
            "backend = 5",
            'pyproject.toml sets backend in [tool.composed] to 5.\n  Valid: a text, as in "web".',
        ),
        (
            "manage = 'python manage.py'",
            "pyproject.toml sets manage in [tool.composed] to 'python manage.py'.\n"
            '  Valid: a list of texts, as in ["python", "manage.py"].',
        ),
        (
            "secrets = ['A', 1]",
            "pyproject.toml sets secrets in [tool.composed] to ['A', 1].\n"
            '  Valid: a list of texts, as in ["python", "manage.py"].',
        ),
        (
            "local_environment = { DEBUG = true }",
            "pyproject.toml sets local_environment in [tool.composed] to {'DEBUG': True}.\n"
            '  Valid: names with texts, as in { DATABASE_ENGINE = "sqlite" }.',
        ),
    ],
)
def test_what_cannot_be_followed_is_78(line: str, said: str, of: Of) -> None:
    with pytest.raises(SettingError) as caught:
        of(f"[tool.composed]\n{line}\n")

    assert str(caught.value).startswith(said)
    assert caught.value.code == 78


@pytest.mark.parametrize("text", ["[tool.composed]\nbackend =\n", "tool.composed = 5\n"])
def test_a_file_that_is_no_such_table_is_78(text: str, of: Of, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"pyproject\.toml"):
        of(text)


def test_a_project_without_settings_loads_no_parser(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from composed.project import Project;"
    end = "Project.at(Path(sys.argv[1])); sys.exit('tomllib' in sys.modules)"

    assert subprocess.call([sys.executable, "-c", code + end, tmp_path], cwd=ROOT) == 0


def test_a_source_that_is_not_there_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        assert Project(tmp_path, source="server").owner

    assert str(caught.value) == f"There is no folder 'server' in {tmp_path}.\n  {NAME_SOURCE}"


def django(root: Path, folder: str, module: str = "shop.settings") -> Path:
    """Make a project as Django makes it in a folder, and return the folder."""
    tree = root / folder
    package = tree / module.partition(".")[0]
    package.mkdir(parents=True)
    line = f'    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{module}")\n'
    (tree / "manage.py").write_text(f"def main():\n{line}")
    (package / "wsgi.py").touch()
    return tree


@pytest.mark.parametrize("folder", [".", "src", "a/b", "a/b/c"])
def test_the_source_is_the_folder_of_the_nearest_manage_py(folder: str, tmp_path: Path) -> None:
    tree = django(tmp_path, folder)
    for hidden in (".git/old", "node_modules/x", "a/.hidden", "a/b/c/d"):
        django(tmp_path, hidden)
    django(tmp_path, "env/lib")
    (tmp_path / "env/pyvenv.cfg").touch()

    assert Project(tmp_path).tree == tree


def test_no_manage_py_names_the_key(tmp_path: Path) -> None:
    django(tmp_path, "a/b/c/d")

    with pytest.raises(SettingError) as caught:
        assert Project(tmp_path).owner

    assert str(caught.value) == f"There is no manage.py in {tmp_path}.\n  {NAME_SOURCE}"


def test_two_manage_py_are_named_with_the_key(tmp_path: Path) -> None:
    django(tmp_path, "shop")
    django(tmp_path, "blog")

    with pytest.raises(SettingError) as caught:
        assert Project(tmp_path).tree

    assert str(caught.value) == (
        f"More than one manage.py is in {tmp_path}: blog/manage.py, shop/manage.py.\n"
        f"  {NAME_SOURCE}"
    )
    assert Project(tmp_path, source="shop").tree == tmp_path / "shop"


@pytest.mark.parametrize(
    ("module", "file", "text", "application"),
    [
        ("shop.settings", "shop/settings.py", "", "shop.wsgi:application"),
        ("config.settings.local", "config/settings/local.py", "", "config.wsgi:application"),
        ("shop.settings", "shop/settings/__init__.py", "", "shop.wsgi:application"),
        (
            "shop.settings",
            "shop/settings.py",
            'DEBUG = True\nWSGI_APPLICATION = "web.wsgi.app"\n',
            "web.wsgi:app",
        ),
    ],
)
def test_settings_and_server_are_found_by_manage_py(
    module: str, file: str, text: str, application: str, tmp_path: Path
) -> None:
    tree = django(tmp_path, "src", module)
    (tree / file).parent.mkdir(exist_ok=True)
    (tree / file).write_text(text)

    project = Project(tmp_path)

    assert project.settings_paths == (tree / file,)
    assert project.server == ("python", "-m", "gunicorn", "--reload", application)


def test_what_is_set_is_not_looked_for(tmp_path: Path) -> None:
    project = Project(tmp_path, source=".", settings_files=("a.py",), serve=("./serve",))

    assert project.settings_paths == (tmp_path / "a.py",)
    assert project.server == ("./serve",)


def test_no_application_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "manage.py").touch()

    with pytest.raises(SettingError) as caught:
        assert Project(tmp_path).server

    assert Project(tmp_path).settings_paths == ()
    assert str(caught.value) == (
        "No settings of manage.py name a WSGI application.\n"
        '  Name the server in pyproject.toml: [tool.composed] serve = ["python", …]'
    )


def test_only_what_the_example_leaves_empty_is_made(tmp_path: Path) -> None:
    project = Project(tmp_path, source=".", secrets=("DJANGO_SECRET_KEY", "API_TOKEN"))
    project.example.write_text("DJANGO_SECRET_KEY=\nSENTRY_DSN=\nAPI_TOKEN=x\nSECRET_KEY=\n")

    _, names = complete_env(project, tmp_path / ".env", lambda: generated(project, rootless=False))

    assert names == ["COMPOSE_PROJECT_NAME", "DJANGO_SECRET_KEY"]


def test_without_an_example_there_is_a_name(tmp_path: Path) -> None:
    project = Project(tmp_path, source=".")
    made = generated(project, rootless=False)
    text, _ = complete_env(project, tmp_path / ".env", lambda: made)
    (tmp_path / ".env").write_text(text)

    settings = load_settings(project, {"BACKEND_PORT": "9"})
    settings.check()

    assert text == f"COMPOSE_PROJECT_NAME={made['COMPOSE_PROJECT_NAME']}\n"
    assert settings["COMPOSED_MODE"] == "auto"
    assert settings.defaults["SQLITE_PATH"] == ""
    assert settings["BACKEND_PORT"] == "9"


@pytest.fixture
def shop(project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same folder under other names, without ids of ours in its ``.env``."""
    other = dataclasses.replace(
        project,
        backend="web",
        database="postgres",
        source=".",
        manage=("./m",),
        database_user="DB_USER",
        database_name="DB_NAME",
    )
    (project.root / ".env.example").unlink()
    (project.root / ".env").write_text("COMPOSE_PROJECT_NAME=shop\nDB_USER=u\nDB_NAME=d\n")
    monkeypatch.setattr(Project, "of", lambda _c: other)
    recorder.on("config", "--format").say(model(web=0, postgres=0))
    recorder.on("config", "--services").say("web\npostgres\n")
    return other


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("shell", "exec --no-TTY --env COMPOSED_CALL=CALL web bash"),
        (
            "dbshell",
            "exec --no-TTY --env COMPOSED_CALL=CALL postgres "
            "psql --username u --dbname d --set ON_ERROR_STOP=1",
        ),
        ("migrate", "run --rm --no-deps --no-TTY --label composed.call=CALL web ./m migrate"),
    ],
)
def test_the_verbs_use_the_projects_names(
    words: str, command: str, inv: Inv, recorder: Recorder, shop: Project
) -> None:
    recorder.on("ps", "--all").say(
        ps_answer(
            {
                "Service": "postgres",
                "State": "running",
                "Health": "",
                "RunningFor": "",
                "Labels": "",
            }
        )
    )

    assert inv(*words.split()) == 0

    assert recorder.lines("run")[-1] == f"docker compose --env-file .env {command}"


@pytest.mark.parametrize(("rootless", "user"), [("name=rootless", "0:0"), ("", "1001:1002")])
def test_without_an_app_uid_files_are_written_as_the_owner(
    rootless: str,
    user: str,
    inv: Inv,
    recorder: Recorder,
    shop: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    somebody = os.stat_result((0o40755, 1, 1, 1, 1001, 1002, 0, 0, 0, 0))
    monkeypatch.setattr(Project, "owner", somebody)
    recorder.on("docker", "info").say(rootless)

    inv("makemigrations")

    argv = recorder.ran[-1]
    assert argv[argv.index("--user") + 1] == user


@pytest.mark.parametrize(
    ("words", "key", "name", "known"),
    [("up", "backend", "web", "x"), ("migrate", "database", "postgres", "web")],
)
def test_a_service_that_is_named_wrong_names_its_key(
    words: str,
    key: str,
    name: str,
    known: str,
    inv: Inv,
    recorder: Recorder,
    shop: Project,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorder.on("ps", "--all").say(ps_answer())
    recorder.on("config", "--format").say(model(**{known: 0}))
    recorder.on("config", "--services").say(f"{known}\n")
    recorder.on("up").say(code=1)

    assert inv(words) == 66

    assert capsys.readouterr().err == (
        f"There is no service {name!r}.\n"
        f"  Services: {known}.\n"
        f'  Name yours in pyproject.toml: [tool.composed] {key} = "SERVICE"\n'
    )


def test_what_is_pending_is_asked_of_django_where_the_backend_does_not_say(
    inv: Inv,
    recorder: Recorder,
    shop: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder.http = lambda _: (404, "")
    plan = "[X]  auth.0001_initial\n[ ]  auth.0002_more\n[ ]  shop.0001_initial\n"
    recorder.on("showmigrations").say(plan)
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Service": "web"}))

    assert inv("up") == 0

    out = capsys.readouterr().out
    assert "\nPending migrations: auth.0002_more, shop.0001_initial\n  Type: inv migrate\n" in out
    asked = "docker compose --env-file .env exec --no-TTY web ./m showmigrations --plan"
    assert asked.split() in recorder.asked


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        (["0.0.0.0", "::"], "http://127.0.0.1:8123"),
        (["::", "0.0.0.0"], "http://127.0.0.1:8123"),
        (["::"], "http://[::1]:8123"),
        (["192.168.1.5"], "http://192.168.1.5:8123"),
    ],
)
def test_a_port_on_every_address_has_a_url_that_opens(hosts: list[str], url: str) -> None:
    at = [{"URL": host, "TargetPort": 8000, "PublishedPort": 8123} for host in hosts]

    [service] = parse_ps(json.dumps({**PS_ROW, "Publishers": at}), "backend")

    assert service.url == url


def test_services_without_a_key_are_found_in_the_compose_file(
    inv: Inv, recorder: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = dataclasses.replace(project, backend="", database="")
    monkeypatch.setattr(Project, "of", lambda _c: unnamed)
    services = {
        "web": {"image": "shop", "command": ["gunicorn", "shop.wsgi"], "depends_on": ["postgres"]},
        "postgres": {"image": "postgres:16"},
    }
    recorder.on("config", "--format").say(json.dumps({"services": services}))

    inv("shell")
    inv("dbshell")

    assert [argv[argv.index("COMPOSED_CALL=CALL") + 1] for argv in recorder.ran] == [
        "web",
        "postgres",
    ]
