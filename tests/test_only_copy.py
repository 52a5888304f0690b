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
FILE = "/gone/db.sqlite3"
STOP, DOWN = f"{DC} stop backend", f"{DC} down --remove-orphans"


def say(recorder: Recorder, vendor: str, name: str) -> None:
    """Let Django answer; an empty ``vendor`` is a Django that does not start."""
    answer = {"vendor": vendor, "name": name, "host": "db"}
    prepared = recorder.on("shell", "--command")
    if vendor:
        prepared.say(f"composed: {json.dumps(answer)}\n")
    else:
        prepared.say(code=1, err="Traceback\nKeyError: 'X'\n")


@pytest.fixture(autouse=True)
def only(project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Let Django have answered before that its database is in the container."""
    monkeypatch.setattr(Project, "of", lambda _c: replace(project, backend="", database=""))
    web = {"build": ".", "command": "gunicorn x", "ports": [{"published": "8123", "target": 8000}]}
    services: dict[str, Any] = {"backend": web}
    recorder.on("config", "--format").say(json.dumps({"name": "shop", "services": services}))
    recorder.on("ps", "--all", "--format").say(ps_answer(PS_ROW))
    recorder.on("ps", "--all", "--quiet", "backend").say("c1\n")
    say(recorder, "sqlite", FILE)
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


def change_settings(project: Project) -> None:
    (project.root / "server/.env").write_text("A=1\n")


@pytest.mark.parametrize(
    ("vendor", "name", "last"),
    [
        ("sqlite", FILE, STOP),
        ("sqlite", ":memory:", DOWN),
        ("postgresql", "shop", DOWN),
    ],
)
def test_down_asks_the_django_of_a_plain_docker_compose_up(
    vendor: str, name: str, last: str, inv: Inv, only: Recorder, project: Project
) -> None:
    say(only, vendor, name)

    assert inv("down") == 0

    assert only.lines("run") == [last]
    assert any(" exec " in line and " shell " in line for line in only.lines("ask"))
    # A container may be older than the settings, for which other verbs ask.
    assert not [*(project.root / ".composed/shop").glob("django*")]


@pytest.mark.parametrize(
    ("before", "now", "last"),
    [("sqlite", "postgresql", DOWN), ("postgresql", "sqlite", STOP), ("sqlite", "", STOP)],
)
def test_down_trusts_an_old_answer_only_without_a_new_one(
    before: str, now: str, last: str, inv: Inv, only: Recorder, project: Project
) -> None:
    say(only, before, FILE)
    inv("db.snapshot")
    change_settings(project)
    only.calls.clear()
    say(only, now, FILE)

    assert inv("down") == 0

    assert only.lines("run") == [last]


def test_down_stops_a_backend_of_which_nothing_is_known(inv: Inv, only: Recorder) -> None:
    say(only, "", "")
    mail = {**PS_ROW, "Service": "mail"}
    web = {"build": ".", "command": "gunicorn x"}
    model = {"name": "shop", "services": {"backend": web, "mail": {"image": "mail"}}}
    only.on("config", "--format").say(json.dumps(model))
    only.on("config", "--services").say("backend\nmail\n")
    only.on("ps", "--all", "--format").say(ps_answer(PS_ROW, mail))

    assert inv("down") == 0

    assert only.lines("run") == [f"{DC} rm --stop --force mail", STOP]
    assert inv.err().endswith(
        "Stopped, but not removed: backend. Django gives no answer, so its database may be a SQLite"
        " file that only this container has.\n"
        "  To remove the container too: inv dc -- rm --force backend\n"
    )


def test_django_is_not_asked_where_the_answer_is_known(
    inv: Inv, only: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_django(inv, only)
    assert inv("down") == 0  # the record is fresh
    change_settings(project)
    only.on("ps", "--all", "--quiet", "backend").say("")
    assert inv("down") == 0  # there is no container
    named = replace(project, backend="", database="db")
    monkeypatch.setattr(Project, "of", lambda _c: named)
    assert inv("down") == 0  # a key names PostgreSQL

    assert not any("shell" in line for line in only.lines("ask"))


@pytest.mark.parametrize("kind", ["A", "C", "D"])
def test_a_django_that_never_answered_can_be_corrected(kind: str, inv: Inv, only: Recorder) -> None:
    say(only, "", "")
    changes = f"C /usr\n{kind} /srv/db.sqlite3\nA /usr/lib/sqlite3/base.cpython-313.pyc\n"
    only.on("docker", "diff").say(changes)
    has_file = kind != "D"

    assert inv("restart") == (77 if has_file else 0)
    assert ("has Django's database, /srv/db.sqlite3" in inv.err()) == has_file
    only.calls.clear()
    assert inv("up") == 0
    (up,) = (line for line in only.lines("run") if " up " in line)
    assert (" --no-recreate" in up) == has_file
    assert (
        "only the container of backend has Django's database, /srv/db." in inv.err()
    ) == has_file


def test_the_start_of_another_service_asks_nothing(inv: Inv, only: Recorder) -> None:
    model = {"name": "shop", "services": {"backend": {"build": "."}, "mail": {"image": "mail"}}}
    only.on("config", "--format").say(json.dumps(model))
    only.on("docker", "diff").say("A /srv/db.sqlite3\n")

    inv("up", "--service", "mail")

    assert not any(" exec " in line and "shell" in line for line in only.lines("ask"))


def mount_the_folder(recorder: Recorder) -> None:
    """Change the Compose file, and leave the container that has the file as it is."""
    mount = {"type": "bind", "source": "/srv", "target": "/gone"}
    web = {"build": ".", "command": "gunicorn x", "volumes": [mount]}
    recorder.on("config", "--format").say(
        json.dumps({"name": "shop", "services": {"backend": web}})
    )
    recorder.on("{{json .Mounts}}").say("[]")


def test_a_mount_that_the_container_lacks_saves_nothing(inv: Inv, only: Recorder) -> None:
    ask_django(inv, only)
    mount_the_folder(only)

    assert inv("up") == 77
    assert inv.err().endswith(
        "The Compose file has another place for the data, and only the container of backend has "
        f"Django's database, {FILE}.\n"
        f"  Save the file: inv dc -- cp backend:{FILE} .\n"
        "  Then type: inv dc -- rm --stop --force backend\n"
        "  Put the file into that place: inv up\n"
    )
    assert inv("restart") == 77
    assert only.ran == []
    assert inv("down") == 0
    assert only.lines("run") == [STOP]


def test_a_service_that_left_the_file_keeps_what_its_container_wrote(
    inv: Inv, only: Recorder
) -> None:
    only.on("config", "--format").say(json.dumps({"services": {"site": {"build": "."}}}))
    only.on("config", "--services").say("site\n")
    only.on("ps", "--all", "--format").say(ps_answer({**PS_ROW, "ID": "c7"}))
    only.on("docker", "diff", "c7").say("A /data/db.sqlite3\n")

    assert inv("down") == 0

    assert not any("rm" in call.argv or "down" in call.argv for call in only.calls)


ROWS = {"service": "db", "image": "postgres:15", "env": ["PGDATA=/pgdata"], "mounts": []}


@pytest.mark.parametrize("volume", ["", NAMELESS])
@pytest.mark.parametrize("target", ["", "/pgdata"])
def test_a_new_container_without_the_rows_is_not_made(
    volume: str, target: str, inv: Inv, recorder: Recorder
) -> None:
    say(recorder, "postgresql", "task_db")
    mounts = [{"type": "volume", "source": "rows", "target": target}] if target else []
    services = {"backend": {"build": "."}, "db": {"image": "postgres:15", "volumes": mounts}}
    recorder.on("config", "--format").say(
        json.dumps({"services": services, "volumes": {"rows": {}}})
    )
    recorder.on("docker", "ps", "--all", "--quiet").say("c1\n")
    own = [{"Type": "volume", "Name": volume, "Destination": "/pgdata"}] if volume else []
    recorder.on("docker", "inspect", "--format", "…mounts…").say(json.dumps(ROWS | {"mounts": own}))
    is_lost = bool(target or not volume)

    assert (inv("restart") == 77) == is_lost
    assert ("only the container of db has its data, /pgdata." in inv.err()) == is_lost
    recorder.calls.clear()
    assert (inv("up") == 77) == bool(target)
    ups = [line for line in recorder.lines("run") if " up " in line]
    assert any("--no-recreate" in line for line in ups) == (is_lost and not target)
    assert ("inv dc -- start db && inv db.snapshot" in inv.err()) == is_lost


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_no_volume_without_a_name_is_left(verb: str, inv: Inv, recorder: Recorder) -> None:
    say(recorder, "postgresql", "task_db")
    recorder.on("docker", "ps", "--all", "--quiet").say("c1\n")
    mount = {"Type": "volume", "Name": NAMELESS, "Destination": POSTGRESQL}
    named = {"Type": "volume", "Name": "shop_rows", "Destination": "/rows"}
    row = {"service": "db", "image": "postgres:15", "mounts": [mount, named]}
    recorder.on("docker", "inspect", "--format", "…mounts…").say(json.dumps(row))

    assert inv(*verb.split(), "--no-snapshot", "--yes") == 0

    assert ["docker", "volume", "rm", "--force", NAMELESS] in [call.argv for call in recorder.calls]


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


@pytest.mark.parametrize("verb", ["destroy", "down --volumes"])
def test_a_file_in_the_container_counts_where_no_volume_exists(
    verb: str, inv: Inv, only: Recorder, beside: dict[str, Any]
) -> None:
    del beside["other"]
    mounts = [{"type": "volume", "source": "db", "target": POSTGRESQL}]
    beside["db"] = {"image": "postgres:15", "volumes": mounts}
    only.on("volume", "ls", "--format").say("")

    assert inv(*verb.split(), "--yes") == 77

    assert "only the container of backend has Django's database" in inv.err()


@pytest.mark.parametrize("image", ["mysql:8", "postgres:15", "mongo"])
@pytest.mark.parametrize("verb", ["destroy", "down --volumes"])
def test_another_database_is_not_removed_without_a_snapshot(
    verb: str, image: str, inv: Inv, only: Recorder, beside: dict[str, Any]
) -> None:
    beside["other"]["image"] = image
    beside["backend"]["depends_on"] = {"db": {"condition": "service_started"}}
    beside["db"] = {"image": "postgres:15"}
    say(only, "postgresql", "shop")

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
    say(recorder, "postgresql", "shop")

    assert inv("down") == 0

    stopped = f"{DC} stop backend" in recorder.lines("run")
    assert stopped == kept
