"""`inv doctor` has a finding for each check, and changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from composed.docker import engine
from composed.docker.images import LABEL
from composed.gateway import Answer
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import ENV, PS_ROW, Capsys, Inv, MonkeyPatch, ps_answer


@pytest.fixture(autouse=True)
def _healthy(project: Project, recorder: Recorder, monkeypatch: MonkeyPatch) -> None:
    """Prepare an engine that answers, and settings without a fault."""
    recorder.on("docker", "version").say("26.1.5\n")
    recorder.on("config", "--format").say(json.dumps({"services": {"backend": {}, "db": {}}}))
    monkeypatch.setattr("composed.doctor.doctor.check_env", lambda *_: [])


Doctor = Callable[[], tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(inv: Inv, capsys: Capsys) -> Doctor:
    """Return the exit code, and the findings by the thing checked."""

    def run() -> tuple[int, dict[str, Any]]:
        code = inv("doctor", "--json")
        rows = json.loads(capsys.readouterr().out)["findings"]
        return code, {row["what"]: row for row in rows}

    return run


def test_without_a_fault_doctor_ends_with_0_and_changes_nothing(
    doctor: Doctor, recorder: Recorder, project: Project
) -> None:
    before = {file: file.read_bytes() for file in project.root.rglob("*") if file.is_file()}

    code, rows = doctor()

    assert code == 0
    assert {"Python", "disk", "mode", "Docker Engine", "Compose", "backend", "db"} <= rows.keys()
    assert {row["state"] for row in rows.values()} == {"ok"}
    assert recorder.ran == []
    assert before == {file: file.read_bytes() for file in project.root.rglob("*") if file.is_file()}


def test_settings_that_cannot_be_read_are_a_finding(doctor: Doctor, project: Project) -> None:
    (project.root / ".env").write_bytes(b"A=\xff\n")

    code, rows = doctor()

    assert code == 75
    assert "it is not UTF-8 text" in rows["stack"]["seen"]


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ("unhealthy", (75, "wrong", "inv logs --service backend")),
        ("starting", (0, "warning", "")),
    ],
)
def test_a_service_that_is_not_ready_is_a_finding(
    health: str, expected: tuple[int, str, str], doctor: Doctor, recorder: Recorder
) -> None:
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Health": health}))

    code, rows = doctor()

    row = rows["backend"]
    assert (code, row["state"], row["cure"]) == expected


def test_a_stack_without_services_is_ok(doctor: Doctor, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer())

    assert doctor()[1]["services"]["state"] == "ok"


@pytest.mark.parametrize(("command", "state"), [("migrate", "ok"), ("loaddata x", "warning")])
def test_migrations_at_each_start_are_fine(
    command: str, state: str, recorder: Recorder, doctor: Doctor
) -> None:
    """And no warning of `composed init`."""
    backend = {"command": f"sh -c 'python manage.py {command} && gunicorn x'"}
    recorder.on("config", "--format").say(json.dumps({"services": {"backend": backend}}))

    assert doctor()[1]["at each start"]["state"] == state


def test_a_complaint_of_the_backend_is_a_warning(recorder: Recorder, doctor: Doctor) -> None:
    recorder.http = lambda _: (503, '{"pending": ["app.0002_more"]}')

    code, rows = doctor()

    row = rows["what it answers"]
    assert (code, row["state"], row["cure"]) == (0, "warning", "inv migrate")


def test_an_engine_without_answer_is_the_last_finding(doctor: Doctor, recorder: Recorder) -> None:
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


def test_without_settings_the_rest_is_checked(doctor: Doctor, project: Project) -> None:
    (project.root / ".env").unlink()

    code, rows = doctor()

    assert code == 0
    assert {"Python", "Docker Engine"} <= rows.keys()
    assert (rows[".env"]["state"], rows[".env"]["cure"]) == ("warning", "inv up")


def test_an_invalid_setting_is_a_finding(doctor: Doctor, project: Project) -> None:
    (project.root / ".env").write_text(f"{ENV}COMPOSED_MODE=perhaps\n")

    code, rows = doctor()

    row = rows["stack"]
    assert (code, row["seen"]) == (75, "COMPOSED_MODE is 'perhaps'.")
    assert row["cure"] == "Valid: auto, docker, local."


def test_the_server_is_checked(doctor: Doctor, project: Project, monkeypatch: MonkeyPatch) -> None:
    (project.root / ".env").write_text(f"{ENV}BACKEND_PORT=0\n")
    monkeypatch.setattr(engine, "is_set_up", lambda _: False)
    assert doctor()[1]["server"]["state"] == "ok"

    monkeypatch.setattr("composed.local.inside.find_spec", lambda _: None)
    code, rows = doctor()
    assert code == 75
    assert rows["server"]["cure"].startswith("Install it: pip install")


def test_a_table_and_a_bundle_hold_the_findings(inv: Inv, project: Project, capsys: Capsys) -> None:
    assert inv("doctor", "--bundle") == 0

    folder = project.root / ".composed" / "shop" / "failures" / "NOW"
    out, err = capsys.readouterr()
    assert "Docker Engine ok 26.1.5" in " ".join(out.split())
    assert f"Bundle: {folder}" in err
    assert "Docker Engine" in (folder / "doctor.txt").read_text()


def test_a_service_that_is_not_there_is_a_finding(doctor: Doctor, recorder: Recorder) -> None:
    recorder.on("config", "--format").say(json.dumps({"services": {"web": {}, "db": {}}}))
    recorder.on("config", "--services").say("web\ndb\n")

    code, rows = doctor()

    assert code == 75
    assert rows["service backend"]["seen"] == "no service 'backend'; there are: db, web"


def test_a_service_of_a_profile_is_a_finding(doctor: Doctor, recorder: Recorder) -> None:
    services = {"backend": {"profiles": ["web"]}, "db": {}}
    every = json.dumps({"services": services})
    active = json.dumps({"services": {"db": {}}})

    def answer(call: Call) -> Answer:
        return Answer(0, every if "COMPOSE_PROFILES" in call.env else active, "")

    recorder.on("config", "--format").do(answer)

    _, rows = doctor()

    row = rows["service backend"]
    assert row["seen"] == "Service 'backend' belongs to a profile that is not active"
    assert row["cure"] == "Type: COMPOSE_PROFILES=web inv up"


def test_several_compose_files_are_a_finding(doctor: Doctor, project: Project) -> None:
    for name in ("a", "b"):
        (project.root / name).mkdir()
        (project.root / name / "compose.yml").touch()

    code, rows = doctor()

    assert (code, rows["Compose file"]["state"]) == (75, "wrong")
    assert "a/compose.yml, b/compose.yml" in rows["Compose file"]["seen"]
