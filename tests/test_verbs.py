"""Every verb sends exactly these commands."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from composed.calls import Calls
from composed.docker.start import STARTS
from composed.env.settings import load_settings
from composed.errors import Interrupted
from composed.gateway import Answer, Gateway
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import DB_ROW, DC, EXEC, MANAGE, PS_ROW, Inv, model, ps_answer

PSQL = "psql --username cp_user --dbname task_db --set ON_ERROR_STOP=1"
UP = f"{DC} up --detach"


@pytest.fixture(autouse=True)
def _tree_of_an_ordinary_user(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composed.docker.inside.ContainerInside._owner", lambda _: [])


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("up", UP),
        ("up --build", f"{UP} --build"),
        ("up --no-build --timeout 9", f"{UP} --no-build"),
        ("up --service db --service backend", f"{UP} db backend"),
        ("down", f"{DC} down --remove-orphans"),
        ("down --volumes --no-snapshot --yes", f"{DC} down --remove-orphans --volumes"),
        ("restart", f"{UP} --force-recreate"),
        ("restart --service backend", f"{UP} --force-recreate backend"),
        ("logs", f"{DC} logs"),
        (
            "logs --service db --follow --tail 5 --since 10m",
            f"{DC} logs --follow --tail 5 --since 10m db",
        ),
        ("build", f"{DC} build"),
        ("build --pull --no-cache", f"{DC} build --pull --no-cache"),
        ("migrate", f"{MANAGE} migrate"),
        (
            "migrate --app task_api --name zero --plan",
            f"{MANAGE} migrate task_api zero --plan",
        ),
        ("migrate --check", f"{MANAGE} migrate --check"),
        ("migrate -- --fake x", f"{MANAGE} migrate --fake x"),
        ("makemigrations", f"{MANAGE} makemigrations --noinput"),
        (
            "makemigrations --app task_api --check",
            f"{MANAGE} makemigrations task_api --check --dry-run --noinput",
        ),
        (
            "manage -- check --fail-level WARNING",
            f"{MANAGE} check --fail-level WARNING",
        ),
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


def test_words_after_dashes_keep_their_spaces(inv: Inv, recorder: Recorder) -> None:
    inv("manage", "--", "shell", "-c", "print('a  b')")

    assert recorder.ran[0][-2:] == ["-c", "print('a  b')"]


def test_sql_stays_one_word(inv: Inv, recorder: Recorder) -> None:
    inv("dbshell", "--command", "select 1; select 2")

    assert recorder.ran[0][-2:] == ["--command", "select 1; select 2"]


def test_up_with_migrate_migrates_after_the_start(inv: Inv, recorder: Recorder) -> None:
    inv("up", "--migrate")

    assert [argv[4] for argv in recorder.ran] == ["up", "run"]


@pytest.mark.parametrize(
    "words", ["migrate", "makemigrations", "manage -- check", "up --migrate", "build", "dc -- x"]
)
def test_the_code_of_what_runs_inside_is_kept(words: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("x").say(code=23)
    recorder.on("build").say(code=23)
    recorder.on("manage.py").say(code=23)

    assert inv(*words.split()) == 23


def test_a_death_by_signal_counts_as_shells_count(inv: Inv, recorder: Recorder) -> None:
    recorder.on("build").say(code=-9)

    assert inv("build") == 137


def test_migrate_starts_a_database_that_is_down(inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer())

    inv("migrate")

    assert recorder.lines("run")[0] == f"{UP} db"
    assert recorder.ran[-1][4] == "run"


def test_only_verbs_that_write_the_tree_run_as_its_owner(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "composed.docker.inside.ContainerInside._owner", lambda _: ["--user", "0:0"]
    )
    for verb in (["migrate"], ["makemigrations"], ["manage", "--", "check"]):
        inv(*verb)

    assert ["--user" in argv for argv in recorder.ran] == [False, True, True]


def test_down_with_volumes_refuses_without_a_terminal(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("down", "--volumes") == 77

    assert recorder.ran == []
    assert capsys.readouterr().err == (
        "Remove all data of shop? No terminal to confirm on.\n"
        "  To agree: inv down --volumes --yes\n"
    )


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("\n", 77), ("n\n", 77)])
def test_down_with_volumes_asks_on_a_terminal(
    answer: str, code: int, inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    assert inv("down", "--volumes", "--no-snapshot") == code

    assert len(recorder.ran) == (0 if code else 1)


def test_a_terminal_is_allocated_only_when_stdin_and_stdout_are_one(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stdin, stdout in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(sys.stdin, "isatty", lambda stdin=stdin: stdin, raising=False)
        monkeypatch.setattr(sys.stdout, "isatty", lambda stdout=stdout: stdout, raising=False)
        inv("shell")

    assert ["--no-TTY" in argv for argv in recorder.ran] == [False, True, True]


def test_createsuperuser_hands_the_password_over_unseen(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_EMAIL": "ada@example.org",
        "DJANGO_SUPERUSER_PASSWORD": "hush hush",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert inv("createsuperuser") == 0

    assert [call.env for call in recorder.of("run")] == [given]
    assert recorder.ran[0][-1] == "--noinput"
    assert not any("hush" in word for word in recorder.ran[0])


def test_createsuperuser_without_a_terminal_names_what_is_missing(
    inv: Inv, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "ada")
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "ada@example.org")

    assert inv("createsuperuser") == 78

    assert capsys.readouterr().err == (
        "Without a terminal, DJANGO_SUPERUSER_PASSWORD must be set.\n"
        "  Type: DJANGO_SUPERUSER_USERNAME=… DJANGO_SUPERUSER_EMAIL=… "
        "DJANGO_SUPERUSER_PASSWORD=… inv createsuperuser\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("up --timeout abc", "--timeout is 'abc'.\n  Valid: a whole number of seconds.\n"),
        ("up --build --no-build", "--build and --no-build exclude each other.\n"),
        (
            "migrate --name 0002",
            "--name 0002 needs its app.\n  Type: inv migrate --app APP --name 0002\n",
        ),
        ("manage", "No management command.\n  Type: inv manage -- help\n"),
        ("dc", "No Compose command.\n  Type: inv dc -- help\n"),
    ],
)
def test_a_wrong_value_is_64(
    words: str, said: str, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv(*words.split()) == 64

    assert capsys.readouterr().err == said
    assert recorder.ran == []


@pytest.mark.parametrize("words", ["shell --service web", "logs --service web", "up --service web"])
def test_an_unknown_service_is_66(
    words: str, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("up").say(code=1)
    recorder.on("exec").say(code=1)

    assert inv(*words.split()) == 66

    assert capsys.readouterr().err == "There is no service 'web'.\n  Services: backend, db.\n"


def test_a_shell_in_what_does_not_run_is_66(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("exec").say(code=1)
    recorder.on("ps", "--services").say("db\n")

    assert inv("shell") == 66

    assert capsys.readouterr().err == "backend is not running.\n  Type: inv up\n"


@pytest.fixture
def stopped(recorder: Recorder) -> Recorder:
    """A stack that does not run, on a machine where another process may have its ports."""
    recorder.on("ps", "--all").say(ps_answer())
    recorder.on(".env", "config", "--format").say(model(backend=8000, db=5433))
    recorder.pids = lambda port: {7: "other"}
    return recorder


def test_a_taken_port_gives_way_to_the_next(
    inv: Inv,
    project: Project,
    recorder: Recorder,
    stopped: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped.taken = {8000, 8001}

    assert inv("up") == 0

    assert recorder.lines("run") == [UP]
    assert "inv chose BACKEND_PORT=8002." in (project.root / ".env").read_text()
    assert (
        "Port 8000, for backend, is taken by other (PID 7): "
        "using 8002, kept as BACKEND_PORT in .env.\n"
    ) in capsys.readouterr().err


def test_free_ports_cost_no_further_question(inv: Inv, stopped: Recorder) -> None:
    inv("up")

    asked = [" ".join(argv[4:]) for argv in stopped.asked]
    assert asked[:2] == ["config --format json", "ps --all --orphans=false --format json"]
    assert not [line for line in asked[2:] if line.startswith("config")]


@pytest.mark.parametrize("words", ["up --strict-ports", "up"])
def test_a_taken_port_is_73_with_strict_ports_and_in_ci(
    words: str,
    inv: Inv,
    project: Project,
    recorder: Recorder,
    stopped: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped.taken = {8000}
    if "strict" not in words:
        monkeypatch.setenv("CI", "true")

    assert inv(*words.split()) == 73

    assert recorder.ran == []
    assert "BACKEND_PORT" not in (project.root / ".env").read_text()
    assert (
        "Port 8000, for backend, is taken by other (PID 7).\n"
        "  Use another: BACKEND_PORT=8001 inv up\n"
    ) in capsys.readouterr().err


def lose_races(stopped: Recorder, times: int) -> None:
    """Take backend's port at each of so many starts; Compose reads the one chosen then."""

    def up(_: Call) -> Answer:
        starts = len(stopped.ran)
        if starts > times:
            return Answer(0, "", "")
        port = 7999 + starts
        stopped.taken |= {port}
        stopped.on(".env", "config", "--format").say(model(backend=port))
        return Answer(1, "", "")

    stopped.on("up").do(up)


def test_a_port_taken_between_the_look_and_the_start_is_chosen_anew(
    inv: Inv, project: Project, stopped: Recorder
) -> None:
    lose_races(stopped, 2)

    assert inv("up") == 0

    assert stopped.lines("run") == [UP] * 3
    assert load_settings(project)["BACKEND_PORT"] == "8002"


def test_ports_that_are_always_lost_end_it(inv: Inv, stopped: Recorder) -> None:
    lose_races(stopped, 99)

    assert inv("up") == 75

    assert len(stopped.ran) == STARTS


def test_the_ports_of_our_own_running_services_are_not_in_the_way(
    inv: Inv, stopped: Recorder
) -> None:
    stopped.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW))
    stopped.on(".env", "config", "--format").say(model(backend=8123))
    stopped.taken = {8123}

    assert inv("up", "--strict-ports") == 0


def test_a_changed_port_is_checked_before_what_runs_is_touched(
    inv: Inv, stopped: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped.on("ps", "--all").say(ps_answer(PS_ROW, DB_ROW))
    stopped.on(".env", "config", "--format").say(model(backend=8299))
    stopped.taken = {8299}
    monkeypatch.setenv("BACKEND_PORT", "8299")

    assert inv("up") == 73
    assert stopped.ran == []


def test_only_the_ports_of_what_is_started_are_checked(inv: Inv, stopped: Recorder) -> None:
    stopped.taken = {8000}

    assert inv("up", "--strict-ports", "--service", "db") == 0
    assert inv("up", "--strict-ports", "--service", "backend") == 73


@pytest.mark.parametrize("verb", ["logs", "down", "build", "shell", "dc -- ps"])
def test_a_missing_docker_command_is_69(
    verb: str, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("docker").say(code=127)
    recorder.on("docker", "version").say(code=127, err="No such file or directory")

    assert inv(*verb.split()) == 69

    assert capsys.readouterr().err.startswith("There is no docker command here.\n")


@pytest.mark.parametrize("verb", ["up", "migrate", "shell"])
def test_a_folder_that_cannot_be_written_is_77(
    verb: str, inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / ".composed").touch()  # stands for one that belongs to root

    assert inv(verb) == 77

    assert "cannot be written: " in capsys.readouterr().err


def test_a_start_that_fails_before_any_container_is_75(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("up").say(code=17)
    recorder.on("ps", "--all").say(ps_answer())

    assert inv("up") == 75

    assert capsys.readouterr().err == (
        "docker compose up ended with 17; the reason stands above.\n"
        "  All that is known about it: .composed/shop/failures/NOW\n"
    )


def test_an_engine_that_does_not_answer_is_69(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("run").say(code=1)
    recorder.on("docker", "version").say(code=1, err="Cannot connect to the Docker daemon\n")

    assert inv("migrate") == 69

    assert capsys.readouterr().err == (
        "The Docker Engine does not answer: Cannot connect to the Docker daemon\n"
        "  Without it, on SQLite: COMPOSED_MODE=local inv up\n"
        "  Start it: sudo systemctl start docker (or Docker Desktop)\n"
    )


def test_without_an_engine_the_way_to_local_mode_is_open(
    inv: Inv, project: Project, recorder: Recorder
) -> None:
    recorder.on("ps", "--all").say(code=1)
    recorder.on("docker", "version").say(code=1, err="no daemon")

    assert inv("up") == 69

    assert not (project.root / ".composed/shop/mode").exists()


def test_a_port_that_is_no_number_is_78(
    inv: Inv, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKEND_PORT", "80a")

    assert inv("up") == 78

    assert capsys.readouterr().err == (
        "BACKEND_PORT is '80a'.\n  Valid: a port from 1 to 65535, or 0 for any.\n"
    )


def test_without_env_file_a_verb_says_what_makes_it(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / ".env").unlink()

    assert inv("ps") == 78

    assert capsys.readouterr().err == f"There is no .env in {project.root}.\n  Type: inv up\n"


def test_a_configuration_that_compose_refuses_is_78_in_its_words(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("ps", "--all").say(code=15, err="services.db.image must be a string\n")

    assert inv("ps") == 78

    assert capsys.readouterr().err == (
        "docker compose ps failed: services.db.image must be a string\n"
        "  See the model: inv dc -- config\n"
    )


def test_up_makes_env_and_says_so(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / ".env").unlink()

    assert inv("up") == 0

    names = "COMPOSE_PROJECT_NAME, APP_UID, APP_GID, POSTGRES_PASSWORD, SECRET_KEY"
    assert f"Made .env: {names}\n" in capsys.readouterr().err


def test_env_completes_what_is_empty(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project.root / ".env"
    file.write_text(file.read_text().replace("not-a-secret-either", ""))

    assert inv("env") == 0

    assert capsys.readouterr().err == "Completed .env: SECRET_KEY\n"

    assert inv("env") == 0
    assert capsys.readouterr().err == ".env is complete. Check it: inv env --check\n"


def test_a_dry_run_says_what_would_be_made(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("--dry", "env") == 0
    assert capsys.readouterr().err == ""

    (project.root / ".env").unlink()
    assert inv("--dry", "env") == 0
    assert capsys.readouterr().err.startswith("Not in a dry run: Made .env: COMPOSE_PROJECT_NAME")


def test_a_value_in_an_env_file_that_compose_refuses_is_not_shown(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = 'level=warning\nfailed to read /x/.env: Invalid template: "hu${sh"'
    recorder.on("ps", "--all").say(code=1, err=refusal)
    recorder.on("docker", "version").say("26.1\n")

    assert inv("ps") == 78

    shown = capsys.readouterr().err
    assert shown == "Compose refuses an env file.\n  See which line: inv env --check\n"


def test_a_dry_run_writes_nothing(inv: Inv, project: Project) -> None:
    (project.root / ".env").unlink()
    before = sorted(project.root.rglob("*"))

    for words in (["up", "--migrate"], ["build"]):
        assert inv("--dry", *words) == 0

    assert sorted(project.root.rglob("*")) == before


def test_ps_shows_a_table(inv: Inv, capsys: pytest.CaptureFixture[str]) -> None:
    inv("ps")

    assert capsys.readouterr().out == (
        "shop (docker mode)\n"
        "SERVICE  STATE    HEALTH   ADDRESS                AGE\n"
        "backend  running  healthy  http://127.0.0.1:8123  3 minutes\n"
        "db       running  healthy  -                      3 minutes\n"
    )


def test_ps_says_when_nothing_runs(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    one_off = {**PS_ROW, "Labels": "com.docker.compose.oneoff=True"}
    recorder.on("ps", "--all").say(ps_answer(one_off))

    inv("ps")

    assert capsys.readouterr().out == "shop (docker mode): nothing runs. Start it: inv up\n"


def test_up_names_pending_migrations(
    recorder: Recorder,
    inv: Inv,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = '{"pending": ["a.0001", "a.0002", "b.0001", "c.0001"]}'
    recorder.http = lambda url: (503, body)

    inv("up")

    assert capsys.readouterr().out.endswith(
        "\nPending migrations: a.0001, a.0002, b.0001 and 1 more\n  Type: inv migrate\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_open_prints_the_url_and_opens_it_from_a_terminal(
    terminal: bool,
    inv: Inv,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    assert inv("open") == 0

    assert capsys.readouterr().out == "http://127.0.0.1:8123\n"
    assert opened == (["http://127.0.0.1:8123"] if terminal else [])


def test_open_of_a_stack_that_does_not_run_is_66(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("ps", "--all").say(ps_answer())

    assert inv("open") == 66

    assert capsys.readouterr().err == "backend is not running.\n  Type: inv up\n"


@pytest.mark.parametrize("answers", [True, False])
def test_test_runs_what_the_machine_can_and_says_what_it_could_not(
    answers: bool,
    inv: Inv,
    project: Project,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project.root / "noxfile.py").touch()
    if not answers:
        recorder.on("docker", "version").say(code=1, err="no daemon")

    assert inv("test") == 0

    assert recorder.ran[0][1:5] == ["-m", "nox", "--session", "lint"]
    assert ("integration(docker)" in recorder.ran[0]) is answers
    assert (
        "Not run: integration(docker), package(docker), faults. The Docker Engine"
        in capsys.readouterr().err
    ) is not answers


def test_test_without_sessions_or_nox_says_so(
    inv: Inv,
    project: Project,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert inv("test") == 66
    (project.root / "noxfile.py").touch()
    monkeypatch.setattr("composed.verbs.checks.find_spec", lambda _: None)
    assert inv("test") == 66

    assert recorder.ran == []
    assert capsys.readouterr().err == (
        f"There is no noxfile.py in {project.root}, so there are no sessions to run.\n"
        "  Write one: https://nox.thea.codes, or leave `test` out of tasks.py\n"
        f"{sys.executable} has no nox to run the sessions with.\n"
        "  Install it: pip install nox\n"
    )


def test_the_next_verb_removes_what_a_killed_one_left(
    inv: Inv, project: Project, recorder: Recorder
) -> None:
    calls = project.root / ".composed" / "shop" / "calls"
    calls.mkdir(parents=True)
    (calls / "aaa").touch()
    (calls / "bbb").write_text("backend")
    recorder.on("label=composed.call=aaa").say("4711\n")

    inv("ps")

    assert ["docker", "rm", "--force", "4711"] in recorder.asked
    assert recorder.asked[2][4:7] == ["exec", "--no-TTY", "backend"]
    assert list(calls.iterdir()) == []


def test_what_cannot_be_removed_now_is_kept_for_later(
    inv: Inv, project: Project, recorder: Recorder
) -> None:
    calls = project.root / ".composed" / "shop" / "calls"
    calls.mkdir(parents=True)
    (calls / "aaa").touch()
    (calls / "bbb").write_text("backend")
    gone = Answer(1, "", "Cannot connect to the Docker daemon")
    recorder.on("ps", "--services").give(gone)
    recorder.on("exec").give(gone)
    recorder.on("label=…").give(gone)

    inv("ps")

    assert sorted(Calls(Gateway(project.root), calls).abandoned()) == ["aaa", "bbb"]


PLAIN_ENV = "--env NO_COLOR=1 --env DJANGO_COLORS=nocolor"


@pytest.mark.parametrize(
    ("name", "value", "words", "command"),
    [
        ("NO_COLOR", "1", "logs", "logs"),
        ("TERM", "dumb", "logs", "logs"),
        ("NO_COLOR", "1", "shell", f"exec --no-TTY --env COMPOSED_CALL=CALL {PLAIN_ENV}"),
        ("TERM", "dumb", "shell", f"{PLAIN_ENV} --env TERM=dumb backend bash"),
        ("NO_COLOR", "yes", "migrate", "--env NO_COLOR --env DJANGO_COLORS backend"),
        ("TERM", "dumb", "migrate", "--env NO_COLOR --env DJANGO_COLORS --env TERM backend"),
    ],
)
def test_plain_text_is_asked_of_compose_and_of_what_runs_inside(
    name: str,
    value: str,
    words: str,
    command: str,
    inv: Inv,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)

    inv(words)

    line = recorder.lines("run")[0]
    assert line.startswith(f"{DC} --ansi never --progress plain ")
    assert command in line


def test_logs_that_are_piped_have_no_code_that_erases_a_line(inv: Inv, recorder: Recorder) -> None:
    inv("logs")
    inv("ps")
    inv("build")

    assert [call.without for call in recorder.of("run")] == [b"\x1b[2K", b""]


@pytest.mark.parametrize("words", ["down", "restart"])
def test_an_up_after_an_interrupted_stop_lets_it_end_first(
    words: str, inv: Inv, recorder: Recorder
) -> None:
    recorder.on("down").do(_interrupted)
    recorder.on("--force-recreate").do(_interrupted)
    assert inv(words) == 143
    recorder.calls.clear()

    inv("up")
    inv("up")

    assert recorder.lines("run") == [f"{DC} stop", UP, UP]


def _interrupted(_: Call) -> Answer:
    raise Interrupted(signal.SIGTERM)


def test_only_compose_itself_is_not_sent_ctrl_c_again(inv: Inv, recorder: Recorder) -> None:
    inv("migrate")
    inv("dc", "--", "up")

    assert [call.insist for call in recorder.of("run")] == [True, False]


def test_what_an_interrupted_call_left_inside_ends_with_it(inv: Inv, recorder: Recorder) -> None:
    recorder.on("manage.py").do(_interrupted)
    recorder.on("label=composed.call=CALL").say("c0ffee\n")

    assert inv("migrate") == 143

    assert ["docker", "rm", "--force", "c0ffee"] in recorder.asked


def test_another_env_file_is_handed_to_compose(
    inv: Inv,
    project: Project,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere") / "env"
    elsewhere.write_text((project.root / ".env").read_text())
    monkeypatch.setenv("COMPOSE_ENV_FILES", f"{elsewhere},.env")

    inv("logs")

    files = ["--env-file", str(elsewhere), "--env-file", ".env"]
    assert recorder.ran[0] == ["docker", "compose", *files, "logs"]


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


@pytest.mark.parametrize("words", [["env"], ["up"], ["ps"], ["--dry", "up"], ["env", "--check"]])
@pytest.mark.parametrize(
    "spoil",
    [
        _folder,
        _loop,
        lambda file: file.write_bytes(b"\xff\xfeA\0=\0"),
        lambda file: file.write_bytes(b"SECRET_KEY=a\0b\n"),
        lambda file: file.write_text('SECRET_KEY="hush\n'),
    ],
)
def test_an_env_file_that_cannot_be_read_ends_every_verb_in_our_words(
    spoil: Callable[[Path], object],
    words: list[str],
    inv: Inv,
    project: Project,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(project.root / ".env")

    assert inv(*words) == 78

    out, err = capsys.readouterr()
    assert ".env" in out + err
    assert "hush" not in out + err


def test_what_the_system_refuses_is_said_without_a_traceback(
    inv: Inv, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/there")

    monkeypatch.setattr("composed.gateway._opened", full)

    assert (inv("up"), inv("down")) == (74, 74)

    err = capsys.readouterr().err
    assert "mode cannot be written: No space left on device." in err
    assert err.endswith("/there: No space left on device.\n")


def test_local_mode_is_a_way_out_when_the_engine_has_gone(
    inv: Inv, recorder: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inv("up") == 0
    monkeypatch.setenv("COMPOSED_MODE", "local")
    recorder.on("docker", "version").say("26.1.5\n")
    assert inv("ps") == 78

    recorder.on("docker", "version").say(code=1, err="Cannot connect")

    assert inv("ps") == 0


@pytest.mark.parametrize("name", ["~nobody-is-called-so/x", "x" * 300])
def test_a_dump_that_cannot_be_there_is_66(
    name: str, inv: Inv, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.restore", "--from", name) == 66

    assert "There is no file " in capsys.readouterr().err


def test_a_refused_restore_repeats_what_was_typed(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project.root / "my dump"
    file.write_bytes(b"PGDMP")

    assert inv("db.restore", "--from", str(file), "--no-snapshot") == 77

    again = f"inv db.restore --from '{file}' --no-snapshot --yes\n"
    assert capsys.readouterr().err.endswith(again)


def test_a_dry_destroy_removes_nothing(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    for listing in ("docker ps --all --quiet", "volume ls --quiet", "image ls --quiet"):
        recorder.on(*listing.split()).say("abc\n")

    assert inv("--dry", "destroy", "--yes", "--no-snapshot") == 0

    assert "$ docker volume rm abc\n" in capsys.readouterr().err
    assert not [argv for argv in recorder.asked if "rm" in argv]


def test_a_restart_of_what_is_not_there_leaves_no_mark(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    recorder.on("up").say(code=1)
    recorder.on("docker", "version").say("26.1.5\n")

    assert inv("restart", "--service", "nosuch") == 66

    assert not (project.root / ".composed/shop/stopping").exists()


@pytest.mark.parametrize("tail", ["x", "-3", "1.5"])
def test_a_tail_that_is_no_number_is_64(tail: str, inv: Inv, recorder: Recorder) -> None:
    assert inv("logs", f"--tail={tail}") == 64

    assert recorder.ran == []
