"""A stack of a session's own: what a `noxfile.py` calls, and what tells the stack apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from composed import sessions
from composed.data.connection import MARK, SCRIPT, Connection
from composed.docker import beside
from composed.docker.beside import check_database, override, remove
from composed.docker.model import Model
from composed.docker.override import write_ports
from composed.errors import InputOutputError, RefusedError
from composed.gateway import Answer, Gateway
from composed.ports.published import Published
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import ENV, ROOT, MonkeyPatch

TASKS = "from composed.verbs import *\n\nnamespace = collect(__name__)\n"
DATABASE = {"image": "postgres:17"}
ASKED = f"manage -- shell -c {SCRIPT}"
OWN = Connection("postgresql", "shop", "db")
STARTED = ["build", ASKED, "migrate --no-snapshot", "up"]
INV = [sys.executable, "-m", "composed"]


def answer(found: Connection) -> str:
    """Return what Django prints, with a line of the project's own."""
    return f"Loading\n{MARK}{json.dumps(asdict(found))}\n"


class QuitError(Exception):
    """The end of a session, as by `session.error`."""


@dataclass
class FakeSession:
    """Lists the commands; ``answers`` has the stdout of a command, by its verb."""

    name: str = "integration"
    bin_paths: list[str] | None = None
    ran: list[list[str]] = field(default_factory=list)
    envs: list[Mapping[str, str]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=lambda: {"manage": answer(OWN)})
    fails: Iterable[str] = ()

    def run(self, *argv: str, env: Mapping[str, str], **options: Any) -> str | bool:
        self.ran.append(list(argv))
        self.envs.append(env)
        if argv[3:4] and argv[3] in self.fails:
            raise QuitError(f"{argv[3]} failed")
        return self.answers.get(argv[3], "") if options.get("silent") else True

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def error(self, text: str) -> NoReturn:
        raise QuitError(text)

    @property
    def verbs(self) -> list[str]:
        return [" ".join(argv[3:]) for argv in self.ran]


Start = Callable[..., Any]


@pytest.fixture
def session(monkeypatch: MonkeyPatch) -> FakeSession:
    monkeypatch.setattr(beside, "SECONDS_BETWEEN_ROUNDS", 0)
    return FakeSession()


@pytest.fixture
def shop(tmp_path: Path, recorder: Recorder, monkeypatch: MonkeyPatch) -> Path:
    """A foreign project, whose developer calls the stack ``shop``."""
    root = tmp_path / "shop"
    (root / "shop").mkdir(parents=True)
    (root / ".git").mkdir()  # a clone of its own, wherever the tests run
    (root / "compose.yaml").write_text("services: {}\n")
    (root / "tasks.py").write_text(TASKS)
    (root / "manage.py").write_text('("DJANGO_SETTINGS_MODULE", "shop.settings")')
    monkeypatch.chdir(root)
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    web = {"build": {"context": "."}, "ports": [{"published": "8000", "target": 8000}]}
    recorder.on("ps", "--all", "--quiet").say("")
    recorder.on("config", "--format").say(model_of(web=web, db=DATABASE))
    return root


def model_of(**services: Any) -> str:
    return json.dumps({"name": "shop", "services": services})


def start(session: FakeSession, **options: Any) -> Any:
    return sessions.stack(cast("Any", session), **options)


def own_folder(root: Path) -> Path:
    (folder,) = (root / ".composed").iterdir()
    return folder


def test_a_session_gets_a_stack_of_its_own(
    session: FakeSession, shop: Path, recorder: Recorder
) -> None:
    with start(session) as env:
        name = env["COMPOSE_PROJECT_NAME"]
        chosen = (own_folder(shop) / "override.yml").read_text()
        recorder.calls.clear()

    assert name.startswith("shop-integration-")
    assert env == {"COMPOSE_PROJECT_NAME": name, "COMPOSED_MODE": "docker"}
    assert '  "web": {ports: !override ["0:8000/tcp"]}\n' in chosen
    assert session.ran[0] == [*INV, "build"]
    assert session.verbs == STARTED
    assert session.envs == [env] * 4
    label = f"label=com.docker.compose.project={name}"
    assert f"docker ps --all --quiet --filter {label}" in recorder.lines("ask")
    assert [file.name for file in own_folder(shop).iterdir()] == ["session.lock"]


def test_the_options_of_the_start(session: FakeSession, shop: Path) -> None:
    with start(session, migrate=False, build=False):
        pass

    assert session.verbs == [ASKED, "up"]


def test_a_project_with_settings_of_ours_gets_them_first(session: FakeSession, shop: Path) -> None:
    shutil.copy(ROOT / ".env.example", shop)
    (shop / ".env").write_text(ENV)
    with start(session):
        pass

    assert session.verbs[0] == "env"


def test_a_failed_block_shows_logs_and_a_bundle(session: FakeSession, shop: Path) -> None:
    name = sessions._name(Project.at(shop), "docker")
    (shop / ".composed" / name / "failures").mkdir(parents=True)
    session.answers["doctor"] = "SEEN\nBundle: /x/failures/NOW\n"
    session.fails = ["tests"]
    with pytest.raises(QuitError), start(session) as env:
        session.run("tests", "of", "this", "tests", env=env)

    assert session.verbs[5:] == [
        "logs --tail 50",
        "doctor --bundle -- integration: tests failed",
    ]
    assert session.warned == ["Bundle: /x/failures/NOW"]
    kept = sorted(file.name for file in own_folder(shop).iterdir())
    assert kept == ["failures", "session.lock"]


def test_a_failed_start_is_removed_and_explains_itself(
    session: FakeSession, shop: Path, recorder: Recorder
) -> None:
    session.fails = ["up"]
    with pytest.raises(QuitError, match="up failed"), start(session):
        pass

    assert session.verbs == STARTED
    listed = [line for line in recorder.lines("ask") if line.startswith("docker ps --all --quiet")]
    assert len(listed) == 2  # before the start, and in the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_block_as_ctrl_c_does(
    number: signal.Signals, session: FakeSession, shop: Path
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), start(session):
        os.kill(os.getpid(), number)

    assert session.verbs == STARTED  # no time for logs
    assert signal.getsignal(number) == before


def test_a_second_run_is_refused(session: FakeSession, shop: Path) -> None:
    with (
        start(session),
        pytest.raises(QuitError, match="Another run of this session is under way"),
        start(session),
    ):
        pass


def test_a_mode_that_is_none(session: FakeSession, shop: Path) -> None:
    with pytest.raises(QuitError, match="mode is 'podman'"), start(session, mode="podman"):
        pass


def test_an_error_of_ours_ends_the_session_in_words(session: FakeSession, shop: Path) -> None:
    (shop / "pyproject.toml").write_text("[tool.composed]\nbackend = 1\n")
    with pytest.raises(QuitError, match="sets backend in"), start(session):
        pass


def test_a_stack_that_cannot_be_removed_is_named(
    session: FakeSession, shop: Path, recorder: Recorder
) -> None:
    words = r"shop-integration-\w+ is not removed. .* failed: busy"
    with pytest.raises(QuitError, match=words), start(session):
        recorder.on("ps", "--all", "--quiet").say(code=1, err="busy")


def test_local_mode_has_a_file_and_a_port_of_its_own(
    session: FakeSession, shop: Path, recorder: Recorder
) -> None:
    class Running(FakeSession):
        def run(self, *argv: str, env: Mapping[str, str], **options: Any) -> str | bool:
            if argv[3] == "manage":
                self.answers["manage"] = answer(Connection("sqlite", env["SQLITE_PATH"], ""))
            if argv[3] == "up":
                (Path(env["SQLITE_PATH"]).parent / "mode").touch()
            return super().run(*argv, env=env, **options)

    running = Running()
    with start(running, mode="local") as env:
        assert Path(env["SQLITE_PATH"]).parent == own_folder(shop)

    assert env["BACKEND_PORT"] == "0"
    assert env["COMPOSED_MODE"] == "local"
    assert running.verbs[1:] == ["migrate --no-snapshot", "up"]
    assert recorder.asked == [[*INV, "down", "--volumes", "--no-snapshot", "--yes"]]


def test_a_server_that_does_not_end_is_named(
    session: FakeSession, shop: Path, recorder: Recorder
) -> None:
    recorder.on("down", "--volumes").say(code=1, err="It does not end.\n")
    folder = shop / ".composed" / sessions._name(Project.at(shop), "local")
    folder.mkdir(parents=True)
    (folder / "mode").touch()

    with pytest.raises(QuitError, match="It does not end"), start(session, mode="local"):
        pass
    assert len(recorder.asked) == 3


def test_the_developers_file_is_not_used(session: FakeSession, shop: Path) -> None:
    session.answers["manage"] = answer(Connection("sqlite", "db.sqlite3", ""))
    with pytest.raises(QuitError, match="SQLITE_PATH"), start(session, mode="local"):
        pass

    assert len(session.ran) == 1


def test_without_an_answer_of_django_nothing_starts(session: FakeSession, shop: Path) -> None:
    session.answers["manage"] = "odd\n"
    with pytest.raises(QuitError, match="does not say which database it uses: odd"), start(session):
        pass

    assert session.verbs == ["build", ASKED]


def test_the_address_is_the_backends(session: FakeSession, shop: Path) -> None:
    rows = [{"url": ""}, {"url": "http://127.0.0.1:5"}]
    session.answers["ps"] = json.dumps({"services": rows})

    assert sessions.address(cast("Any", session), {}) == "http://127.0.0.1:5"

    session.answers["ps"] = json.dumps({"services": rows[:1]})
    with pytest.raises(QuitError, match="publishes no port"):
        sessions.address(cast("Any", session), {})


@pytest.mark.parametrize("text", ["", "from celery import task\n", "from invoke import task\n"])
def test_the_program_without_tasks_that_have_the_verbs(
    session: FakeSession, shop: Path, text: str
) -> None:
    (shop / "tasks.py").unlink()
    if text:
        (shop / "tasks.py").write_text(text)
    session.answers["ps"] = json.dumps({"services": [{"url": "x"}]})
    sessions.address(cast("Any", session), {})

    assert session.ran == [[sys.executable, "-m", "composed.door", "ps", "--json"]]


def test_the_python_that_has_composed(session: FakeSession, shop: Path) -> None:
    pythons = [shop / name / "python" for name in ("no-python", "no-composed", "has-composed")]
    for python, code in zip(pythons[1:], (1, 0), strict=True):
        python.parent.mkdir()
        python.write_text(f"#!/bin/sh\nexit {code}\n")
        python.chmod(0o755)
    session.bin_paths = [str(python.parent) for python in pythons]
    session.answers["ps"] = json.dumps({"services": [{"url": "x"}]})
    sessions.address(cast("Any", session), {})
    session.bin_paths.pop()
    sessions.address(cast("Any", session), {})

    assert [argv[0] for argv in session.ran] == [str(pythons[2]), sys.executable]


def test_fixed_names_get_others() -> None:
    web = {
        "image": "shop",
        "build": {"context": "."},
        "container_name": "shop_web",
        "networks": {"default": None},
        "ports": [
            {"published": "8000", "target": 8000, "host_ip": "127.0.0.1"},
            {"published": "53", "target": 53, "protocol": "udp"},
        ],
    }
    model = {
        "services": {
            "web": web,
            "worker": {"image": "shop"},
            "db": {"image": "postgres:17", "volumes": []},
        },
        "volumes": {"rows": {"name": "shop_rows"}},
        "networks": {"default": {"name": "n", "ipam": {}}, "proxy": {"external": True}},
    }

    written = override(json.dumps(model), "own", build=True)
    assert [line for line in written.splitlines() if line[:1] != "#"] == [
        "services:",
        '  "web": {container_name: !reset null, '
        'networks: {"default": {"aliases": ["shop_web"]}}, image: "own-web", '
        'ports: !override ["127.0.0.1:0:8000/tcp", "0:53/udp"]}',
        '  "worker": {image: "own-web"}',
        "volumes:",
        '  "rows": {"name": "own_rows"}',
        "networks:",
        '  "default": {"name": "own_default"}',
        '  "proxy": !override {"name": "own_proxy"}',
    ]
    assert "image" not in override(json.dumps(model), "own", build=False)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"volumes": {"v": {"name": "v", "external": True}}}, "v is external"),
        ({"volumes": {"v": {"driver_opts": {"device": "/data"}}}}, "is the place /data"),
        ({"networks": {"n": {"ipam": {"config": [{}]}}}}, "n has fixed addresses"),
        ({"services": {"s": {"network_mode": "host"}}}, "network_mode host"),
        ({"services": {"s": {"network_mode": "container:x"}}}, "network_mode container:x"),
        ({"services": {"s": {"volumes": ["/d:/var/lib/postgresql/data"]}}}, "in the folder /d"),
        ({"services": {"s": {"volumes": ["/d:/d"], "environment": {"PGDATA": "/d"}}}}, "folder /d"),
        (
            {"services": {"s": {"volumes": ["/d:/d"], "environment": {"PGDATA": "/d/s"}}}},
            "folder /d",
        ),
    ],
)
def test_what_both_stacks_would_share_is_refused(model: Any, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        override(json.dumps(model), "own", build=True)
    assert refused.value.hints


def test_a_file_of_settings_may_be_shared(tmp_path: Path) -> None:
    file = tmp_path / "postgresql.conf"
    file.touch()
    db = {**DATABASE, "volumes": [f"{file}:/var/lib/postgresql/data/postgresql.conf"]}

    assert override(model_of(db=db), "own", build=True).count("\n") == 1


def test_a_project_may_have_no_database() -> None:
    assert override("{}", "own", build=True).count("\n") == 1


@pytest.mark.parametrize(
    ("database", "words"),
    [
        (Connection("sqlite", "/code/db.sqlite3", ""), "/d/db.sqlite3, which is"),
        (Connection("postgresql", "shop", "db.example.org"), "on db.example.org"),
        (Connection("postgresql", "shop", ""), "on a socket"),
        (Connection("sqlite", "/data/db.sqlite3", ""), ""),
        (OWN, ""),
    ],
)
def test_the_database_of_both_stacks_is_refused(database: Connection, words: str) -> None:
    model = model_of(web={"volumes": ["/d:/code", "data:/data"]}, db=DATABASE)
    if words:
        with pytest.raises(RefusedError, match=words):
            check_database(model, database)
    else:
        check_database(model, database)


def test_other_ports_keep_what_tells_the_stack_apart(tmp_path: Path) -> None:
    ports = [{"published": "8000", "target": 80}]
    named = {"image": "postgres", "container_name": "web"}
    model = {"services": {"web": {**named, "ports": ports}, "mail": {"ports": ports}, "db": named}}
    file = tmp_path / "override.yml"
    file.write_text(override(json.dumps(model), "own", build=True))

    chosen = {Published("web", "0.0.0.0", 8000): 8001, Published("db", "0.0.0.0", 1): 2}
    write_ports(Gateway(tmp_path), file, Model(model), chosen, "state")

    assert file.read_text().splitlines()[1:-1] == [
        "services:",
        '  "web": {container_name: !reset null, ports: !override ["8001:80/tcp"]}',
        '  "mail": {ports: !override ["8000:80/tcp"]}',
        '  "db": {container_name: !reset null}',
    ]


def test_a_removal_goes_on_until_nothing_is_left(
    session: FakeSession, recorder: Recorder, tmp_path: Path
) -> None:
    left = ["1\n2\n", "3\n", ""]
    recorder.on("ps", "--all", "--quiet").do(lambda _: Answer(0, left.pop(0), ""))
    remove(Gateway(tmp_path), "own")

    removed = [line for line in recorder.lines("ask") if " rm " in line]
    assert removed == ["docker rm --force --volumes 1 2", "docker rm --force --volumes 3"]


def test_what_stays_is_a_failure(session: FakeSession, recorder: Recorder, tmp_path: Path) -> None:
    recorder.on("volume", "ls", "--quiet").say("1\n")
    with pytest.raises(InputOutputError, match="still has"):
        remove(Gateway(tmp_path), "own")


def test_a_removal_tries_again(session: FakeSession, recorder: Recorder, tmp_path: Path) -> None:
    def answer(_: Call) -> Answer:
        return Answer(1, "", "already in progress")

    recorder.on("network", "ls", "--quiet").do(answer)
    with pytest.raises(InputOutputError, match="already in progress"):
        remove(Gateway(tmp_path), "own")
    assert len([line for line in recorder.lines("ask") if "network ls" in line]) == 5
