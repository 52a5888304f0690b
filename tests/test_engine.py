"""Whether an engine is set up, and what is wrong with it in our words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from composed.docker import engine
from composed.env.settings import Settings
from composed.errors import EngineError, SettingError
from composed.gateway import Answer, Gateway
from composed.modes import choose_mode
from tests.recorder import Recorder

GATEWAY = Gateway(Path())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Make a machine with these programs and this socket; return its environment."""

    def build(*programs: str, socket: bool = False, context: str = "") -> dict[str, str]:
        at = tmp_path / "docker.sock"
        if socket:
            at.touch()
        if context:
            (tmp_path / "config.json").write_text(json.dumps({"currentContext": context}))
        monkeypatch.setattr(engine, "_SOCKETS", (str(at),))
        monkeypatch.setattr("shutil.which", lambda name: name in programs or None)
        return {"DOCKER_CONFIG": str(tmp_path)}

    return build


def test_no_client_is_no_engine(machine: Callable[..., dict[str, str]]) -> None:
    assert not engine.is_set_up(machine())


def test_a_lone_client_is_no_engine(machine: Callable[..., dict[str, str]]) -> None:
    assert not engine.is_set_up(machine("docker"))


def test_a_socket_is_an_engine(machine: Callable[..., dict[str, str]]) -> None:
    assert engine.is_set_up(machine("docker", socket=True))


def test_a_daemon_program_is_an_engine(machine: Callable[..., dict[str, str]]) -> None:
    assert engine.is_set_up(machine("docker", "dockerd"))


@pytest.mark.parametrize(
    "environ", [{"DOCKER_HOST": "ssh://there"}, {"DOCKER_CONTEXT": "desktop-linux"}]
)
def test_a_variable_is_an_engine(
    environ: dict[str, str], machine: Callable[..., dict[str, str]]
) -> None:
    assert engine.is_set_up(machine("docker") | environ)


def test_a_context_of_ones_own_is_an_engine(machine: Callable[..., dict[str, str]]) -> None:
    assert engine.is_set_up(machine("docker", context="desktop-linux"))
    assert not engine.is_set_up(machine("docker", context="default"))


def settings(mode: str) -> Settings:
    return Settings({"COMPOSED_MODE": mode}, ())


@pytest.mark.parametrize(
    ("asked", "recorded", "set_up", "mode"),
    [
        ("auto", "", True, "docker"),
        ("auto", "", False, "local"),
        ("docker", "", False, "docker"),
        ("local", "", True, "local"),
        ("auto", "local", True, "local"),
        ("auto", "docker", False, "docker"),
        ("local", "local", True, "local"),
    ],
)
def test_the_mode_is_the_recorded_the_asked_or_what_is_set_up(
    asked: str, recorded: str, set_up: bool, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "is_set_up", lambda _: set_up)

    assert choose_mode(settings(asked), recorded=recorded, environ={}) == mode


def test_in_ci_nothing_but_docker_is_taken_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "is_set_up", lambda _: False)

    with pytest.raises(EngineError) as caught:
        choose_mode(settings("auto"), environ={"CI": "true"})

    assert caught.value.code == 69
    assert str(caught.value) == (
        "No Docker Engine is set up here, and CI=true takes nothing else unasked.\n"
        "  On SQLite: COMPOSED_MODE=local inv up"
    )
    assert choose_mode(settings("local"), environ={"CI": "true"}) == "local"


def test_a_stack_that_runs_is_not_changed_over() -> None:
    with pytest.raises(SettingError) as caught:
        choose_mode(settings("local"), recorded="docker", environ={})

    assert str(caught.value) == (
        "COMPOSED_MODE is 'local', but this stack runs in docker mode.\n"
        "  End it first: COMPOSED_MODE=docker inv down"
    )


@pytest.mark.parametrize(
    ("version", "compose", "said"),
    [
        (
            Answer(127, "", "No such file"),
            Answer(0, "", ""),
            "There is no docker command here.\n"
            "  Without it, on SQLite: COMPOSED_MODE=local inv up\n"
            "  Install it: https://docs.docker.com/engine/install",
        ),
        (
            Answer(1, "", "permission denied while trying to connect to the Docker daemon\n"),
            Answer(0, "", ""),
            "The Docker Engine refuses access: "
            "permission denied while trying to connect to the Docker daemon\n"
            "  Without it, on SQLite: COMPOSED_MODE=local inv up\n"
            "  Join its group, then log in again: sudo usermod -aG docker $USER",
        ),
        (
            Answer(1, "", ""),
            Answer(0, "", ""),
            "The Docker Engine does not answer: no reason given\n"
            "  Without it, on SQLite: COMPOSED_MODE=local inv up\n"
            "  Start it: sudo systemctl start docker (or Docker Desktop)",
        ),
        (
            Answer(0, "26.1", ""),
            Answer(1, "", "'compose' is not a docker command"),
            "Docker has no Compose plugin (docker compose).\n"
            "  Install it: https://docs.docker.com/compose/install",
        ),
        (
            Answer(0, "24.0.7\n", ""),
            Answer(0, "", ""),
            "The Docker Engine is 24.0.7; the oldest that works is 25.\n"
            "  Install it: https://docs.docker.com/engine/install",
        ),
        (
            Answer(0, "26.1", ""),
            Answer(0, "v2.24.3\n", ""),
            "Compose is v2.24.3; the oldest that works is 2.24.4.\n"
            "  Install it: https://docs.docker.com/compose/install",
        ),
    ],
)
def test_each_problem_has_its_words(
    version: Answer,
    compose: Answer,
    said: str,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder.on("docker", "version").give(version)
    recorder.on("docker", "compose", "version").give(compose)
    monkeypatch.setattr(
        "grp.getgrnam", lambda _: SimpleNamespace(gr_gid=2**31, gr_mem=["somebody"])
    )
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    assert str(engine.problem(GATEWAY)) == said


def test_an_engine_that_was_named_is_named(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://there:1")
    recorder.on("docker").say(code=1, err="no route")

    said = str(engine.problem(GATEWAY))
    assert said.endswith(
        "  DOCKER_HOST is 'tcp://there:1': start that engine, or unset DOCKER_HOST"
    )


@pytest.mark.parametrize("version", ["2.24.4", "2.26.1-4", "v5.3.0", "2.40.3-desktop.1"])
def test_these_versions_are_new_enough(version: str, recorder: Recorder) -> None:
    recorder.on("docker", "version").say("26.1.5")
    recorder.on("docker", "compose", "version").say(version)

    assert engine.problem(GATEWAY) is None


@pytest.mark.parametrize(
    ("host", "rootless"), [("unix:///run/user/1000/docker.sock\n", True), ("unix:///x.sock", False)]
)
def test_a_rootless_engine_that_does_not_answer_is_told_by_its_socket(
    host: str, rootless: bool, recorder: Recorder
) -> None:
    recorder.on("docker", "info").say(code=1, err="Cannot connect")
    recorder.on("docker", "context").say(host)

    assert engine.is_rootless(GATEWAY) is rootless


@pytest.mark.parametrize(
    ("options", "rootless"), [("[name=seccomp name=rootless]", True), ("[]", False)]
)
def test_rootless_is_a_security_option(options: str, rootless: bool, recorder: Recorder) -> None:
    recorder.on("docker", "info").say(options)

    assert engine.is_rootless(GATEWAY) is rootless


@pytest.fixture
def well(recorder: Recorder) -> Recorder:
    """An engine without a fault."""
    recorder.on("docker", "version").say("26.1.5\n")
    recorder.on("docker", "compose", "version").say("2.26.1\n")
    recorder.on("docker", "info").say("/var/lib/docker\n")
    return recorder


def test_compose_1_alone_is_said(well: Recorder) -> None:
    well.on("docker", "compose", "version").say(code=1, err="unknown")
    well.on("docker-compose", "version").say("1.29.2\n")

    said = str(engine.problem(GATEWAY))
    assert said.startswith("Compose is installed only as docker-compose (1.29.2), not as ")


@pytest.mark.parametrize(
    ("groups", "members", "cure"),
    [
        ([], [], "Join its group, then log in again: sudo usermod -aG docker $USER"),
        ([], ["me"], "You are in its group since your last login; log in again, or type: "),
        ([7], ["me"], "You are in its group; see who may use the socket: ls -l "),
        (None, [], "No group has access: use sudo, or install a rootless engine"),
    ],
)
def test_a_refused_socket_is_told_by_the_group(
    groups: list[int] | None,
    members: list[str],
    cure: str,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def getgrnam(_: str) -> SimpleNamespace:
        if groups is None:
            raise KeyError("docker")
        return SimpleNamespace(gr_gid=7, gr_mem=members)

    monkeypatch.setattr("grp.getgrnam", getgrnam)
    monkeypatch.setattr("os.getgroups", lambda: groups)
    monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="me"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    recorder.on("docker", "version").say(code=1, err="permission denied while trying\n")

    assert str(engine.problem(GATEWAY)).splitlines()[-1].strip().startswith(cure)


def test_an_engine_of_ones_own_is_preferred_to_a_refused_one(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker.sock").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    recorder.on("docker", "version").say(code=1, err="permission denied while trying\n")

    assert str(engine.problem(GATEWAY)).endswith("use it: docker context use rootless")


def test_a_context_that_does_not_answer_is_named(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    recorder.on("docker", "version").say(code=1, err="no route")

    said = str(engine.problem(GATEWAY))
    assert said.endswith("The context is 'far': start that engine, or: docker context use default")


def test_doctor_is_told_what_is_well(well: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))

    assert engine.findings(GATEWAY) == [
        ("Docker Engine", "ok", "26.1.5", ""),
        ("Compose", "ok", "2.26.1", ""),
        ("disk of the engine", "ok", "", ""),
    ]


def test_doctor_is_told_what_is_not(well: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    well.on("docker", "compose", "version").say(code=1, err="unknown")

    _, compose, disk = engine.findings(GATEWAY)
    install = "Install it: https://docs.docker.com/compose/install"
    assert compose == (
        "Compose",
        "wrong",
        "Docker has no Compose plugin (docker compose).",
        install,
    )
    assert disk.seen == "The disk of the Docker Engine (/var/lib/docker) is full: 1 MB are free."
    assert disk.cure == "See its contents: docker system df"


def test_doctor_looks_no_further_than_an_engine_that_is_silent(recorder: Recorder) -> None:
    recorder.on("docker", "version").say(code=1, err="Cannot connect\n")

    [finding] = engine.findings(GATEWAY)
    assert (finding.what, finding.state) == ("Docker Engine", "wrong")
    assert finding.seen == "The Docker Engine does not answer: Cannot connect"


@pytest.mark.parametrize("host", ["tcp://there:1", ""])
def test_a_disk_that_cannot_be_seen_is_not_judged(
    host: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    recorder.on("docker", "info").say("/nowhere/docker\n")

    assert engine.disk_problem(GATEWAY) is None
