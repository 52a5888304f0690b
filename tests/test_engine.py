"""Whether an engine is set up, and the error where an engine cannot be used."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from composed.docker import engine
from composed.env.settings import Settings
from composed.errors import EngineError, SettingError
from composed.gateway import Answer, Gateway
from composed.modes import choose_mode
from tests.recorder import Recorder
from tests.samples import MonkeyPatch

Texts = dict[str, str]

GATEWAY = Gateway(Path())
WITHOUT = "  Without it, on SQLite: COMPOSED_MODE=local inv up\n"
INSTALL_ENGINE = "  Install it: https://docs.docker.com/engine/install"
INSTALL_COMPOSE = "  Install it: https://docs.docker.com/compose/install"


@pytest.mark.parametrize(
    ("tools", "files", "environ", "set_up"),
    [
        ("", {}, {}, False),
        ("docker", {}, {}, False),
        ("docker", {"docker.sock": ""}, {}, True),
        ("docker dockerd", {}, {}, True),
        ("docker", {}, {"DOCKER_HOST": "ssh://there"}, True),
        ("docker", {}, {"DOCKER_CONTEXT": "desktop-linux"}, True),
        ("docker", {"config.json": '{"currentContext": "desktop-linux"}'}, {}, True),
        ("docker", {"config.json": '{"currentContext": "default"}'}, {}, False),
    ],
)
def test_a_client_needs_a_sign_of_an_engine(
    tools: str, files: Texts, environ: Texts, set_up: bool, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SOCKETS", (str(tmp_path / "docker.sock"),))
    monkeypatch.setattr("shutil.which", lambda name: name in tools.split() or None)
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert engine.is_set_up({"DOCKER_CONFIG": str(tmp_path), **environ}) is set_up


def settings(mode: str) -> Settings:
    return Settings({"COMPOSED_MODE": mode}, ())


@pytest.mark.parametrize(
    ("setting", "recorded", "set_up", "mode"),
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
def test_the_record_wins_over_the_setting_and_the_setting_over_the_machine(
    setting: str, recorded: str, set_up: bool, mode: str, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "is_set_up", lambda _: set_up)

    assert choose_mode(settings(setting), recorded=recorded, environ={}) == mode


def test_ci_takes_local_mode_only_when_asked(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "is_set_up", lambda _: False)

    with pytest.raises(EngineError) as caught:
        choose_mode(settings("auto"), environ={"CI": "true"})

    assert caught.value.code == 69
    assert str(caught.value) == (
        "No Docker Engine is set up here, and CI=true takes nothing else unasked.\n"
        "  On SQLite: COMPOSED_MODE=local inv up"
    )
    assert choose_mode(settings("local"), environ={"CI": "true"}) == "local"


def test_a_running_stack_keeps_the_mode() -> None:
    with pytest.raises(SettingError) as caught:
        choose_mode(settings("local"), recorded="docker", environ={})

    assert str(caught.value) == (
        "COMPOSED_MODE is 'local', but this stack runs in docker mode.\n"
        "  End it first: COMPOSED_MODE=docker inv down"
    )


@pytest.mark.parametrize(
    ("version", "compose", "text"),
    [
        (
            Answer(127, "", "No such file"),
            Answer(0, "", ""),
            f"There is no docker command here.\n{WITHOUT}{INSTALL_ENGINE}",
        ),
        (
            Answer(1, "", ""),
            Answer(0, "", ""),
            f"The Docker Engine does not answer: no reason given\n{WITHOUT}"
            "  Start it: sudo systemctl start docker (or Docker Desktop)",
        ),
        (
            Answer(0, "26.1", ""),
            Answer(1, "", "'compose' is not a docker command"),
            f"Docker has no Compose plugin (docker compose).\n{INSTALL_COMPOSE}",
        ),
        (
            Answer(0, "24.0.7\n", ""),
            Answer(0, "", ""),
            f"The Docker Engine is 24.0.7; the oldest that works is 25.\n{INSTALL_ENGINE}",
        ),
        (
            Answer(0, "26.1", ""),
            Answer(0, "v2.24.3\n", ""),
            f"Compose is v2.24.3; the oldest that works is 2.24.4.\n{INSTALL_COMPOSE}",
        ),
    ],
)
def test_each_problem_has_an_error(
    version: Answer, compose: Answer, text: str, recorder: Recorder
) -> None:
    recorder.on("docker", "version").give(version)
    recorder.on("docker", "compose", "version").give(compose)

    assert str(engine.problem(GATEWAY)) == text


@pytest.mark.parametrize("version", ["2.24.4", "2.26.1-4", "v5.3.0", "2.40.3-desktop.1"])
def test_a_new_version_is_no_problem(version: str, recorder: Recorder) -> None:
    recorder.on("docker", "version").say("26.1.5")
    recorder.on("docker", "compose", "version").say(version)

    assert engine.problem(GATEWAY) is None


@pytest.mark.parametrize(
    ("info", "host", "rootless"),
    [
        (Answer(1, "", "Cannot connect"), "unix:///run/user/1000/docker.sock\n", True),
        (Answer(1, "", "Cannot connect"), "unix:///x.sock", False),
        (Answer(0, "[name=seccomp name=rootless]", ""), "", True),
        (Answer(0, "[]", ""), "", False),
    ],
)
def test_rootless_is_a_security_option_or_the_path_of_a_silent_socket(
    info: Answer, host: str, rootless: bool, recorder: Recorder
) -> None:
    recorder.on("docker", "info").give(info)
    recorder.on("docker", "context").say(host)

    assert engine.is_rootless(GATEWAY) is rootless


@pytest.fixture
def well(recorder: Recorder) -> Recorder:
    """An engine without a fault."""
    recorder.on("docker", "version").say("26.1.5\n")
    recorder.on("docker", "compose", "version").say("2.26.1\n")
    recorder.on("docker", "info").say("/var/lib/docker\n")
    return recorder


def test_compose_1_is_no_plugin(well: Recorder) -> None:
    well.on("docker", "compose", "version").say(code=1, err="unknown")
    well.on("docker-compose", "version").say("1.29.2\n")

    assert str(engine.problem(GATEWAY)) == (
        "Compose is installed only as docker-compose (1.29.2), not as Docker's plugin.\n"
        f"{INSTALL_COMPOSE}"
    )


@pytest.mark.parametrize(
    ("groups", "members", "cure"),
    [
        ([], "", "Join its group, then log in again: sudo usermod -aG docker $USER"),
        ([], "me", "You are in its group since your last login; log in again, or type: "),
        ([7], "me", "You are in its group; see who may use the socket: ls -l "),
        (None, "", "No group has access: use sudo, or install a rootless engine"),
    ],
)
def test_the_cure_for_a_refused_socket_depends_on_the_group(
    groups: list[int] | None, members: str, cure: str, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    def getgrnam(_: str) -> SimpleNamespace:
        if groups is None:
            raise KeyError("docker")
        return SimpleNamespace(gr_gid=7, gr_mem=members.split())

    monkeypatch.setattr("grp.getgrnam", getgrnam)
    monkeypatch.setattr("os.getgroups", lambda: groups)
    monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="me"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    recorder.on("docker", "version").say(code=1, err="permission denied while trying\n")

    assert str(engine.problem(GATEWAY)).startswith(
        f"The Docker Engine refuses access: permission denied while trying\n{WITHOUT}  {cure}"
    )


def test_a_rootless_engine_is_preferred_to_a_refused_engine(
    recorder: Recorder, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    (tmp_path / "docker.sock").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    recorder.on("docker", "version").say(code=1, err="permission denied while trying\n")

    assert str(engine.problem(GATEWAY)).endswith("use it: docker context use rootless")


@pytest.mark.parametrize(
    ("host", "cure"),
    [
        ("tcp://a:1", "DOCKER_HOST is 'tcp://a:1': start that engine, or unset DOCKER_HOST"),
        ("", "The context is 'far': start that engine, or: docker context use default"),
    ],
)
def test_the_cure_names_the_host_or_the_context_of_a_silent_engine(
    host: str, cure: str, recorder: Recorder, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", host)
    recorder.on("docker", "version").say(code=1, err="no route")

    assert str(engine.problem(GATEWAY)).endswith(f"  {cure}")


def test_the_findings_show_the_versions(well: Recorder, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))

    assert engine.findings(GATEWAY) == [
        ("Docker Engine", "ok", "26.1.5", ""),
        ("Compose", "ok", "2.26.1", ""),
        ("disk of the engine", "ok", "", ""),
    ]


def test_the_findings_show_each_fault(well: Recorder, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    well.on("docker", "compose", "version").say(code=1, err="unknown")

    full = "The disk of the Docker Engine (/var/lib/docker) is full: 1 MB are free."
    no_plugin = "Docker has no Compose plugin (docker compose)."
    assert engine.findings(GATEWAY)[1:] == [
        ("Compose", "wrong", no_plugin, INSTALL_COMPOSE.strip()),
        ("disk of the engine", "wrong", full, "See its contents: docker system df"),
    ]


def test_a_silent_engine_is_the_only_finding(recorder: Recorder) -> None:
    recorder.on("docker", "version").say(code=1, err="Cannot connect\n")

    [finding] = engine.findings(GATEWAY)
    assert (finding.what, finding.state) == ("Docker Engine", "wrong")
    assert finding.seen == "The Docker Engine does not answer: Cannot connect"


@pytest.mark.parametrize("host", ["tcp://there:1", ""])
def test_a_hidden_disk_is_no_fault(host: str, recorder: Recorder, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    recorder.on("docker", "info").say("/nowhere/docker\n")

    assert engine.disk_problem(GATEWAY) is None


def test_an_engine_without_a_number_as_version_is_not_too_old(recorder: Recorder) -> None:
    recorder.on("docker", "version").say("dev\n")

    assert engine.problem(Gateway(Path())) is None


# `docker version` with Podman's socket, and `podman version` where `docker` is a link to Podman.
PODMAN_ANSWERS = [
    "Server: linux/amd64/debian-13\n Podman Engine:\n  Version:          5.4.2\n",
    "Client:       Podman Engine\nVersion:      5.4.2\n",
]


@pytest.fixture
def podman(recorder: Recorder) -> Recorder:
    """Podman in place of an engine: only the whole answer names it."""
    recorder.on("docker", "version").say(PODMAN_ANSWERS[0])
    recorder.on("docker", "version", "--format").say("5.4.2\n")
    return recorder


@pytest.mark.parametrize("answer", PODMAN_ANSWERS)
def test_podman_is_named_and_not_called_an_old_engine(
    answer: str, podman: Recorder, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/podman/podman.sock")
    podman.on("docker", "version").say(answer)
    podman.on("docker", "version", "--format").say("5.4.2\n")

    error = engine.problem(GATEWAY)
    assert error
    assert error.code == 69
    assert str(error) == (
        "The engine is Podman 5.4.2, not Docker Engine: Podman is not supported.\n"
        f"{WITHOUT}  With a Docker Engine on this machine: unset DOCKER_HOST"
    )


@pytest.mark.parametrize(
    ("variable", "context", "cure"),
    [
        ("podman", "default", "With a Docker Engine on this machine: unset DOCKER_CONTEXT"),
        ("", "podman", "The context is 'podman'; with a Docker Engine: docker context use default"),
        ("", "default", INSTALL_ENGINE.strip()),
    ],
)
def test_the_way_from_podman_to_an_engine_depends_on_what_chose_podman(
    variable: str,
    context: str,
    cure: str,
    podman: Recorder,
    tmp_path: Path,
    monkeypatch: MonkeyPatch,
) -> None:
    (tmp_path / "config.json").write_text(f'{{"currentContext": "{context}"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", variable)

    assert str(engine.problem(GATEWAY)).endswith(f"  {cure}")


def test_the_findings_name_podman(podman: Recorder) -> None:
    [finding] = engine.findings(GATEWAY)

    assert (finding.what, finding.state) == ("Docker Engine", "wrong")
    assert finding.seen.startswith("The engine is Podman 5.4.2, ")


def test_a_new_engine_is_not_asked_twice(well: Recorder) -> None:
    engine.problem(GATEWAY)

    assert [call.argv for call in well.calls].count(["docker", "version"]) == 0
