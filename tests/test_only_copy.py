"""A SQLite file that only the backend's container has: nothing of ours ends that container."""

import json
from dataclasses import replace
from typing import Any

import pytest

from composed.docker.volatile import POSTGRESQL
from composed.gateway import Answer
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import DB_ROW, DC, PS_ROW, Inv, ps_answer

NAMELESS = "0a" * 32
UPLOADS = "/app/media"


@pytest.fixture(autouse=True)
def only(project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Let Django have answered before that its database is in the container."""
    monkeypatch.setattr(Project, "of", lambda _c: replace(project, backend="", database=""))
    web = {"build": ".", "command": "gunicorn x", "ports": [{"published": "8123", "target": 8000}]}
    services: dict[str, Any] = {"backend": web}
    recorder.on("config", "--format").say(json.dumps({"name": "shop", "services": services}))
    recorder.on("ps", "--all", "--format").say(ps_answer(PS_ROW))
    recorder.on("ps", "--all", "--quiet", "backend").say("c1\n")
    answer = {"vendor": "sqlite", "name": "/gone/db.sqlite3", "host": ""}
    recorder.on("shell", "--command").say(f"composed: {json.dumps(answer)}\n")
    return recorder


@pytest.fixture
def nameless(only: Recorder) -> Recorder:
    """Let the file be in a volume to which the Compose file gives no name."""
    volumes = [{"type": "volume", "target": "/gone", "volume": {}}]
    web = {"build": ".", "command": "gunicorn x", "volumes": volumes}
    only.on("config", "--format").say(json.dumps({"name": "shop", "services": {"backend": web}}))
    return only


def ask_django(inv: Inv, recorder: Recorder) -> None:
    assert inv("db.snapshot") == 78
    recorder.calls.clear()


def test_a_command_runs_in_the_container_that_has_the_file(inv: Inv, only: Recorder) -> None:
    ask_django(inv, only)

    assert inv("migrate", "--no-snapshot") == 0

    assert only.lines("run")[-1].endswith("backend python manage.py migrate")
    assert " exec " in only.lines("run")[-1]


def test_no_new_container_takes_the_place(inv: Inv, only: Recorder) -> None:
    ask_django(inv, only)

    assert inv("restart") == 77
    assert only.ran == []
    assert inv("up") == 0
    assert " --no-recreate" in next(line for line in only.lines("run") if " up " in line)


def test_a_taken_port_is_no_reason_either(inv: Inv, only: Recorder) -> None:
    ask_django(inv, only)
    only.on("ps", "--all", "--format").say(ps_answer({**PS_ROW, "Publishers": []}))
    only.taken.add(8123)

    assert inv("up") == 77

    assert "Port 8123 is taken, another port needs a new container, and only" in inv.err()
    assert only.ran == []


def test_a_container_that_is_gone_cannot_be_lost(inv: Inv, only: Recorder) -> None:
    ask_django(inv, only)
    only.on("ps", "--all", "--quiet", "backend").say("")

    assert inv("restart") == 0
    assert not any("--no-recreate" in argv for argv in only.ran)
    assert inv("destroy", "--yes") == 77  # of a database that no verb can save


def test_another_service_may_take_another_port(inv: Inv, only: Recorder) -> None:
    ask_django(inv, only)
    mail = {"image": "mail", "ports": [{"published": "8025", "target": 25}]}
    web = {"build": ".", "command": "gunicorn x"}
    model = {"name": "shop", "services": {"backend": web, "mail": mail}}
    only.on("config", "--format").say(json.dumps(model))
    only.taken.add(8025)

    inv("up")

    assert "Port 8025, for mail, is taken: using 8026" in inv.err()


@pytest.mark.parametrize("verb", ["destroy", "down --volumes"])
def test_nothing_is_removed_without_consent_to_the_loss(
    verb: str, inv: Inv, only: Recorder
) -> None:
    ask_django(inv, only)

    assert inv(*verb.split(), "--yes") == 77

    assert "only the container of backend has Django's database, /gone/db.sqlite3" in inv.err()
    assert only.ran == []
    assert inv(*verb.split(), "--no-snapshot", "--yes") == 0


def test_down_keeps_a_file_in_a_volume_without_a_name(inv: Inv, nameless: Recorder) -> None:
    ask_django(inv, nameless)

    assert inv("down") == 0

    assert nameless.lines("run") == [f"{DC} stop backend"]
    assert inv("migrate", "--no-snapshot") == 0  # a one-off would get a volume of its own
    assert " exec " in nameless.lines("run")[-1]


def test_a_new_container_gets_the_volume_of_the_old_one(inv: Inv, nameless: Recorder) -> None:
    ask_django(inv, nameless)

    assert inv("restart") == 0
    assert " --force-recreate" in next(line for line in nameless.lines("run") if " up " in line)
    assert inv("down", "--volumes", "--yes") == 77


@pytest.fixture
def beside(only: Recorder) -> dict[str, Any]:
    """Return the services of a model with a database that Django does not use, in a volume."""
    mounts = [{"type": "volume", "source": "rows", "target": "/var/lib/mysql"}]
    services: dict[str, Any] = {"backend": {"build": ".", "command": "gunicorn x"}}
    services["other"] = {"image": "mysql:8", "volumes": mounts}
    volumes = {key: {"name": f"shop_{key}"} for key in ("rows", "file", "db")}
    only.on("config", "--format").do(
        lambda _: Answer(0, json.dumps({"services": services, "volumes": volumes}), "")
    )
    only.on("volume", "ls", "--format").say("shop_rows shop\nshop_file shop\n")
    return services


@pytest.mark.parametrize("verb", ["destroy", "down --volumes"])
def test_the_volume_of_a_file_is_not_removed_for_an_idle_database(
    verb: str, inv: Inv, only: Recorder, beside: dict[str, Any]
) -> None:
    del beside["other"]
    beside["backend"]["volumes"] = [{"type": "volume", "source": "file", "target": "/gone"}]
    beside["db"] = {"image": "postgres:15"}
    for volumes in ([], [{"type": "volume", "source": "db", "target": POSTGRESQL}]):
        beside["db"]["volumes"] = volumes

        assert inv(*verb.split(), "--yes") == 77

        assert "Django uses SQLite, /gone/db.sqlite3, in no folder of this" in inv.err()
    assert only.ran == []
    assert inv(*verb.split(), "--no-snapshot", "--yes") == 0


@pytest.mark.parametrize("image", ["mysql:8", "postgres:15", "mongo"])
@pytest.mark.parametrize("verb", ["destroy", "down --volumes"])
def test_another_database_is_not_removed_without_a_snapshot(
    verb: str, image: str, inv: Inv, only: Recorder, beside: dict[str, Any]
) -> None:
    beside["other"]["image"] = image
    beside["backend"]["depends_on"] = {"db": {"condition": "service_started"}}
    beside["db"] = {"image": "postgres:15"}
    answer = {"vendor": "postgresql", "name": "shop", "host": "db"}
    only.on("shell", "--command").say(f"composed: {json.dumps(answer)}\n")

    assert inv(*verb.split(), "--yes") == 77

    assert "other is another database, in the volume shop_rows, which no verb" in inv.err()
    assert only.ran == []
    assert inv(*verb.split(), "--no-snapshot", "--yes") == 0


@pytest.mark.parametrize(("named", "kept"), [(False, True), (True, False)])
def test_uploads_in_a_volume_of_the_image_are_kept(
    named: bool, kept: bool, inv: Inv, recorder: Recorder
) -> None:
    mounts = [{"type": "volume", "target": UPLOADS}] if named else []
    web = {"build": ".", "command": "gunicorn x", "volumes": mounts}
    recorder.on("config", "--format").say(json.dumps({"services": {"backend": web, "db": {}}}))
    recorder.on("docker", "ps", "--all", "--quiet").say("c1\n")
    mount = {"Type": "volume", "Name": NAMELESS, "Destination": UPLOADS}
    row = {"service": "backend", "image": "shop", "mounts": [mount], "declared": {UPLOADS: {}}}
    recorder.on("docker", "inspect", "--format", "…mounts…").say(json.dumps(row))
    recorder.on("ps", "--all", "--format").say(ps_answer(PS_ROW, DB_ROW))

    assert inv("down") == 0

    stopped = f"{DC} stop backend" in recorder.lines("run")
    assert stopped == kept
