"""`inv doctor` has a row for each thing it looks at, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from composed.docker import engine
from composed.docker.images import LABEL
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import ENV, PS_ROW, Inv, ps_answer


@pytest.fixture(autouse=True)
def _healthy(project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an engine that answers, and settings without a fault."""
    recorder.on("docker", "version").say("26.1.5\n")
    recorder.on("config", "--format").say('{"name": "shop", "services": {}}')
    monkeypatch.setattr("composed.doctor.doctor.check_env", lambda *_: [])


@pytest.fixture
def doctor(
    inv: Inv, capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[int, dict[str, Any]]]:
    """Return the exit code, and the rows by what was looked at."""

    def run() -> tuple[int, dict[str, Any]]:
        code = inv("doctor", "--json")
        rows = json.loads(capsys.readouterr().out)["findings"]
        return code, {row["what"]: row for row in rows}

    return run


Doctor = Callable[[], tuple[int, dict[str, Any]]]


def test_nothing_wrong_is_0_and_nothing_is_run(
    doctor: Doctor, recorder: Recorder, project: Project
) -> None:
    before = {file: file.read_bytes() for file in project.root.rglob("*") if file.is_file()}

    code, rows = doctor()

    assert code == 0
    assert {"Python", "disk", "mode", "Docker Engine", "Compose", "backend", "db"} <= rows.keys()
    assert {row["state"] for row in rows.values()} == {"ok"}
    assert recorder.ran == []
    assert before == {file: file.read_bytes() for file in project.root.rglob("*") if file.is_file()}


def test_settings_that_cannot_be_read_are_no_obstacle(doctor: Doctor, project: Project) -> None:
    (project.root / ".env").write_bytes(b"A=\xff\n")

    code, rows = doctor()

    assert code == 75
    assert "it is no UTF-8 text" in rows["stack"]["seen"]


def test_the_table_shows_the_same(inv: Inv, capsys: pytest.CaptureFixture[str]) -> None:
    assert inv("doctor") == 0

    assert "Docker Engine ok 26.1.5" in " ".join(capsys.readouterr().out.split())


def test_an_unhealthy_service_is_wrong(doctor: Doctor, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Health": "unhealthy"}))

    code, rows = doctor()

    assert code == 75
    assert rows["backend"]["state"] == "wrong"
    assert rows["backend"]["cure"] == "inv logs --service backend"


def test_a_service_that_starts_is_a_warning_and_no_service_is_ok(
    doctor: Doctor, recorder: Recorder
) -> None:
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Health": "starting"}))
    assert (doctor()[0], doctor()[1]["backend"]["state"]) == (0, "warning")

    recorder.on("ps", "--all").say(ps_answer())
    assert doctor()[1]["services"]["state"] == "ok"


def test_what_the_backend_complains_of_is_a_warning(
    recorder: Recorder, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.http = lambda _: (503, '{"pending": ["app.0002_more"]}')

    code, rows = doctor()

    assert code == 0
    assert (rows["what it answers"]["state"], rows["what it answers"]["cure"]) == (
        "warning",
        "inv migrate",
    )


def test_an_engine_that_is_silent_is_the_last_row(doctor: Doctor, recorder: Recorder) -> None:
    recorder.on("docker", "version").say(code=1, err="Cannot connect to the Docker daemon")

    code, rows = doctor()

    assert code == 75
    assert list(rows)[-1] == "Docker Engine"
    assert "does not answer" in rows["Docker Engine"]["seen"]


def test_a_stale_image_is_a_warning(doctor: Doctor, recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "server" / "Dockerfile").write_text("FROM x\n")
    build = {"context": str(tmp_path / "server"), "labels": {LABEL: ""}}
    model = {"name": "shop", "services": {"backend": {"build": build}}}
    recorder.on("config", "--format").say(json.dumps(model))
    about = {"RepoTags": ["shop-backend:latest"], "Config": {"Labels": {LABEL: "old"}}}
    recorder.on("image", "inspect").say(json.dumps([about]))

    assert doctor()[1]["image of backend"]["state"] == "warning"


def test_without_settings_the_rest_is_looked_at(doctor: Doctor, project: Project) -> None:
    (project.root / ".env").unlink()

    code, rows = doctor()

    assert code == 0
    assert {"Python", "Docker Engine"} <= rows.keys()
    assert (rows[".env"]["state"], rows[".env"]["cure"]) == ("warning", "inv up")


def test_a_setting_that_leads_nowhere_is_a_row(doctor: Doctor, project: Project) -> None:
    (project.root / ".env").write_text(f"{ENV}COMPOSED_MODE=perhaps\n")

    code, rows = doctor()

    assert code == 75
    assert rows["stack"]["seen"] == "COMPOSED_MODE is 'perhaps'."
    assert rows["stack"]["cure"] == "Valid: auto, docker, local."


def test_local_mode_looks_at_its_server(
    doctor: Doctor, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / ".env").write_text(f"{ENV}BACKEND_PORT=0\n")
    monkeypatch.setattr(engine, "is_set_up", lambda _: False)
    assert doctor()[1]["server"]["state"] == "ok"

    monkeypatch.setattr("composed.local.inside.find_spec", lambda _: None)
    code, rows = doctor()
    assert code == 75
    assert rows["server"]["cure"].startswith("Install it: pip install")


def test_a_bundle_holds_the_report(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("doctor", "--bundle") == 0

    folder = project.root / ".composed" / "shop" / "failures" / "NOW"
    assert f"Written down: {folder}" in capsys.readouterr().err
    assert "Docker Engine" in (folder / "doctor.txt").read_text()
