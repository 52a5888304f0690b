"""The names of a project: from ``pyproject.toml``, or from the project's own files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from invoke import Config, Context

from composed.docker.compose import compose_of
from composed.docker.runner import parse_ps
from composed.env.file import complete_env, generated
from composed.env.settings import NAME, load_settings
from composed.errors import SettingError
from composed.gateway import Answer, Gateway
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import DB_ROW, DC, EXEC, ONE_OFF, PS_ROW, ROOT, Inv, model, ps_answer

Of = Callable[..., Project]


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Of:
    """Return the project of a ``tasks.py`` beside a ``pyproject.toml`` with this text."""

    def read(text: str = "", tasks: str = "tasks.py") -> Project:
        (tmp_path / "pyproject.toml").write_text(text)
        module = ModuleType("tasks")
        module.__file__ = str(tmp_path / tasks)
        monkeypatch.setitem(sys.modules, "tasks", module)
        return Project.of(Context(Config()))

    return read


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

    project = Project(tmp_path, backend="web", ready="", manage=("./m",), secrets=())
    assert of(text) == replace(project, local_environment={"DB": "sqlite"})


LIST = 'a list of texts, as in ["python", "manage.py"].'
NAMES = 'names with texts, as in { DATABASE_ENGINE = "sqlite" }.'


@pytest.mark.parametrize(
    ("key", "value", "shown", "valid"),
    [
        ("backend", "5", "5", 'a text, as in "web".'),
        ("manage", "'python manage.py'", "'python manage.py'", LIST),
        ("secrets", "['A', 1]", "['A', 1]", LIST),
        ("local_environment", "{ DEBUG = true }", "{'DEBUG': True}", NAMES),
    ],
)
def test_a_wrong_kind_of_value_is_78(key: str, value: str, shown: str, valid: str, of: Of) -> None:
    with pytest.raises(SettingError) as caught:
        of(f"[tool.composed]\n{key} = {value}\n")

    problem = f"pyproject.toml sets {key} in [tool.composed] to {shown}."
    assert str(caught.value) == f"{problem}\n  Valid: {valid}"
    assert caught.value.code == 78


@pytest.mark.parametrize("key", ["bakend", "root"])
def test_an_unknown_key_is_78(key: str, of: Of) -> None:
    with pytest.raises(SettingError) as caught:
        of(f"[tool.composed]\n{key} = 'web'\n")

    assert str(caught.value).startswith(
        f"pyproject.toml sets {key!r} in [tool.composed], which is not a key.\n"
        "  Valid: backend, database, compose_files, source, manage, "
    )
    assert caught.value.code == 78


@pytest.mark.parametrize(
    "text",
    [
        "[tool.composed]\nbackend =\n",
        "tool.composed = 5\n",
        f"[tool.composed]\nserve = {'[' * 10_000}{']' * 10_000}\n",
        '[tool.composed]\nsettings_files = ["a\\u0000"]\n',
        '[tool.composed]\nlocal_environment = { "a\\u0000" = "b" }\n',
    ],
)
def test_a_pyproject_without_a_valid_table_is_78(text: str, of: Of) -> None:
    with pytest.raises(SettingError, match=r"pyproject\.toml"):
        of(text)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda file: file.symlink_to("/dev/zero")])
def test_a_pyproject_that_is_no_file_is_78(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "pyproject.toml")

    with pytest.raises(SettingError, match=r"pyproject\.toml cannot be read: ") as caught:
        Project.at(tmp_path)

    assert caught.value.code == 78


@pytest.mark.parametrize("data", [b"\xff", b"\0", b"x" * (2 << 20)])
def test_a_pyproject_that_is_no_text_is_78(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"[tool.composed]\n" + data)

    with pytest.raises(SettingError, match=r"pyproject\.toml cannot be read: it "):
        Project.at(tmp_path)


def test_a_pyproject_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf[tool.composed]\r\nbackend = 'web'\r\n"
    (tmp_path / "pyproject.toml").write_bytes(text)

    assert Project.at(tmp_path).backend == "web"


def test_a_project_without_settings_loads_no_parser(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from composed.project import Project;"
    end = "Project.at(Path(sys.argv[1])); sys.exit('tomllib' in sys.modules)"

    assert subprocess.call([sys.executable, "-c", code + end, tmp_path], cwd=ROOT) == 0


def django(root: Path, folder: str, module: str = "shop.settings") -> Path:
    """Make the files of ``django-admin startproject`` in a folder, and return the folder."""
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


@pytest.mark.parametrize(
    ("source", "folders", "problem"),
    [
        ("server", [], "There is no folder 'server' in {}."),
        ("", ["a/b/c/d"], "There is no manage.py in {}."),
        ("", ["a", "b"], "More than one manage.py is in {}: a/manage.py, b/manage.py."),
    ],
)
def test_a_source_that_is_missing_or_unclear_names_the_key(
    source: str, folders: list[str], problem: str, tmp_path: Path
) -> None:
    for folder in folders:
        django(tmp_path, folder)

    with pytest.raises(SettingError) as caught:
        assert Project(tmp_path, source=source).owner

    cure = 'Name yours in pyproject.toml: [tool.composed] source = "FOLDER"'
    assert str(caught.value) == f"{problem.format(tmp_path)}\n  {cure}"


def test_the_key_chooses_between_two_manage_py(tmp_path: Path) -> None:
    django(tmp_path, "blog")
    shop = django(tmp_path, "shop")

    assert Project(tmp_path, source="shop").tree == shop


@pytest.mark.parametrize(
    ("module", "file", "wsgi", "application"),
    [
        ("shop.settings", "shop/settings.py", "", "shop.wsgi:application"),
        ("config.settings.local", "config/settings/local.py", "", "config.wsgi:application"),
        ("shop.settings", "shop/settings/__init__.py", "", "shop.wsgi:application"),
        ("shop.settings", "shop/settings.py", "web.wsgi.app", "web.wsgi:app"),
    ],
)
def test_manage_py_leads_to_settings_and_server(
    module: str, file: str, wsgi: str, application: str, tmp_path: Path
) -> None:
    tree = django(tmp_path, "src", module)
    (tree / file).parent.mkdir(exist_ok=True)
    (tree / file).write_text(f'DEBUG = True\nWSGI_APPLICATION = "{wsgi}"\n' if wsgi else "")

    project = Project(tmp_path)

    assert project.settings_paths == (tree / file,)
    assert project.server == ("python", "-m", "gunicorn", "--reload", application)


def test_keys_win_over_files_of_the_project(tmp_path: Path) -> None:
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


def test_only_settings_that_the_example_leaves_empty_are_generated(tmp_path: Path) -> None:
    project = Project(tmp_path, source=".", secrets=("DJANGO_SECRET_KEY", "API_TOKEN"))
    project.example.write_text("DJANGO_SECRET_KEY=\nSENTRY_DSN=\nAPI_TOKEN=x\nSECRET_KEY=\n")

    values = generated(project, rootless=False)

    _, names = complete_env(project, tmp_path / ".env", None, lambda: values)

    assert names == ["DJANGO_SECRET_KEY"]


@pytest.mark.parametrize(
    ("folder", "compose", "env", "name"),
    [
        ("My Shop.2", "", "", "myshop2"),
        ("_shop", "", "", "shop"),
        ("shop", "name: other\n", "", "other"),
        ("shop", 'services: {}\nname: "other" # x\n', "", "other"),
        ("shop", "name: other\n", "COMPOSE_PROJECT_NAME=mine\n", "mine"),
        ("shop", "name: ${APP:-other}\n", "", "other"),
        ("shop", "name: ${APP:-other}\n", "APP=mine\n", "mine"),
        ("shop", "name: $BACKEND_PORT\n", "BACKEND_PORT=8\n", "9"),
        ("shop", "", "COMPOSE_PROJECT_NAME=${APP:-other}-x\n", "other-x"),
        ("日本", "", "", "stack"),
    ],
)
def test_compose_names_a_project_that_does_not_ask_for_a_name(
    folder: str, compose: str, env: str, name: str, tmp_path: Path
) -> None:
    root = tmp_path / folder
    root.mkdir()
    (root / "compose.yaml").write_text(compose)
    (root / ".env.example").write_text("BACKEND_PORT=1\n")  # an example, no default
    if env:
        (root / ".env").write_text(env)

    settings = load_settings(Project(root, source="."), {"BACKEND_PORT": "9"})
    settings.check()

    assert settings["COMPOSE_PROJECT_NAME"] == name
    assert settings["COMPOSED_MODE"] == "auto"
    assert settings.defaults["SQLITE_PATH"] == ""
    assert settings["BACKEND_PORT"] == "9"


@pytest.mark.parametrize(
    ("example", "owns"),
    [
        (f"A=1\n{NAME}=\n", True),
        (f'{NAME}="" # made\r\n', True),
        (f"{NAME}=shop\n", False),
        (f"# {NAME}=\n", False),
        (f"{NAME}=\\\n", False),
        ("", False),
    ],
)
def test_only_an_empty_name_in_the_example_asks_for_a_name(
    example: str, owns: bool, tmp_path: Path
) -> None:
    (tmp_path / ".env.example").write_text(example, newline="")

    assert Project(tmp_path).owns_env is owns


@pytest.mark.usefixtures("shop")
def test_env_makes_no_file_from_nothing(inv: Inv, project: Project) -> None:
    (project.root / ".env").unlink()

    assert inv("env") == 66

    assert f"There is no .env.example in {project.root} to make .env from." in inv.err()
    assert not (project.root / ".env").exists()


def test_env_copies_the_example_of_another_project(
    shop: Project, inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(shop)  # what was found before is not kept
    monkeypatch.setattr(Project, "of", lambda _c: other)
    text = f"{NAME}=shop\nSECRET=x\n"
    (shop.root / ".env.example").write_text(text)
    (shop.root / ".env").unlink()

    assert inv("env") == 0

    assert inv.err() == "Made .env: a copy of .env.example\n"
    assert (shop.root / ".env").read_text() == text


def test_compose_takes_no_name_with_other_characters(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_PROJECT_NAME=My.Shop\n")

    with pytest.raises(SettingError, match=r"COMPOSE_PROJECT_NAME is 'My\.Shop'"):
        load_settings(Project(tmp_path), {}).check()


@pytest.mark.parametrize(("example", "options"), [("", "--project-name shop "), (f"{NAME}=\n", "")])
def test_compose_gets_the_name_that_it_would_make_up(
    example: str, options: str, tmp_path: Path
) -> None:
    root = tmp_path / "shop"
    root.mkdir()
    (root / ".env.example").write_text(example)
    (root / ".env").write_text(f"{NAME}=mine\n" if example else "")
    project = Project(root)

    dc = compose_of(project, load_settings(project, {}), Gateway(root))

    assert " ".join(dc.argv("ps")).startswith(f"docker compose --env-file .env {options}")


@pytest.fixture
def shop(project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with different names, without ids in ``.env``."""
    other = replace(project, backend="web", database="postgres", source=".", manage=("./m",))
    other = replace(other, database_user="DB_USER", database_name="DB_NAME")
    (project.root / ".env.example").unlink()
    (project.root / ".env").write_text("COMPOSE_PROJECT_NAME=shop\nDB_USER=u\nDB_NAME=d\n")
    monkeypatch.setattr(Project, "of", lambda _c: other)
    recorder.on("config", "--format").say(model(web=0, postgres=0))
    recorder.on("config", "--services").say("web\npostgres\n")
    return other


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("verb", "command"),
    [
        ("shell", "{EXEC} web bash"),
        ("dbshell", "{EXEC} postgres psql --username u --dbname d --set ON_ERROR_STOP=1"),
        ("migrate", "{ONE_OFF} --entrypoint ./m web migrate"),
    ],
)
def test_verbs_use_the_project_names(verb: str, command: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer({**DB_ROW, "Service": "postgres", "Health": ""}))

    assert inv(verb) == 0

    command = command.format(EXEC=EXEC, ONE_OFF=ONE_OFF).replace(DC, f"{DC} --project-name shop")
    assert recorder.lines("run")[-1] == command


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("rootless", "user"), [("name=rootless", "0:0"), ("", "1001:1002")])
def test_without_an_app_uid_files_are_written_as_the_owner(
    rootless: str, user: str, inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Project, "owner", SOMEBODY)
    recorder.on("docker", "info").say(rootless)

    inv("makemigrations")

    argv = recorder.ran[-1]
    assert argv[argv.index("--user") + 1] == user


SOMEBODY = os.stat_result((0o40755, 1, 1, 1, 1001, 1002, 0, 0, 0, 0))


def container_user(recorder: Recorder, tmp_path: Path, compose: str, image: str | None) -> None:
    """Prepare a backend of this user; with an ``image`` of None, the build alone is known."""
    service: dict[str, Any] = {"build": {"context": str(tmp_path)}, "user": compose}
    recorder.on("config", "--format").say(json.dumps({"name": "n", "services": {"web": service}}))
    inspected = recorder.on("docker", "image", "inspect", "--format", "{{.Config.User}}", "n-web")
    inspected.say(f"{image or ''}\n", code=int(image is None))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("compose", "image", "is_owner"),
    [
        ("", "", True),
        ("", "root", True),
        ("", "0:0", True),
        ("0", "app", True),
        ("", "app", False),
        ("", "1000:1000", False),
        ("1000:1000", "", False),
        ("", None, False),
    ],
)
def test_only_in_place_of_root_a_command_runs_as_the_owner(
    compose: str,
    image: str | None,
    is_owner: bool,
    inv: Inv,
    recorder: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user of the image's own may have the packages in a home."""
    monkeypatch.setattr(Project, "owner", SOMEBODY)
    (tmp_path / "Dockerfile").write_text("FROM python\nUSER root\nRUN true\nUSER app\n")
    container_user(recorder, tmp_path, compose, image)

    inv("manage", "--", "check")

    assert ("--user" in recorder.ran[-1]) == is_owner


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("written", "cure"),
    [
        (
            {},
            'Let that user write there, or give web the key user: "1001:1002" in the Compose file.',
        ),
        ({"user": "${ME:-1}:1"}, "Write ME=1001 into .env, then type: inv build"),
        (
            {"build": {"context": ".", "args": ["A=${A}", "UID=${UID:-1000}"]}},
            "Write UID=1001 into .env, then type: inv build",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["makemigrations", "manage -- check"])
def test_a_user_that_may_not_write_migrations_is_named(
    written: dict[str, Any],
    cure: str,
    verb: str,
    inv: Inv,
    recorder: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Project, "owner", SOMEBODY)
    container_user(recorder, tmp_path, "", "app")
    recorder.on("config", "--no-interpolate").say(json.dumps({"services": {"web": written}}))
    recorder.on("run").say(code=1)
    recorder.on("--entrypoint", "sh").say("1000\n")

    assert inv(*verb.split()) == 1

    said = f"web runs as user 1000, who may not write to {tmp_path}.\n  {cure}\n"
    assert inv.err() == (said if verb == "makemigrations" else "")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("verb", "key", "name", "known"),
    [("up", "backend", "web", "x"), ("migrate", "database", "postgres", "web")],
)
def test_the_error_for_an_unknown_service_names_the_key(
    verb: str, key: str, name: str, known: str, inv: Inv, recorder: Recorder
) -> None:
    recorder.on("ps", "--all").say(ps_answer())
    recorder.on("config", "--format").say(model(**{known: 0}))
    recorder.on("config", "--services").say(f"{known}\n")
    recorder.on("up").say(code=1)

    assert inv(verb) == 66

    assert inv.err() == (
        f"There is no service {name!r}.\n"
        f"  Services: {known}.\n"
        f'  Name yours in pyproject.toml: [tool.composed] {key} = "SERVICE"\n'
    )


IN_PROFILES = {
    "app": {"command": "gunicorn x", "build": ".", "profiles": ["app"], "depends_on": ["cache"]},
    "cache": {"image": "redis", "profiles": ["cache", "all"]},
    "js": {"image": "node", "profiles": ["js"]},
}
NONE_ACTIVE = "Each service belongs to a profile that is not active: app, cache, js."


@pytest.mark.parametrize(
    ("key", "active", "example", "message"),
    [
        ("", [], "", f"{NONE_ACTIVE}\n  Type: COMPOSE_PROFILES=app,cache inv up\n"),
        (
            *("app", ["js"], ""),
            "Service 'app' belongs to a profile that is not active.\n"
            "  Type: COMPOSE_PROFILES=js,app,cache inv up\n",
        ),
        ("app", [], "", f"{NONE_ACTIVE}\n  Type: COMPOSE_PROFILES=app,cache inv up\n"),
        (
            *("", [], "export COMPOSE_PROFILES=app,cache\n"),
            f"{NONE_ACTIVE}\n  Type: cp .env.example .env\n  Then: inv up\n",
        ),
    ],
)
def test_a_service_of_a_profile_that_is_not_active_is_explained(
    key: str,
    active: list[str],
    example: str,
    message: str,
    shop: Project,
    inv: Inv,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = replace(shop, backend=key, database="")
    monkeypatch.setattr(Project, "of", lambda _c: project)
    (shop.root / ".env").unlink()
    if example:
        (shop.root / ".env.example").write_text(example)

    def answer(call: Call) -> Answer:
        names = IN_PROFILES if "COMPOSE_PROFILES" in call.env else active
        if "--services" in call.argv:
            return Answer(0, "\n".join(names), "")
        return Answer(0, json.dumps({"services": {n: IN_PROFILES[n] for n in names}}), "")

    recorder.on("config").do(answer)
    recorder.on("up").say(code=1)

    assert inv("up") == 66

    assert inv.err().endswith(message)


@pytest.mark.usefixtures("shop")
def test_django_lists_migrations_where_the_backend_does_not(inv: Inv, recorder: Recorder) -> None:
    recorder.http = lambda _: (404, "")
    plan = "[X]  auth.0001_initial\n[ ]  auth.0002_more\n[ ]  shop.0001_initial\n"
    recorder.on("showmigrations").say(plan)
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Service": "web"}))

    assert inv("up") == 0

    out = inv.out()
    assert "\nPending migrations: auth.0002_more, shop.0001_initial\n  Type: inv migrate\n" in out
    assert (
        f"{DC} --project-name shop exec --no-TTY web ./m showmigrations --plan"
        in recorder.lines("ask")
    )


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
    ports = [{"URL": host, "TargetPort": 8000, "PublishedPort": 8123} for host in hosts]

    [service] = parse_ps(json.dumps({**PS_ROW, "Publishers": ports}), "backend")

    assert service.url == url


@pytest.mark.parametrize(
    ("ports", "number"),
    [
        ([5678, 9000], 9000),
        ([80, 8000], 80),
        ([3000, 8000], 8000),
        ([5678], 5678),
        ([53], None),
    ],
)
def test_the_url_has_the_port_of_the_server(ports: list[int], number: int | None) -> None:
    rows = [
        {
            "URL": "127.0.0.1",
            "TargetPort": port,
            "PublishedPort": port,
            "Protocol": "udp" if port == 53 else "tcp",
        }
        for port in ports
    ]

    [service] = parse_ps(json.dumps({**PS_ROW, "Publishers": rows}), "backend")

    assert service.url == (f"http://127.0.0.1:{number}" if number else "")


def test_services_without_a_key_come_from_the_compose_file(
    inv: Inv, recorder: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Project, "of", lambda _c: replace(project, backend="", database=""))
    services = {
        "web": {"image": "shop", "command": ["gunicorn", "shop.wsgi"], "depends_on": ["postgres"]},
        "postgres": {"image": "postgres:16"},
    }
    recorder.on("config", "--format").say(json.dumps({"services": services}))

    inv("shell")
    inv("dbshell")

    shell, dbshell = recorder.lines("run")
    assert shell.startswith(f"{EXEC} web ")
    assert dbshell.startswith(f"{EXEC} postgres ")
