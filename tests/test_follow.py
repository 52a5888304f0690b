"""The database that Django uses: asked once, followed or refused."""

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from composed.data.connection import Connection
from composed.docker import file_store
from composed.docker.follow import check, file_on_host
from composed.docker.inside import ContainerInside
from composed.docker.model import Model
from composed.docker.only_copy import ends_with_container
from composed.errors import ComposedError
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import DB_ROW, PS_ROW, Inv, ps_answer

DJANGO: dict[str, str] = {"vendor": "postgresql", "name": "task_db", "host": "db"}
SERVICES: dict[str, Any] = {
    "web": {"command": "python manage.py runserver", "build": "."},
    "db": {"image": "postgres:15", "container_name": "pg", "environment": {"POSTGRES_USER": "cp"}},
    "pool": {"image": "edoburu/pgbouncer"},
    "other": {"image": "postgres:15", "networks": {"default": {"aliases": ["second"]}}},
}
MODEL = Model({"services": SERVICES})


def of(**about: str) -> Connection:
    values = DJANGO | about
    return Connection(values["vendor"], values["name"], values["host"])


def refused(**about: str) -> str:
    """Return the exit code and the error for a database of Django, "" for none."""
    try:
        check(of(**about), MODEL, about.pop("service", "db"), "web")
    except ComposedError as error:
        return f"{error.code} {error}"
    return ""


@pytest.mark.parametrize("host", ["db", "pg", "pool"])
def test_the_database_of_the_service_is_followed(host: str) -> None:
    assert refused(host=host) == ""


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"vendor": "mysql"}, "66 Django uses mysql: the verbs on data support PostgreSQL and"),
        ({"vendor": "sqlite", "name": "/x"}, "78 Django uses SQLite, /x, in no folder of this"),
        ({"host": "example.org"}, "78 Django uses the database on example.org, not service db."),
        ({"host": ""}, "78 Django uses the database on a socket, not service db."),
        ({"host": "second"}, '[tool.composed] database = "other"'),
    ],
)
def test_another_database_is_refused(about: dict[str, str], words: str) -> None:
    assert words in refused(**about)


def test_a_server_elsewhere_is_not_supported_without_a_service() -> None:
    with pytest.raises(ComposedError, match=r"PostgreSQL on db.example, which is no service"):
        check(of(host="db.example"), MODEL, "", "web")


def test_a_file_is_found_through_the_innermost_mount() -> None:
    volumes = [
        {"type": "bind", "source": "/src", "target": "/code"},
        {"type": "bind", "source": "/data", "target": "/code/data"},
        {"type": "volume", "source": "kept", "target": "/kept"},
        {"type": "volume", "target": "/nameless"},
    ]
    web = Model({"services": {"web": {"volumes": volumes}}}).service("web")

    assert file_on_host(web, "/code/db.sqlite3") == Path("/src/db.sqlite3")
    assert file_on_host(web, "/code/data/db.sqlite3") == Path("/data/db.sqlite3")
    assert file_on_host(web, "/kept/db.sqlite3") is None
    assert file_on_host(web, "/app/db.sqlite3") is None

    lost = {
        path: ends_with_container(Connection("sqlite", path, ""), web.mounts)
        for path in ("/code/db", "/kept/db", "/app/db", "/nameless/db", ":memory:")
    }
    assert [path for path, is_lost in lost.items() if is_lost] == ["/app/db", "/nameless/db"]


@pytest.fixture
def detected(postgres: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Let the database service be found, and Django answer; the file is in a mount."""
    found = replace(project, backend="", database="")
    monkeypatch.setattr(Project, "of", lambda _c: found)
    mount = {"type": "bind", "source": str(project.root / "server"), "target": "/app"}
    login = {"POSTGRES_USER": "cp_user", "POSTGRES_DB": "task_db"}
    db = {"image": "postgres:15", "environment": login}
    services = {"backend": {"build": ".", "command": "gunicorn x", "volumes": [mount]}, "db": db}
    postgres.on("config", "--format").say(json.dumps({"services": services}))
    postgres.on("ps", "--all", "--format").say(ps_answer(PS_ROW, DB_ROW))
    return postgres


def say(recorder: Recorder, **about: str) -> None:
    answer = f"2 objects imported\ncomposed: {json.dumps(DJANGO | about)}\n"
    recorder.on("shell", "--command").say(answer)


def asked(recorder: Recorder) -> int:
    return sum("shell" in argv for argv in recorder.asked)


def test_django_is_asked_once_and_again_after_a_change(
    inv: Inv, detected: Recorder, project: Project
) -> None:
    say(detected)

    assert [inv("db.snapshot") for _ in range(2)] == [0, 0]
    assert asked(detected) == 1

    (project.root / "server/.env").write_text("A=1\n")
    assert inv("db.snapshot") == 0
    assert asked(detected) == 2


def test_the_name_that_django_uses_is_the_live_database(inv: Inv, detected: Recorder) -> None:
    say(detected, name="another")

    inv("dbshell")

    assert detected.lines("run")[-1].split()[-5:-2] == ["cp_user", "--dbname", "another"]


def test_a_snapshot_of_a_database_that_django_does_not_use_is_refused(
    inv: Inv, detected: Recorder
) -> None:
    say(detected, host="example.org")

    assert inv("db.snapshot") == 78
    assert "inv migrate" not in inv.err()
    assert inv("migrate") == 78
    assert "  To migrate without a snapshot: inv migrate --no-snapshot\n" in inv.err()
    assert detected.of("run") == []
    assert inv("migrate", "--no-snapshot") == 0


def test_migrations_of_mysql_run_without_a_snapshot(inv: Inv, detected: Recorder) -> None:
    say(detected, vendor="mysql")

    assert inv("migrate") == 0
    assert "No snapshot is taken. Django uses mysql" in inv.err()
    assert inv("db.snapshot") == 66


def file_with_a_note(project: Project) -> Path:
    file = project.root / "server/db.sqlite3"
    with closing(sqlite3.connect(file)) as live, live:
        live.execute("CREATE TABLE note (text)")
        live.execute("INSERT INTO note VALUES ('milk')")
    return file


def test_a_sqlite_file_in_a_mount_is_saved_and_restored(
    inv: Inv, detected: Recorder, project: Project
) -> None:
    say(detected, vendor="sqlite", name="/app/db.sqlite3")
    file = file_with_a_note(project)

    assert inv("db.snapshot", "--name", "one") == 0
    with closing(sqlite3.connect(file)) as live, live:
        live.execute("DELETE FROM note")
    assert inv("db.restore", "--name", "one", "--yes") == 0

    with closing(sqlite3.connect(file)) as live, live:
        assert live.execute("SELECT text FROM note").fetchall() == [("milk",)]
    assert [argv[-1] for argv in detected.ran] == ["stop", "db"]  # stopped, then started again
    assert [path.name for path in file.parent.iterdir()] == ["db.sqlite3"]
    assert (project.snapshots / ".gitignore").read_text() == "*\n"


OWNER = os.stat_result((0o40755, 1, 1, 1, 1001, 1002, 0, 0, 0, 0))


@pytest.mark.parametrize("uid", [0, 999, 1001])
def test_a_sqlite_file_that_root_made_gets_the_owner_of_the_project(
    uid: int, inv: Inv, detected: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Project, "owner", OWNER)
    monkeypatch.setattr(file_store, "_uid", lambda path: uid if path.exists() else None)
    monkeypatch.setattr(ContainerInside, "_owner", lambda _: ["--user", "1001:1002"])
    say(detected, vendor="sqlite", name="/app/db.sqlite3")
    file_with_a_note(project).with_name("db.sqlite3-wal").touch()

    for verb in (["db.snapshot"], ["manage", "--", "check"], ["dbshell"]):
        detected.calls.clear()
        inv(*verb)

        changes = [argv[argv.index("chown") + 1 :] for argv in detected.asked if "chown" in argv]
        given = ["backend", "1001:1002", "/app/db.sqlite3", "/app/db.sqlite3-wal", "/app"]
        assert changes == ([] if uid else [given]), verb


def test_without_an_answer_of_django_the_service_counts(inv: Inv, detected: Recorder) -> None:
    detected.on("shell", "--command").say("", code=1, err="Traceback\nKeyError: 'X'\n")

    assert inv("db.snapshot") == 0
    assert "Which database Django uses is not known: KeyError: 'X'" in inv.err()


def test_without_an_answer_of_django_its_last_answer_counts(
    inv: Inv, detected: Recorder, project: Project
) -> None:
    say(detected, vendor="sqlite", name="/app/db.sqlite3")
    file_with_a_note(project)
    assert inv("db.snapshot", "--name", "one") == 0
    detected.on("shell", "--command").say("", code=1, err="Traceback\nKeyError: 'X'\n")
    (project.root / "server/.env").write_text("A=1\n")

    assert inv("db.snapshot", "--name", "two") == 0

    assert "is not known: KeyError: 'X'\n  Taken from its last answer: sqlite, /app/" in inv.err()
    assert json.loads((project.snapshots / "two/manifest.json").read_text())["engine"] == "sqlite"


def test_without_an_answer_and_without_a_service_the_reason_is_shown(
    inv: Inv, detected: Recorder
) -> None:
    services = {"backend": {"build": ".", "command": "gunicorn x"}}
    detected.on("config", "--format").say(json.dumps({"services": services}))
    detected.on("shell", "--command").say("", code=1, err="Traceback\nKeyError: 'X'\n")

    assert inv("db.snapshot") == 75
    assert inv.err().endswith(
        "Which database Django uses is not known: KeyError: 'X'\n  Type: inv manage -- check\n"
    )


def test_down_keeps_a_container_that_has_the_only_file(inv: Inv, detected: Recorder) -> None:
    say(detected, vendor="sqlite", name="/gone/db.sqlite3")
    assert inv("db.snapshot") == 78
    detected.calls.clear()

    assert inv("down") == 0

    removed, stopped = (" ".join(argv[4:]) for argv in detected.ran)
    assert (removed, stopped) == ("rm --stop --force db", "stop backend")
    assert "Stopped, but not removed: backend." in inv.err()


@pytest.mark.parametrize("verb", ["ps", "down", "logs"])
def test_a_leftover_blocks_no_verb_while_the_settings_do_not_load(
    verb: str, inv: Inv, detected: Recorder, project: Project
) -> None:
    services = {"backend": {"build": ".", "command": "gunicorn x"}}
    detected.on("config", "--format").say(json.dumps({"services": services}))
    detected.on("shell", "--command").say("", code=1, err="Traceback\nKeyError: 'X'\n")
    left = project.root / ".composed/shop/file-swaps/killed"
    left.parent.mkdir(parents=True)
    left.touch()

    assert inv(verb) == 0
    assert left.exists()  # for a verb that knows the file
