"""Every verb in local mode: the processes and the messages."""

import contextlib
import dataclasses
import itertools
import json
import socket
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from composed.data.connection import MARK
from composed.gateway import Gateway
from composed.local import inside, stack
from composed.local import runner as local
from composed.local.daemon import Daemon, Start
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import READY, Inv, MonkeyPatch

PYTHON = sys.executable


class FakeDaemon(Daemon):
    """Stands for the process in the background; the log is a real file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Gateway(folder), folder)
        self.start_: Start | None = None
        self.alive = True
        self.started: list[Sequence[str]] = []
        self.env: Mapping[str, str] = {}
        self.stops = 0
        self.first_lines = ""  # of the log, after a start

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        port: int,
        listener: socket.socket | None = None,
    ) -> None:
        self.started.append(argv)
        self.env, self.start_ = env, Start(1, "", port, 0)
        with self.log.open("a") as log:
            log.write(self.first_lines)

    def running(self) -> Start | None:
        return self.start_ if self.alive else None

    def last(self) -> Start | None:
        return self.start_

    def pids(self) -> set[int]:
        return {1}

    def stop(self, *, seconds: float) -> None:
        self.start_, self.stops = None, self.stops + 1


@pytest.fixture(autouse=True)
def daemon(project: Project, recorder: Recorder, monkeypatch: MonkeyPatch) -> FakeDaemon:
    """Put every verb in local mode, on a machine with a healthy server."""
    daemon = FakeDaemon(project.root)
    daemon.log.write_text("one\ntwo\n")
    monkeypatch.setenv("COMPOSED_MODE", "local")
    monkeypatch.setattr(stack, "Daemon", lambda *_: daemon)
    recorder.pids = lambda port: {1: "python"}
    monkeypatch.setattr("time.time", lambda: 7200.0)
    return daemon


def test_up_starts_the_reloading_server_once(inv: Inv, daemon: FakeDaemon) -> None:
    assert inv("up") == 0
    assert inv("up") == 0

    gunicorn = [PYTHON, "-m", "gunicorn", "guarded_wsgi:application"]
    assert daemon.started == [[PYTHON, "reload.py", *gunicorn, "--bind", "127.0.0.1:8000"]]


def test_a_server_gets_settings_and_sqlite(inv: Inv, daemon: FakeDaemon, project: Project) -> None:
    inv("up")

    assert daemon.env["SECRET_KEY"] == "not-a-secret-either-and-long-enough"
    assert daemon.env["DATABASE_ENGINE"] == "sqlite"
    assert daemon.env["SQLITE_PATH"] == str(project.root / "data/db.sqlite3")
    assert daemon.env["DEBUG"] == "true"
    assert not {"POSTGRES_PASSWORD", "PORT", "ALLOWED_HOSTS_"} & daemon.env.keys()


def test_the_names_of_the_project_are_used(
    inv: Inv, daemon: FakeDaemon, project: Project, monkeypatch: MonkeyPatch
) -> None:
    other = dataclasses.replace(
        project,
        source=".",
        serve=("python", "-m", "gunicorn", "shop.wsgi"),
        local_environment={"DB_HOST": ""},
        sqlite="db.sqlite3",
        backend_port="WEB_PORT",
    )
    monkeypatch.setattr(Project, "of", lambda _c: other)
    project.example.unlink()
    settings = "COMPOSE_PROJECT_NAME=shop\nDB_HOST=db\nAPP_NAME=x\nWEB_PORT=8123\nPORT=1\n"
    (project.root / ".env").write_text(settings)

    assert inv("up") == 0

    assert daemon.started == [[PYTHON, "-m", "gunicorn", "shop.wsgi", "--bind", "127.0.0.1:8123"]]
    assert daemon.env["SQLITE_PATH"] == str(project.root / "db.sqlite3")
    assert (daemon.env["DB_HOST"], daemon.env["APP_NAME"]) == ("", "x")
    assert not {"DATABASE_ENGINE", "WEB_PORT", "PORT", "COMPOSE_PROJECT_NAME"} & daemon.env.keys()


def test_django_names_pending_migrations(inv: Inv, project: Project, recorder: Recorder) -> None:
    recorder.http = lambda _: (404, "")
    recorder.on("showmigrations").say("[ ]  a.0001_initial\n")

    assert inv("up") == 0

    assert "Pending migrations: a.0001_initial\n" in inv.out()
    (call,) = [call for call in recorder.calls if "showmigrations" in call.argv]
    assert call.argv == [PYTHON, "manage.py", "showmigrations", "--plan"]
    assert call.cwd == project.root / "server"


def test_local_mode_without_a_setting_is_explained(inv: Inv, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.delenv("COMPOSED_MODE")
    monkeypatch.setattr("composed.docker.engine.is_set_up", lambda _: False)

    assert inv("up") == 0

    assert inv.err() == f"{local.UNASKED}\n"


def test_later_verbs_keep_the_mode(inv: Inv, daemon: FakeDaemon, monkeypatch: MonkeyPatch) -> None:
    inv("up")
    monkeypatch.delenv("COMPOSED_MODE")  # with an engine, auto would be docker mode

    assert inv("down") == 0

    assert daemon.stops == 2  # the first before the start


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("migrate", [PYTHON, "manage.py", "migrate"]),
        ("makemigrations --app x", [PYTHON, "manage.py", "makemigrations", "x", "--noinput"]),
        ("manage -- check", [PYTHON, "manage.py", "check"]),
        ("shell", ["bash"]),
        ("shell --django", [PYTHON, "manage.py", "shell"]),
        ("shell -- ls -l", ["ls", "-l"]),
        ("logs", ["tail", "-n", "+1", "LOG"]),
        ("logs --tail 5 --follow", ["tail", "-n", "5", "-f", "LOG"]),
        ("up --migrate", [PYTHON, "manage.py", "migrate"]),
    ],
)
def test_a_verb_runs_this_command(
    words: str, command: list[str], inv: Inv, daemon: FakeDaemon, recorder: Recorder
) -> None:
    assert inv(*words.split()) == 0

    assert recorder.ran == [[str(daemon.log) if w == "LOG" else w for w in command]]


@pytest.fixture
def file(project: Project) -> Path:
    """A database."""
    file = project.root / "data/db.sqlite3"
    file.parent.mkdir()
    file.touch()
    return file


def test_dbshell_opens_the_file(
    inv: Inv, recorder: Recorder, file: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/sqlite3")

    assert inv("dbshell", "--command", "select 1", "--", "-csv") == 0

    assert recorder.ran == [["sqlite3", "-csv", str(file), "select 1"]]


def test_down_with_volumes_removes_the_file(inv: Inv, file: Path) -> None:
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).touch()

    assert inv("down", "--volumes") == 77
    assert file.exists()
    assert inv("down", "--volumes", "--no-snapshot", "--yes") == 0

    assert list(file.parent.iterdir()) == []


def test_a_dry_run_changes_nothing(inv: Inv, daemon: FakeDaemon, project: Project) -> None:
    before = sorted(project.root.rglob("*"))

    assert inv("--dry", "up", "down", "restart") == 0

    assert (daemon.started, daemon.stops) == ([], 0)
    assert sorted(project.root.rglob("*")) == before


def take(recorder: Recorder, *ports: int) -> None:
    recorder.taken = {*ports}
    recorder.pids = lambda port: {7: "other"} if port in ports else {1: "python"}


def test_a_taken_port_is_changed_for_good(recorder: Recorder, inv: Inv, daemon: FakeDaemon) -> None:
    take(recorder, 8000)

    assert inv("up") == 0

    assert "(PID 7): using 8001, kept as BACKEND_PORT in .env.\n" in inv.err()
    take(recorder)
    assert inv("restart") == 0
    assert [argv[-1] for argv in daemon.started] == ["127.0.0.1:8001"] * 2


@pytest.fixture
def foreign(project: Project, monkeypatch: MonkeyPatch) -> Project:
    """A project that does not ask Composed for an env file, and has none."""
    project.example.unlink()
    (project.root / ".env").unlink()
    foreign = dataclasses.replace(project, backend_port="WEB_PORT")
    monkeypatch.setattr(Project, "of", lambda _c: foreign)
    return foreign


@pytest.mark.parametrize("env", [None, "SECRET=1\n"])
def test_a_chosen_port_is_kept_beside_an_env_file_of_the_project(
    env: str | None, recorder: Recorder, inv: Inv, daemon: FakeDaemon, foreign: Project
) -> None:
    file = foreign.root / ".env"
    if env:
        file.write_text(env)
    take(recorder, 8000)

    assert inv("up") == 0

    [kept] = foreign.root.glob(".composed/*/port")
    assert f"using 8001, kept in {foreign.relative(kept)}.\n" in inv.err()
    take(recorder)
    assert inv("restart") == 0
    assert [argv[-1] for argv in daemon.started] == ["127.0.0.1:8001"] * 2
    inv("doctor")
    assert "port 8001 (backend)" in inv.out()
    take(recorder, 8001)
    assert (inv("down"), inv("up"), kept.read_text()) == (0, 0, "8002\n")
    assert (file.read_text() if file.exists() else None) == env


@pytest.mark.parametrize("text", ["", "no port", "0", "65536", "-1"])
def test_a_kept_port_that_is_none_does_not_count(
    text: str, inv: Inv, daemon: FakeDaemon, foreign: Project
) -> None:
    assert (inv("up"), inv("down")) == (0, 0)
    [folder] = foreign.root.glob(".composed/*/")
    (folder / "port").write_text(text)

    assert inv("up") == 0

    assert daemon.started[-1][-1] == "127.0.0.1:8000"


def test_a_port_of_the_project_wins_over_the_kept_one(
    recorder: Recorder, inv: Inv, daemon: FakeDaemon, foreign: Project
) -> None:
    take(recorder, 8000)
    assert (inv("up"), inv("down")) == (0, 0)
    (foreign.root / ".env").write_text("WEB_PORT=8000\n")

    assert inv("up") == 73

    message = "Use another: WEB_PORT=8001 inv up\n  Or take WEB_PORT out of .env"
    assert message in inv.err()


@pytest.mark.parametrize("words", ["up --strict-ports", "up", "up --migrate"])
def test_without_an_env_file_a_taken_port_in_ci_is_73(
    words: str, recorder: Recorder, inv: Inv, foreign: Project, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true" if "strict" not in words else "")
    take(recorder, 8000)

    assert inv(*words.split()) == 73

    assert "Port 8000, for backend, is taken by other (PID 7)." in inv.err()
    assert not any("migrate" in call.argv for call in recorder.of("run"))
    assert not [*foreign.root.glob(".composed/*/port")]


@pytest.mark.parametrize(("wanted", "same"), [("", True), ("0", True), ("8077", False)])
def test_a_restart_hands_the_socket_over_unless_the_port_changes(
    wanted: str, same: bool, inv: Inv, daemon: FakeDaemon, monkeypatch: MonkeyPatch
) -> None:
    assert inv("up") == 0
    assert daemon.start_
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    daemon.start_ = dataclasses.replace(daemon.start_, port=port)
    monkeypatch.setenv("BACKEND_PORT", wanted or str(port))
    monkeypatch.setattr(Gateway, "listening_socket", lambda *_: listener)

    assert inv("restart") == 0

    assert ("GUNICORN_FD" in daemon.env) == same
    assert daemon.started[-1][-1] == f"127.0.0.1:{port if same else wanted}"
    assert same == (listener.fileno() < 0)  # closed here: the server has it
    listener.close()


def test_a_server_other_than_gunicorn_gets_no_socket(
    inv: Inv, daemon: FakeDaemon, project: Project, monkeypatch: MonkeyPatch
) -> None:
    other = dataclasses.replace(project, serve=("python", "-m", "http.server"))
    monkeypatch.setattr(Project, "of", lambda _c: other)
    assert inv("up") == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(Gateway, "listening_socket", lambda *_: listener)

        assert inv("restart") == 0

    assert "GUNICORN_FD" not in daemon.env


def test_a_taken_port_that_must_not_change_is_73(
    recorder: Recorder, inv: Inv, daemon: FakeDaemon, monkeypatch: MonkeyPatch
) -> None:
    take(recorder, 8000)

    assert inv("up", "--strict-ports") == 73
    monkeypatch.setenv("BACKEND_PORT", "8000")
    assert inv("up") == 73

    assert inv.err().count("Port 8000, for backend, is taken by other (PID 7).") == 2
    assert daemon.started == []


def test_a_restart_to_a_taken_port_stops_nothing(
    recorder: Recorder, inv: Inv, daemon: FakeDaemon, monkeypatch: MonkeyPatch
) -> None:
    assert inv("up") == 0
    stops = daemon.stops
    take(recorder, 8077)
    monkeypatch.setenv("BACKEND_PORT", "8077")

    assert inv("restart") == 73

    assert (len(daemon.started), daemon.stops) == (1, stops)


def test_port_0_is_any_free_port(inv: Inv, daemon: FakeDaemon, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("BACKEND_PORT", "0")

    assert inv("up") == 0

    assert daemon.start_
    assert daemon.start_.port > 0


def test_a_port_lost_at_start_is_replaced(recorder: Recorder, inv: Inv, daemon: FakeDaemon) -> None:
    answered: list[str] = []

    def answer(url: str) -> tuple[int, str]:
        answered.append(url)
        return 200, READY

    def listeners(port: int) -> dict[int, str]:
        """Show another process as soon as the port has answered."""
        recorder.taken = {8000}
        return {} if not answered else {7: "other"} if port == 8000 else {1: "python"}

    recorder.http = answer
    recorder.pids = listeners

    assert inv("up") == 0

    assert [argv[-1] for argv in daemon.started] == ["127.0.0.1:8000", "127.0.0.1:8001"]


def test_a_port_lost_at_every_start_is_73(recorder: Recorder, inv: Inv, daemon: FakeDaemon) -> None:
    recorder.pids = lambda port: {7: "other"}

    assert inv("up") == 73

    assert len(daemon.started) == local.STARTS
    assert daemon.start_ is None
    assert "was taken by another process at once.\n  Type: inv up" in inv.err()


def test_a_moved_server_is_started_anew(inv: Inv, daemon: FakeDaemon, project: Project) -> None:
    daemon.start_ = Start(1, "", 8000, 0, "/somewhere/else/.composed/shop")

    assert inv("up") == 0
    daemon.start_ = Start(1, "", 8000, 0, str(project.folder("shop")))
    assert inv("up") == 0

    assert len(daemon.started) == 1


def test_a_server_without_the_health_path_is_healthy(recorder: Recorder, inv: Inv) -> None:
    recorder.http = lambda _: (404, "")

    assert inv("up") == 0


PROBE = "  Its health check says:\n    NameError: x\n"


@pytest.mark.parametrize(
    ("code", "state", "probe"), [(500, "answers 500", PROBE), (0, "does not answer", "")]
)
def test_a_server_that_does_not_load_is_75_with_the_log(
    recorder: Recorder, code: int, state: str, probe: str, inv: Inv
) -> None:
    recorder.http = lambda _: (code, "NameError: x")

    assert inv("up", "--timeout", "0") == 75

    assert inv.err() == (
        f"Waiting for backend to become healthy, 0 s: it {state}.\n{probe}"
        "  Its last lines:\n    one\n    two\n"
        "  See more: inv logs --service backend\n"
        "  All that is known about it: .composed/shop/failures/NOW\n"
    )


@pytest.mark.parametrize(("ran", "alive"), [(True, True), (False, True), (False, False)])
def test_up_does_not_wait_for_a_server_that_has_ended(
    recorder: Recorder, ran: bool, alive: bool, inv: Inv, daemon: FakeDaemon
) -> None:
    daemon.alive = alive
    lines = "PORT: 'x' is not valid, set it to 1.\nreload: the server ended with 78, and so on\n"
    if ran:
        daemon.start_ = Start(1, "", 8000, 0)
        daemon.log.write_text(f"NameError\nreload: urls.py changed\n{lines}")
    else:
        daemon.first_lines = lines
    recorder.http = lambda _: (0, "")

    assert inv("up") == 75

    err = inv.err()
    assert f"it {'does not answer' if alive else 'has ended'}.\n" in err
    assert "  PORT: 'x' is not valid, set it to 1. Correct it in .env.\n  Type: inv up\n" in err


def test_an_old_log_does_not_end_the_wait(recorder: Recorder, inv: Inv, daemon: FakeDaemon) -> None:
    answers = itertools.chain([(0, "")], itertools.repeat((200, READY)))
    recorder.http = lambda _: next(answers)
    daemon.log.write_text("PORT: 'x' is wrong\nreload: the server ended with 78, and so on\n")

    assert inv("up") == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("dc -- ps", 69, "This stack runs without Docker: local mode."),
        ("logs --since 10m", 64, "--since needs Compose."),
        ("shell --service db", 66, "There is no service 'db' in local mode."),
        ("up --service web", 66, "There is no service 'web' in local mode."),
        ("dbshell", 66, "Type: inv migrate"),
    ],
)
def test_a_request_for_docker_is_refused(words: str, code: int, message: str, inv: Inv) -> None:
    assert inv(*words.split()) == code

    assert message in inv.err()


def test_missing_gunicorn_has_a_cure(inv: Inv, project: Project, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "find_spec", lambda _: None)

    assert inv("migrate") == 69

    (project.root / "server/requirements.txt").touch()
    assert inv("manage", "--", "check") == 69

    message = f"{PYTHON} has no Gunicorn to run the server with.\n  Install it: pip install "
    packages = ("gunicorn\n", "--requirement server/requirements.txt\n")
    assert inv.err() == "".join(message + names for names in packages)


@pytest.mark.parametrize(
    ("serve", "problem"),
    [
        ("python -m uvicorn shop.asgi", f"{PYTHON} has no uvicorn to run the server with."),
        ("python -u -m uvicorn shop.asgi", f"{PYTHON} has no uvicorn to run the server with."),
        (
            "python watch.py python -m gunicorn x",
            f"{PYTHON} has no Gunicorn to run the server with.",
        ),
        ("nowhere shop.wsgi", "There is no program nowhere to run the server with."),
        ("python -m shop.run", ""),
        ("python -m job", ""),
        ("python serve.py", ""),
        ("sh serve.sh -m uvicorn", ""),
        ("./serve.sh", ""),
    ],
)
def test_the_module_or_program_that_serves_must_be_there(
    serve: str,
    problem: str,
    inv: Inv,
    daemon: FakeDaemon,
    project: Project,
    monkeypatch: MonkeyPatch,
) -> None:
    other = dataclasses.replace(project, serve=tuple(serve.split()))
    monkeypatch.setattr(Project, "of", lambda _c: other)
    monkeypatch.setattr(inside, "find_spec", lambda _: None)
    (project.root / "server/shop").mkdir()
    (project.root / "server/job.py").touch()

    assert inv("up") == (69 if problem else 0)

    assert inv.err().startswith(problem)
    assert bool(daemon.started) != bool(problem)


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        ("--host {host} --port {port}", "--host 127.0.0.1 --port 8000"),
        ("-b {host}:{port} --x", "-b 127.0.0.1:8000 --x"),
        ("--name {host}", "--name 127.0.0.1 --bind 127.0.0.1:8000"),
        ("{other}", "{other} --bind 127.0.0.1:8000"),
    ],
)
def test_the_server_gets_the_address_in_its_own_way(
    serve: str,
    words: str,
    inv: Inv,
    daemon: FakeDaemon,
    project: Project,
    monkeypatch: MonkeyPatch,
) -> None:
    other = dataclasses.replace(project, serve=("python", "serve.py", *serve.split()))
    monkeypatch.setattr(Project, "of", lambda _c: other)

    assert inv("up") == 0

    assert daemon.started == [[PYTHON, "serve.py", *words.split()]]


def test_the_doctor_names_the_server(inv: Inv, project: Project, monkeypatch: MonkeyPatch) -> None:
    other = dataclasses.replace(project, serve=("python", "-m", "http.server", "{port}"))
    monkeypatch.setattr(Project, "of", lambda _c: other)

    inv("doctor")

    assert f"http of {PYTHON}" in inv.out()


def test_the_doctor_shows_a_database_that_local_mode_has_not(
    inv: Inv, foreign: Project, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    other = dataclasses.replace(foreign, sqlite="")
    monkeypatch.setattr(Project, "of", lambda _c: other)
    answer = {"vendor": "postgresql", "name": "shop", "host": "db"}
    recorder.on("shell", "--command").say(f"{MARK}{json.dumps(answer)}\n")
    before = sorted(foreign.root.rglob("*"))

    assert inv("doctor", "--json") == 75

    [wrong] = [row for row in json.loads(inv.out())["findings"] if row["state"] == "wrong"]
    assert wrong["what"] == "database"
    assert wrong["seen"] == "Django uses postgresql, and local mode has SQLite."
    assert sorted(foreign.root.rglob("*")) == before
    assert inv("up") == 78
    assert f"{wrong['seen']}\n  {wrong['cure']}\n" in inv.err()


def test_ps_shows_a_running_and_an_exited_server(inv: Inv, daemon: FakeDaemon) -> None:
    inv("ps")
    assert inv.out() == "shop (local mode): nothing runs. Start it: inv up\n"

    daemon.start_ = Start(1, "", 8000, 0)
    inv("ps")
    assert "backend  running  healthy  http://127.0.0.1:8000  2 hours\n" in inv.out()

    daemon.alive = False
    inv("ps")
    assert "backend  exited  -       -        2 hours\n" in inv.out()


def test_build_has_nothing_to_do(inv: Inv, recorder: Recorder) -> None:
    assert inv("build") == 0

    assert recorder.ran == []


@pytest.mark.parametrize(("verb", "title"), [("db.restore", "one"), ("db.reset", "")])
def test_a_server_that_cannot_start_on_the_new_data_is_an_error(
    verb: str, title: str, recorder: Recorder, inv: Inv, daemon: FakeDaemon, file: Path
) -> None:
    words = ["--name", title] if title else []
    with contextlib.closing(sqlite3.connect(file)) as live:
        live.executescript("CREATE TABLE a (x); INSERT INTO a VALUES (1)")
    assert (inv("db.snapshot", "--name", "one"), inv("up", "--strict-ports")) == (0, 0)
    recorder.pids = lambda port: {7: "other"}  # is quicker at each start

    assert inv(verb, *words, "--yes") == 73

    problem = "The data is replaced, but the server is stopped: Each port was taken"
    assert problem in (err := inv.err())
    assert err.count("Type: inv up") == 1
    assert "To bring the data back: inv db.restore --name 2" in err
