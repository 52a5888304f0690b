"""The commands that every verb sends, and the messages of success."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from composed.calls import Calls
from composed.docker.inside import ContainerInside
from composed.docker.start import STARTS
from composed.env.settings import load_settings
from composed.errors import Interrupted
from composed.gateway import Answer, Gateway
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import (
    DB_ROW,
    DC,
    EXEC,
    MANAGE,
    PS_ROW,
    Inv,
    MonkeyPatch,
    container,
    model,
    ps_answer,
)

PSQL = "psql --username cp_user --dbname task_db --set ON_ERROR_STOP=1"
UP = f"{DC} up --detach"


@pytest.fixture(autouse=True)
def _source_of_an_ordinary_user(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(ContainerInside, "_owner", lambda _: [])


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("up", UP),
        ("up --build", f"{UP} --build"),
        ("up --no-build --timeout 9", f"{UP} --no-build"),
        ("up --service db --service backend", f"{UP} db backend"),
        ("down", f"{DC} down --remove-orphans"),
        ("down --volumes --no-snapshot --yes", f"{DC} down --remove-orphans --volumes"),
        ("restart --service backend", f"{UP} --force-recreate backend"),
        ("logs", f"{DC} logs"),
        ("logs --service db --follow --tail 5", f"{DC} logs --follow --tail 5 db"),
        ("logs --since 10m", f"{DC} logs --since 10m"),
        ("build", f"{DC} build"),
        ("build --pull --no-cache", f"{DC} build --pull --no-cache"),
        ("migrate", f"{MANAGE} migrate"),
        ("migrate --app task_api --name zero --plan", f"{MANAGE} migrate task_api zero --plan"),
        ("migrate --check", f"{MANAGE} migrate --check"),
        ("migrate -- --fake x", f"{MANAGE} migrate --fake x"),
        ("makemigrations", f"{MANAGE} makemigrations --noinput"),
        (
            "makemigrations --app task_api --check",
            f"{MANAGE} makemigrations task_api --check --dry-run --noinput",
        ),
        ("manage -- check --fail-level ERROR", f"{MANAGE} check --fail-level ERROR"),
        ("shell", f"{EXEC} backend bash"),
        ("shell --service db", f"{EXEC} db bash"),
        ("shell --django", f"{EXEC} backend python manage.py shell"),
        ("shell -- ls -l", f"{EXEC} backend ls -l"),
        ("dbshell", f"{EXEC} db {PSQL}"),
        ("dbshell -- --csv", f"{EXEC} db {PSQL} --csv"),
        ("dc -- ps --all", f"{DC} ps --all"),
    ],
)
def test_a_verb_sends_this_command(words: str, command: str, inv: Inv, recorder: Recorder) -> None:
    assert inv(*words.split()) == 0

    assert recorder.lines("run") == [command]


def test_a_quoted_word_stays_whole(inv: Inv, recorder: Recorder) -> None:
    inv("manage", "--", "shell", "-c", "print('a  b')")
    inv("dbshell", "--command", "select 1; select 2")

    words = [argv[-2:] for argv in recorder.ran]
    assert words == [["-c", "print('a  b')"], ["--command", "select 1; select 2"]]


def test_up_with_migrate_migrates_after_the_start(inv: Inv, recorder: Recorder) -> None:
    inv("up", "--migrate")

    assert recorder.lines("run") == [UP, f"{MANAGE} migrate"]


@pytest.mark.parametrize(
    "words", ["migrate", "makemigrations", "manage -- check", "up --migrate", "build", "dc -- x"]
)
def test_the_exit_code_of_the_command_is_kept(words: str, inv: Inv, recorder: Recorder) -> None:
    for word in ("x", "build", "manage.py"):
        recorder.on(word).say(code=23)

    assert inv(*words.split()) == 23


def test_a_death_by_signal_is_counted_from_128(inv: Inv, recorder: Recorder) -> None:
    recorder.on("build").say(code=-9)

    assert inv("build") == 137


def test_migrate_starts_a_stopped_database(inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer())

    inv("migrate")

    assert recorder.lines("run")[0] == f"{UP} db"
    assert recorder.ran[-1][4] == "run"


def test_only_verbs_that_write_source_files_run_as_the_owner(
    inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(ContainerInside, "_owner", lambda _: ["--user", "0:0"])
    for verb in (["migrate"], ["makemigrations"], ["manage", "--", "check"]):
        inv(*verb)

    assert ["--user" in argv for argv in recorder.ran] == [False, True, True]


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("\n", 77), ("n\n", 77)])
def test_down_with_volumes_asks_on_a_terminal(
    answer: str, code: int, inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    assert inv("down", "--volumes", "--no-snapshot") == code

    assert len(recorder.ran) == (0 if code else 1)


def test_a_terminal_is_allocated_only_when_stdin_and_stdout_are_terminals(
    inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    for stdin, stdout in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(sys.stdin, "isatty", lambda stdin=stdin: stdin, raising=False)
        monkeypatch.setattr(sys.stdout, "isatty", lambda stdout=stdout: stdout, raising=False)
        inv("shell")

    assert ["--no-TTY" in argv for argv in recorder.ran] == [False, True, True]


def test_createsuperuser_passes_the_password_in_the_environment(
    inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    given = {"USERNAME": "ada", "EMAIL": "ada@example.org", "PASSWORD": "hush hush"}
    given = {f"DJANGO_SUPERUSER_{name}": value for name, value in given.items()}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert inv("createsuperuser") == 0

    assert [call.env for call in recorder.of("run")] == [given]
    assert recorder.ran[0][-1] == "--noinput"
    assert not any("hush" in word for word in recorder.ran[0])


@pytest.mark.parametrize(
    ("typed", "password", "added"),
    [
        ("--noinput --username x --email y", "", ""),
        ("--username x --no-input", "", ""),
        ("--username x --email=y", "hush", " --noinput"),
        ("--database other", "", None),
        ("--username x --email y", "", None),
    ],
)
def test_createsuperuser_passes_words_on_to_django(
    typed: str,
    password: str,
    added: str | None,
    inv: Inv,
    recorder: Recorder,
    monkeypatch: MonkeyPatch,
) -> None:
    """Of the variables, only those without an option are needed; after --noinput, none."""
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)

    assert inv("createsuperuser", "--", *typed.split()) == (78 if added is None else 0)

    ran = [] if added is None else [f"createsuperuser {typed}{added}"]
    assert [line.partition("manage.py ")[2] for line in recorder.lines("run")] == ran


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ("[--noinput] [--no-color]  --noinput, --no-input", "--noinput"),
        ("[--no-color] [--no-input]", "--no-input"),
        ("[--email EMAIL] [--no-color] [--no-inputs]", "createsuperuser"),
    ],
)
def test_createsuperuser_of_a_project_gets_no_option_that_it_does_not_know(
    options: str,
    last: str,
    inv: Inv,
    project: Project,
    recorder: Recorder,
    monkeypatch: MonkeyPatch,
) -> None:
    unnamed = dataclasses.replace(project, backend="", database="")
    monkeypatch.setattr(Project, "of", lambda _c: unnamed)
    for name in ("USERNAME", "EMAIL", "PASSWORD"):
        monkeypatch.setenv(f"DJANGO_SUPERUSER_{name}", "x")
    recorder.on("createsuperuser", "--help").say(f"usage: manage.py createsuperuser {options}\n")

    assert inv("createsuperuser") == 0

    assert recorder.ran[-1][-1] == last


@pytest.mark.parametrize(
    "words", ["manage -- check", "createsuperuser", "shell", "shell --django", "up"]
)
def test_no_export_of_the_entrypoint_is_a_variable_of_docker(
    words: str, inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    given = {f"DJANGO_SUPERUSER_{name}": "x" for name in ("USERNAME", "EMAIL", "PASSWORD")}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    exported = {"PATH": "/venv/bin", "DOCKER_HOST": "tcp://x", "DJANGO_SUPERUSER_EMAIL": "y"}
    lines = "".join(f"{name}={value}\0" for name, value in exported.items())
    recorder.on("ps", "--quiet", "backend").say("c1\n")
    recorder.on("docker", "inspect", "--format", '{"entrypoint"…').say(
        '{"entrypoint": ["/e"], "env": []}'
    )
    recorder.on("docker", "exec", "c1").say(f"\x011\0{lines}")
    recorder.http = lambda url: (404, "")  # Django is asked for pending migrations

    assert inv(*words.split()) == 0

    (call,) = [call for call in recorder.calls if "--env" in call.argv]
    assert {*call.env} <= {"COMPOSED_EXPORTS", *given}
    assert (
        "command export PATH=/venv/bin\ncommand export DOCKER_HOST=tcp://x\n"
        in (call.env["COMPOSED_EXPORTS"])
    )
    assert ("DJANGO_SUPERUSER_EMAIL" in call.env["COMPOSED_EXPORTS"]) != (words[:1] == "c")
    assert not any("venv" in word for word in call.argv)
    assert "sh" in call.argv


@pytest.mark.parametrize("on_terminal", [False, True])
@pytest.mark.parametrize(
    ("words", "typed"),
    [("up", "none"), ("down", "none"), ("logs", "none"), ("shell", "all"), ("dbshell", "all"),
     ("dc -- ps", "all"), ("makemigrations", "all"), ("manage -- check", "all"), ("migrate", "")],
)  # fmt: skip
def test_a_command_gets_what_is_typed_for_it(
    words: str,
    typed: str,
    on_terminal: bool,
    inv: Inv,
    recorder: Recorder,
    monkeypatch: MonkeyPatch,
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: on_terminal)

    inv(*words.split())

    call = recorder.of("run")[-1]
    assert call.typed == (typed or ("answers" if on_terminal else "all"))
    if words == "migrate":
        assert ("--force-color" in call.argv) == on_terminal
        assert "--no-TTY" in call.argv


@pytest.fixture
def profile(recorder: Recorder) -> None:
    """Let a service of a profile run that is not active, and a service that has left the file."""
    known = {True: "backend db tool other\n", False: "backend db\n"}
    every = {"COMPOSE_PROFILES": "*"}
    recorder.on("config", "--services").do(lambda call: Answer(0, known[call.env == every], ""))
    others = ({**DB_ROW, "Service": name, "State": "exited"} for name in ("tool", "gone"))
    recorder.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW, *others))


@pytest.mark.parametrize("awaited", [False, True])
def test_restart_leaves_the_server_a_database(awaited: bool, inv: Inv, recorder: Recorder) -> None:
    wait = {"db": {"condition": "service_healthy"}}
    services = {"backend": {"depends_on": wait} if awaited else {}, "db": {}}
    recorder.on("config", "--format").say(json.dumps({"services": services}))
    recorder.on("docker", "inspect").say(container("db", Health="healthy"))

    assert inv("restart") == 0

    apart = [f"{UP} --force-recreate db", f"{UP} --force-recreate --no-deps backend"]
    assert recorder.lines("run") == ([f"{UP} --force-recreate"] if awaited else apart)


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("down", [f"{DC} rm --stop --force tool", f"{DC} down --remove-orphans"]),
        (
            "restart",
            [f"{UP} --force-recreate db", f"{UP} --force-recreate --no-deps backend tool"],
        ),
        ("restart --service db", [f"{UP} --force-recreate db"]),
        ("up", [UP]),
        ("up --service tool", [f"{UP} tool"]),
        ("logs", [f"{DC} logs backend db tool"]),
        ("logs --service tool", [f"{DC} logs tool"]),
    ],
)
def test_a_service_of_another_profile_belongs_to_the_stack(
    words: str, commands: list[str], inv: Inv, recorder: Recorder
) -> None:
    recorder.on("docker", "inspect").say(container("tool", Health="healthy"))

    assert inv(*words.split()) == 0

    assert recorder.lines("run") == commands


@pytest.mark.usefixtures("profile")
def test_ps_shows_every_service_of_the_stack(inv: Inv) -> None:
    inv("ps")

    assert [line.split()[0] for line in inv.out().splitlines()[2:]] == [
        "backend",
        "db",
        "gone",
        "tool",
    ]


@pytest.fixture
def stopped(recorder: Recorder) -> Recorder:
    """A stack that does not run, on a machine where another process may have the ports."""
    recorder.on("ps", "--all").say(ps_answer())
    recorder.on(".env", "config", "--format").say(model(backend=8000, db=5433))
    recorder.pids = lambda port: {7: "other"}
    return recorder


def test_the_next_free_port_is_used(inv: Inv, project: Project, stopped: Recorder) -> None:
    stopped.taken = {8000, 8001}

    assert inv("up") == 0

    assert stopped.lines("run") == [UP]
    assert "inv chose BACKEND_PORT=8002." in (project.root / ".env").read_text()
    assert "(PID 7): using 8002, kept as BACKEND_PORT in .env.\n" in inv.err()


def test_free_ports_need_no_further_question_to_compose(inv: Inv, stopped: Recorder) -> None:
    inv("up")

    asked = [" ".join(argv[4:]) for argv in stopped.asked if argv[1] == "compose"]
    assert asked[:2] == ["config --format json", "ps --all --format json"]
    assert not [line for line in asked[2:] if line.startswith("config")]


def test_a_taken_port_is_73_with_strict_ports_and_in_ci(
    inv: Inv, project: Project, stopped: Recorder, monkeypatch: MonkeyPatch
) -> None:
    stopped.taken = {8000}

    assert inv("up", "--strict-ports") == 73
    monkeypatch.setenv("CI", "true")
    assert inv("up") == 73

    assert stopped.ran == []
    assert "BACKEND_PORT" not in (project.root / ".env").read_text()
    message = "is taken by other (PID 7).\n  Use another: BACKEND_PORT=8001 inv up\n"
    assert inv.err().count(f"Port 8000, for backend, {message}") == 2


def lose_races(stopped: Recorder, times: int) -> None:
    """Take the backend's port at the first ``times`` starts; Compose reads the chosen port."""

    def up(_: Call) -> Answer:
        starts = len(stopped.ran)
        if starts > times:
            return Answer(0, "", "")
        port = 7999 + starts
        stopped.taken |= {port}
        stopped.on(".env", "config", "--format").say(model(backend=port))
        return Answer(1, "", "")

    stopped.on("up").do(up)


def test_a_port_lost_at_start_is_replaced(inv: Inv, project: Project, stopped: Recorder) -> None:
    lose_races(stopped, 2)

    assert inv("up") == 0

    assert stopped.lines("run") == [UP] * 3
    assert load_settings(project)["BACKEND_PORT"] == "8002"


def test_a_port_that_is_lost_at_every_start_is_75(inv: Inv, stopped: Recorder) -> None:
    lose_races(stopped, 99)

    assert inv("up") == 75

    assert len(stopped.ran) == STARTS


def test_ports_of_the_running_stack_are_not_taken(inv: Inv, stopped: Recorder) -> None:
    stopped.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW))
    stopped.on(".env", "config", "--format").say(model(backend=8123))
    stopped.taken = {8123}

    assert inv("up", "--strict-ports") == 0


def test_a_changed_port_is_checked_before_running_services_are_touched(
    inv: Inv, stopped: Recorder, monkeypatch: MonkeyPatch
) -> None:
    stopped.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW))
    stopped.on(".env", "config", "--format").say(model(backend=8299))
    stopped.taken = {8299}
    monkeypatch.setenv("BACKEND_PORT", "8299")

    assert inv("up") == 73
    assert stopped.ran == []


def test_only_ports_of_the_started_services_are_checked(inv: Inv, stopped: Recorder) -> None:
    stopped.taken = {8000}

    assert inv("up", "--strict-ports", "--service", "db") == 0
    assert inv("up", "--strict-ports", "--service", "backend") == 73


def test_up_makes_the_env_file_and_says_so(inv: Inv, project: Project) -> None:
    (project.root / ".env").unlink()

    assert inv("up") == 0

    names = "COMPOSE_PROJECT_NAME, APP_UID, APP_GID, POSTGRES_PASSWORD, SECRET_KEY"
    assert f"Made .env: {names}\n" in inv.err()


def test_env_completes_empty_settings(inv: Inv, project: Project) -> None:
    file = project.root / ".env"
    file.write_text(file.read_text().replace("not-a-secret-either-and-long-enough", ""))

    assert inv("env") == 0

    assert inv.err() == "Completed .env: SECRET_KEY\n"

    assert inv("env") == 0
    assert inv.err() == ".env is complete. Check it: inv env --check\n"


def test_a_dry_run_names_the_settings_that_would_be_made(inv: Inv, project: Project) -> None:
    assert inv("--dry", "env") == 0
    assert inv.err() == ""

    (project.root / ".env").unlink()
    assert inv("--dry", "env") == 0
    assert inv.err().startswith("Not in a dry run: Made .env: COMPOSE_PROJECT_NAME")


def test_a_dry_run_writes_nothing(inv: Inv, project: Project) -> None:
    (project.root / ".env").unlink()
    before = sorted(project.root.rglob("*"))

    for words in (["up", "--migrate"], ["build"]):
        assert inv("--dry", *words) == 0

    assert sorted(project.root.rglob("*")) == before


def test_ps_shows_a_table(inv: Inv) -> None:
    inv("ps")

    assert inv.out() == (
        "shop (docker mode)\n"
        "SERVICE  STATE    HEALTH   ADDRESS                AGE\n"
        "backend  running  healthy  http://127.0.0.1:8123  3 minutes\n"
        "db       running  healthy  -                      3 minutes\n"
    )


def test_ps_without_containers_names_the_next_command(inv: Inv, recorder: Recorder) -> None:
    one_off = {**PS_ROW, "Labels": "com.docker.compose.oneoff=True"}
    recorder.on("ps", "--all").say(ps_answer(one_off))

    inv("ps")

    assert inv.out() == "shop (docker mode): nothing runs. Start it: inv up\n"


def test_up_names_pending_migrations(recorder: Recorder, inv: Inv) -> None:
    recorder.http = lambda url: (503, '{"pending": ["a.0001", "a.0002", "b.0001", "c.0001"]}')

    inv("up")

    assert inv.out().endswith(
        "\nPending migrations: a.0001, a.0002, b.0001 and 1 more\n  Type: inv migrate\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_open_prints_and_opens_the_url(terminal: bool, inv: Inv, monkeypatch: MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    assert inv("open") == 0

    assert inv.out() == "http://127.0.0.1:8123\n"
    assert opened == (["http://127.0.0.1:8123"] if terminal else [])


@pytest.mark.parametrize("answers", [True, False])
def test_test_leaves_out_sessions_that_need_a_missing_engine(
    answers: bool, inv: Inv, project: Project, recorder: Recorder
) -> None:
    (project.root / "noxfile.py").touch()
    if not answers:
        recorder.on("docker", "version").say(code=1, err="no daemon")

    assert inv("test") == 0

    assert recorder.ran[0][1:5] == ["-m", "nox", "--session", "lint"]
    assert ("integration(docker)" in recorder.ran[0]) is answers
    assert (
        "Not run: integration(docker), package(docker), faults, foreign. The Docker Engine"
        in inv.err()
    ) is not answers


@pytest.fixture
def calls(project: Project) -> Path:
    """Two records of abandoned calls."""
    calls = project.root / ".composed/shop/calls"
    calls.mkdir(parents=True)
    (calls / "aaa").touch()
    (calls / "bbb").write_text("backend")
    return calls


def test_the_next_verb_removes_leftovers(inv: Inv, calls: Path, recorder: Recorder) -> None:
    recorder.on("label=composed.call=aaa").say("4711\n")

    inv("ps")

    stop, remove = recorder.lines("ask")[1:3]
    assert stop == "docker stop --signal INT --time 5 4711"
    assert remove == "docker rm --force 4711"
    assert recorder.asked[3][4:7] == ["exec", "--no-TTY", "backend"]
    assert list(calls.iterdir()) == []


def test_a_call_not_cleaned_up_stays_recorded(inv: Inv, calls: Path, recorder: Recorder) -> None:
    for words in (["ps", "--services"], ["exec"], ["label=…"]):
        recorder.on(*words).say(code=1, err="Cannot connect to the Docker daemon")

    inv("ps")

    assert sorted(Calls(Gateway(Path()), calls).abandoned()) == ["aaa", "bbb"]


PLAIN = "--env NO_COLOR --env DJANGO_COLORS"
PLAIN = "--env NO_COLOR --env DJANGO_COLORS"
PLAIN_ENV = "--env NO_COLOR=1 --env DJANGO_COLORS=nocolor"


@pytest.mark.parametrize(
    ("setting", "verb", "command"),
    [
        ("NO_COLOR=1", "logs", "logs"),
        ("TERM=dumb", "logs", "logs"),
        ("NO_COLOR=1", "shell", f"exec --no-TTY --env COMPOSED_CALL=CALL {PLAIN_ENV}"),
        ("TERM=dumb", "shell", f"{PLAIN_ENV} --env TERM=dumb backend bash"),
        ("NO_COLOR=yes", "migrate", f"{PLAIN} --entrypoint python backend"),
        ("TERM=dumb", "migrate", f"{PLAIN} --env TERM --entrypoint python backend"),
    ],
)
def test_plain_text_is_asked_of_compose_and_of_commands_inside(
    setting: str, verb: str, command: str, inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv(*setting.split("="))

    inv(verb)

    line = recorder.lines("run")[0]
    assert line.startswith(f"{DC} --ansi never --progress plain ")
    assert command in line


def test_piped_logs_have_no_code_that_erases_a_line(inv: Inv, recorder: Recorder) -> None:
    inv("logs")
    inv("ps")
    inv("build")

    assert [call.without for call in recorder.of("run")] == [b"\x1b[2K", b""]


@pytest.mark.parametrize("words", ["down", "restart"])
def test_up_after_an_interrupted_stop_stops_first(words: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("down").do(_interrupted)
    recorder.on("--force-recreate").do(_interrupted)
    assert inv(words) == 143
    recorder.calls.clear()

    inv("up")
    inv("up")

    assert recorder.lines("run") == [f"{DC} stop", UP, UP]


def _interrupted(_: Call) -> Answer:
    raise Interrupted(signal.SIGTERM)


def test_only_dc_gets_ctrl_c_once(inv: Inv, recorder: Recorder) -> None:
    inv("migrate")
    inv("dc", "--", "up")

    assert [call.insist for call in recorder.of("run")] == [True, False]


def test_a_container_of_an_interrupted_call_is_removed(inv: Inv, recorder: Recorder) -> None:
    recorder.on("manage.py").do(_interrupted)
    recorder.on("label=composed.call=CALL").say("c0ffee\n")

    assert inv("migrate") == 143

    assert ["docker", "rm", "--force", "c0ffee"] in recorder.asked


def test_compose_gets_every_env_file(
    inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "env"
    elsewhere.write_text("COMPOSE_PROJECT_NAME=shop\n")
    monkeypatch.setenv("COMPOSE_ENV_FILES", f"{elsewhere},.env")

    inv("logs")

    files = ["--env-file", str(elsewhere), "--env-file", ".env"]
    assert recorder.ran[0] == ["docker", "compose", *files, "logs"]


def test_a_dry_destroy_removes_nothing(inv: Inv, recorder: Recorder) -> None:
    for listing in ("docker ps --all --quiet", "volume ls --quiet", "image ls --quiet"):
        recorder.on(*listing.split()).say("abc\n")

    assert inv("--dry", "destroy", "--yes", "--no-snapshot") == 0

    assert "$ docker volume rm abc\n" in inv.err()
    assert not [argv for argv in recorder.asked if "rm" in argv]


SCRIPT = """
import sys
from composed.verbs import bytecode_kept

sys.dont_write_bytecode = True
with bytecode_kept():
    print(sys.dont_write_bytecode)
assert sys.dont_write_bytecode
"""


@pytest.mark.parametrize(("options", "forbidden"), [([], "False"), (["-B"], "True")])
def test_verbs_keep_bytecode_unless_python_forbids_it(options: list[str], forbidden: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, *options, "-c", SCRIPT]

    assert subprocess.check_output(argv, env=env, text=True).strip() == forbidden
