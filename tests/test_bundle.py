"""Bundles of failures: the newest ten stay, for the owner alone, without secrets."""

import dataclasses
import json
from pathlib import Path

import pytest

from composed.project import Project
from tests.recorder import Recorder
from tests.samples import ENV, PS_ROW, Inv, MonkeyPatch, container, ps_answer

SECRET = "no'good$secret"


@pytest.fixture
def failures(project: Project, recorder: Recorder) -> Path:
    """Let ``up`` fail; every answer to a question holds the secret."""
    (project.root / "key").write_text(f"{SECRET} in a file\n")
    (project.root / ".env").write_text(f'{ENV}POSTGRES_PASSWORD="{SECRET}"\nSECRET_KEY_FILE=key\n')
    for words in ("logs", "ps --all", "inspect", "config --no-interpolate", "docker version"):
        recorder.on(*words.split()).say(f"{words} {SECRET!r}", err=f" {SECRET} in a file")
    recorder.on("ps", "--all", "--quiet").say("abc\n")
    exited = ps_answer({**PS_ROW, "State": "exited", "Health": ""})
    recorder.on("ps", "--all", "--format").say(exited)
    recorder.on("version", "--format").say("26")
    recorder.on("inspect", "--format", "…restarts…").say(container(Status="exited"))
    return project.root / ".composed" / "shop" / "failures"


def test_a_bundle_is_for_the_owner_alone_and_without_secrets(inv: Inv, failures: Path) -> None:
    assert inv("up") == 75

    kept = {file.name: file.read_text() for file in (failures / "NOW").iterdir()}
    assert {"logs.txt", "ps.txt", "health.txt", "config.yml", "what-happened.txt"} < kept.keys()
    assert kept["what-happened.txt"].startswith("$ inv up\n\nWaiting for backend ")
    assert kept["config.yml"] == 'config --no-interpolate "[secret]" [secret]'
    assert not [name for name, text in kept.items() if "good" in text]
    assert {file.stat().st_mode & 0o777 for file in (failures / "NOW").iterdir()} == {0o600}
    assert (failures / "NOW").stat().st_mode & 0o777 == 0o700


def test_a_secret_that_the_project_names_is_taken_out(
    inv: Inv, failures: Path, project: Project, monkeypatch: MonkeyPatch
) -> None:
    other = dataclasses.replace(project, secrets=("SALT",))
    monkeypatch.setattr(Project, "of", lambda _c: other)
    settings = (project.root / ".env").read_text().replace("POSTGRES_PASSWORD", "SALT")
    (project.root / ".env").write_text(settings)
    (project.root / "key").unlink()

    inv("up")

    assert "good" not in (failures / "NOW" / "logs.txt").read_text()


def test_a_secret_is_taken_out_in_the_form_that_compose_reads(
    inv: Inv, recorder: Recorder, failures: Path, project: Project
) -> None:
    (project.root / ".env").write_text(f"{ENV}POSTGRES_PASSWORD=so$$good\n")  # so$good inside
    environment = {"POSTGRES_PASSWORD": "so$$good", "LANG": None}
    model = {"name": "shop", "services": {"db": {"environment": environment}}}
    recorder.on(".env", "config", "--format").say(json.dumps(model))
    recorder.on("logs").say("it is so$good, or so$$good")

    inv("doctor", "--bundle", "--", "a", "test")

    assert (failures / "NOW" / "logs.txt").read_text() == "it is [secret], or [secret]"
    assert (failures / "NOW" / "what-happened.txt").read_text().endswith("\n\na test\n")


def test_a_secret_beside_an_odd_part_of_the_model_is_taken_out(
    inv: Inv, recorder: Recorder, failures: Path
) -> None:
    odd = {"environment": ["API_TOKEN=so$$good", 5, None, "BARE"], "ports": {"a": 1}, "image": []}
    model = {"services": {"db": odd, "web": None, "x": {"environment": {"PIN_KEY": 47110815}}}}
    recorder.on(".env", "config", "--format").say(json.dumps(model))
    recorder.on("logs").say("it is so$good with 47110815")

    inv("doctor", "--bundle")

    assert (failures / "NOW" / "logs.txt").read_text() == "it is [secret] with [secret]"


@pytest.mark.parametrize("words", ["up", "doctor --bundle"])
def test_dry_runs_write_no_bundle(words: str, inv: Inv, recorder: Recorder, failures: Path) -> None:
    recorder.on("docker", "version").say(code=1, err="Cannot connect")
    recorder.on(".env", "config", "--format").say(code=1, err="Cannot connect")

    inv("--dry", *words.split())

    assert not failures.exists()


def test_the_newest_ten_stay(inv: Inv, failures: Path, monkeypatch: MonkeyPatch) -> None:
    times = iter([f"2026-01-{day:02}" for day in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11)])
    monkeypatch.setattr("composed.doctor.bundle.utc_now", lambda: next(times))
    for _ in range(12):
        inv("up")

    names = sorted(folder.name for folder in failures.iterdir())
    assert (len(names), names[0], names[-1]) == (10, "2026-01-03", "2026-01-11-2")


def test_a_failure_inside_gets_a_bundle_too(inv: Inv, recorder: Recorder, failures: Path) -> None:
    recorder.on("manage.py").say(code=23)

    assert inv("up", "--migrate") == 23

    assert inv.err() == (
        "The command inside ended with 23.\n"
        "  All that is known about it: .composed/shop/failures/NOW\n"
    )


def test_a_full_disk_hides_no_failure(inv: Inv, failures: Path, monkeypatch: MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("composed.doctor.bundle._new_folder", full)

    assert inv("up") == 75

    assert "Waiting for backend" in inv.err()


@pytest.mark.parametrize("words", ["up --service nope", "up --timeout soon"])
def test_bad_usage_gets_no_bundle(words: str, inv: Inv, recorder: Recorder, failures: Path) -> None:
    recorder.on("up").say(code=1)

    assert inv(*words.split()) in (64, 66)

    assert not failures.exists()
