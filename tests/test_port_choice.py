"""A taken port is replaced, or refused with the name of the holder."""

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values

from composed.env.settings import Settings, load_settings
from composed.errors import PortTakenError
from composed.findings import Finding
from composed.gateway import Gateway
from composed.ports import choice as port_choice
from composed.ports.choice import findings, give_way, with_choice
from composed.ports.published import Published
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import Capsys, MonkeyPatch

WEB = Published("backend", "127.0.0.1", 8000)
DB = Published("db", "127.0.0.1", 5433)


@pytest.fixture(autouse=True)
def _machine(recorder: Recorder) -> None:
    """8000 and 5433 are taken, the ports after them are free."""
    recorder.taken = {8000, 5433}
    recorder.pids = lambda port: {port: "other"}


Choose = Callable[..., dict[str, int]]


@pytest.fixture
def choose(project: Project) -> Choose:
    def run(taken: Mapping[Published, str], *, strict: bool = False) -> dict[str, int]:
        settings = load_settings(project, os.environ)
        return give_way(Gateway(project.root), settings, taken, avoid={8001}, strict=strict)

    return run


@pytest.fixture
def env(project: Project) -> Path:
    return project.root / ".env"


def add(env: Path, text: str) -> None:
    env.write_text(env.read_text() + text)


def test_the_next_free_port_is_kept_and_named(choose: Choose, env: Path, capsys: Capsys) -> None:
    before = env.read_text()

    assert choose({WEB: "BACKEND_PORT", DB: "DB_PORT"}) == {"BACKEND_PORT": 8002, "DB_PORT": 5434}

    assert env.read_text() == before + (
        "# 8000 was taken: inv chose BACKEND_PORT=8002. Change it and it stays as it is.\n"
        "BACKEND_PORT=8002\n"
        "# 5433 was taken: inv chose DB_PORT=5434. Change it and it stays as it is.\n"
        "DB_PORT=5434\n"
    )
    assert env.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().err == (
        "Port 8000, for backend, is taken by other (PID 8000): "
        "using 8002, kept as BACKEND_PORT in .env.\n"
        "Port 5433, for db, is taken by other (PID 5433): using 5434, kept as DB_PORT in .env.\n"
    )


def test_a_choice_may_be_made_again(choose: Choose, project: Project, env: Path) -> None:
    add(env, with_choice("EXTRA=1\n", "BACKEND_PORT", 7999, 8000))

    assert choose({WEB: "BACKEND_PORT"}) == {"BACKEND_PORT": 8002}

    text = env.read_text()
    assert text.count("BACKEND_PORT") == 2
    assert load_settings(project)["BACKEND_PORT"] == "8002"
    assert "EXTRA=1\n# 8000 was taken" in text


@pytest.mark.parametrize("before", ["A=1\nDB_PORT=\nB=2\n", "A=1\nB=2"])
def test_a_choice_stands_where_the_value_is_empty_or_at_the_end(before: str) -> None:
    text = with_choice(before, "DB_PORT", 5433, 5434)

    assert dotenv_values(stream=io.StringIO(text)) == {"A": "1", "B": "2", "DB_PORT": "5434"}
    assert text.count("\nDB_PORT=") == 1


OWN = "BACKEND_PORT=8000\n"
EDITED = with_choice("", "BACKEND_PORT", 8000, 8005).replace("\nBACKEND_PORT=8005", f"\n{OWN}")


@pytest.mark.parametrize("line", [OWN, EDITED, with_choice("", "BACKEND_PORT", 1, 2) + OWN])
def test_a_port_that_the_user_wrote_is_left_alone(line: str, choose: Choose, env: Path) -> None:
    add(env, line)
    before = env.read_text()

    with pytest.raises(PortTakenError) as caught:
        choose({WEB: "BACKEND_PORT"})

    assert caught.value.code == 73
    assert str(caught.value) == (
        "Port 8000, for backend, is taken by other (PID 8000).\n"
        "  Use another: BACKEND_PORT=8002 inv up\n"
        "  Or take BACKEND_PORT out of .env: inv then chooses one itself"
    )
    assert env.read_text() == before


def test_an_exported_port_stays(choose: Choose, env: Path, monkeypatch: MonkeyPatch) -> None:
    add(env, "BACKEND_PORT=0\n")
    monkeypatch.setenv("BACKEND_PORT", "8000")

    with pytest.raises(PortTakenError, match=r"\.\n  Use another: BACKEND_PORT=8002 inv up$"):
        choose({WEB: "BACKEND_PORT"})


def test_a_user_port_may_be_taken_on_ipv6(choose: Choose, env: Path, recorder: Recorder) -> None:
    recorder.taken = {("::1", 8000)}
    add(env, OWN)

    assert choose({WEB: "BACKEND_PORT"}) == {}


@pytest.mark.parametrize("ci", [True, False])
def test_strict_and_ci_choose_nothing(
    ci: bool, choose: Choose, env: Path, monkeypatch: MonkeyPatch
) -> None:
    before = env.read_text()
    if ci:
        monkeypatch.setenv("CI", "true")

    with pytest.raises(PortTakenError) as caught:
        choose({WEB: "BACKEND_PORT", DB: "DB_PORT"}, strict=not ci)

    assert str(caught.value) == (
        "Port 8000, for backend, is taken by other (PID 8000).\n"
        "  Port 5433, for db, is taken by other (PID 5433).\n"
        "  Use another: BACKEND_PORT=8002 DB_PORT=5434 inv up"
    )
    assert env.read_text() == before


def test_a_port_without_a_setting_is_refused(choose: Choose, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(port_choice, "holder", lambda *_: "")

    with pytest.raises(PortTakenError) as caught:
        choose({Published("mail-hog", "0.0.0.0", 8000): ""}, strict=True)

    assert str(caught.value) == (
        "Port 8000, for mail-hog, is taken.\n"
        "  See by whom: sudo ss -ltnp 'sport = :8000'\n"
        "  Take another port: the same command, without --strict-ports and CI=true"
    )


def test_a_port_without_a_setting_is_kept_elsewhere(project: Project, env: Path) -> None:
    kept: list[dict[Published, int]] = []
    mail = Published("mail", "127.0.0.1", 8000)

    def override(chosen: Mapping[Published, int]) -> str:
        kept.append(dict(chosen))
        return "in a file"

    settings = Settings({}, (env,))
    chosen = give_way(Gateway(project.root), settings, {mail: ""}, override=override)

    assert (chosen, kept) == ({}, [{mail: 8001}])


def test_a_choice_is_written_to_the_file_that_counts(project: Project, env: Path) -> None:
    second = project.root / "second.env"
    second.write_text("BACKEND_PORT=\n")
    settings = Settings({}, (env, second))

    give_way(Gateway(project.root), settings, {WEB: "BACKEND_PORT", DB: "DB_PORT"})

    assert second.read_text().endswith("\nBACKEND_PORT=8001\n")
    assert env.read_text().endswith("\nDB_PORT=5434\n")


def test_each_port_is_a_finding(tmp_path: Path) -> None:
    free = Published("web", "127.0.0.1", 81)
    gateway = Gateway(tmp_path)

    assert findings(gateway, [WEB, DB, free], ours=["127.0.0.1:5433"]) == [
        Finding(
            "port 8000 (backend)",
            "warning",
            "taken by other (PID 8000)",
            "inv up (takes the next free one, unless you chose this)",
        ),
        Finding("port 5433 (db)", "ok", "ours"),
        Finding("port 81 (web)", "ok", "free"),
    ]
