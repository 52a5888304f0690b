"""The verbs that act on data, in docker mode: what they send, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from composed.data.postgres import PostgreSQL
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import (
    EXEC_DB,
    FACTS,
    PG_DUMP,
    PG_RESTORE,
    PSQL_ON,
    Inv,
    ps_answer,
    snapshot_names,
)

SQL = b"--\n-- PostgreSQL database dump\n--\n-- Dumped from database version 15.2\n"
COMPLETE = b"-- PostgreSQL database dump complete\n"

pytestmark = pytest.mark.usefixtures("postgres")


@pytest.fixture
def taken(inv: Inv, recorder: Recorder) -> None:
    """A snapshot that is there."""
    assert inv("db.snapshot", "--name", "mine") == 0
    recorder.calls.clear()
    recorder.calls.clear()


def manifest(project: Project, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.snapshots / name / "manifest.json").read_text())
    return found


def change(where: Project, name: str, **values: object) -> None:
    file = where.snapshots / name / "manifest.json"
    file.write_text(json.dumps(manifest(where, name) | values))


# --- snapshot ----------------------------------------------------------------


def test_a_snapshot_is_dumped_and_counted_in_one_exported_snapshot(
    inv: Inv, recorder: Recorder, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.snapshot", "--name", "mine") == 0

    assert recorder.lines("pipe") == [f"{PSQL_ON} task_db", PG_DUMP, f"{EXEC_DB} pg_restore --list"]
    counted = recorder.fed[0]
    assert counted.index("REPEATABLE READ READ ONLY") < counted.index("pg_export_snapshot()")
    assert recorder.fed[2] == "the dump"
    assert capsys.readouterr().out == "mine: 8 B, 2 tables, 7 rows\n"
    assert manifest(project, "mine") == {
        "format": 1,
        "name": "mine",
        "project": "shop",
        "created": manifest(project, "mine")["created"],
        "reason": "",
        "engine": "postgresql",
        "version": "15.18",
        "commit": "1234567890abcdef",
        "branch": "main",
        "migrations": ["a.0001_initial"],
        "rows": {"public.a": 3, "public.b": 4},
        "size": 8,
        "checksum": "sha256:2c724c509950ce8c25c58be0a75241fb5dcb6c28f9af070005fe7f085348111a",
    }


def test_without_git_a_snapshot_has_no_commit(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    recorder.on("git", "rev-parse").say(code=127, err="No such file")

    assert inv("db.snapshot", "--name", "mine") == 0

    assert (manifest(project, "mine")["commit"], manifest(project, "mine")["branch"]) == ("", "")


@pytest.mark.parametrize(
    ("program", "code"),
    [("--dbname task_db", 74), ("pg_dump", 74), ("pg_restore --list", 74)],
)
def test_a_snapshot_that_fails_is_not_there(
    program: str, code: int, inv: Inv, recorder: Recorder, project: Project
) -> None:
    recorder.on(*program.split()).say(code=2, err="no space left\n")

    assert inv("db.snapshot") == code

    assert snapshot_names(project) == []


def test_a_count_that_breaks_off_is_74(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("--dbname", "task_db").say('00-1\n["version", "15.1"]\n', code=2, err="gone\n")

    assert inv("db.snapshot") == 74
    assert snapshot_names(project) == []


def test_a_full_disk_is_74(
    inv: Inv, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PostgreSQL, "dump", full)

    assert inv("db.snapshot") == 74

    assert "No space left on device.\n  Nothing half-made is left." in capsys.readouterr().err
    assert snapshot_names(project) == []


def test_a_folder_of_somebody_else_is_77(inv: Inv, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "data")

    monkeypatch.setattr(PostgreSQL, "dump", refused)

    assert inv("db.snapshot") == 77


@pytest.mark.parametrize("name", ["../x", ".x", "-x", "a b", "a/b", "ä", "x" * 101])
def test_a_name_that_is_none_is_64(name: str, inv: Inv, recorder: Recorder) -> None:
    assert inv("db.snapshot", f"--name={name}") == 64

    assert recorder.piped == []


def test_nothing_is_overwritten(taken: None, inv: Inv, recorder: Recorder) -> None:
    assert inv("db.snapshot", "--name", "mine") == 64

    assert recorder.piped == []


def test_two_snapshots_in_a_second_have_two_names(inv: Inv, project: Project) -> None:
    for _ in range(3):
        assert inv("db.snapshot") == 0

    assert len(snapshot_names(project)) == 3


def test_a_database_that_is_down_is_started(inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer())

    inv("db.snapshot")

    assert recorder.ran[0][-1] == "db"


def test_what_a_killed_snapshot_left_is_removed(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.snapshots / ".old.half-made").mkdir(parents=True)
    assert inv("db.list") == 0
    assert capsys.readouterr().out == "half-made: .old.half-made\n"

    inv("db.snapshot", "--name", "new")

    assert "Removed .old.half-made, which an inv that was killed" in capsys.readouterr().err
    assert snapshot_names(project) == ["new"]


# --- list and prune ----------------------------------------------------------


def test_list_shows_what_there_is(
    taken: None, inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project, "mine", created="2026-11-23T10:00:00Z", reason="before destroy")
    (project.snapshots / "broken").mkdir()
    capsys.readouterr()

    assert inv("db.list") == 0

    assert capsys.readouterr().out == (
        "NAME  MADE (UTC)           SIZE  ROWS  ENGINE            COMMIT      PROJECT  WHY\n"
        "mine  2026-11-23 10:00:00  8 B   7     postgresql 15.18  1234567890  shop     "
        "before destroy\n"
        "damaged: broken\n"
    )


def test_list_as_json(
    taken: None, inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert inv("db.list", "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["snapshots"] == [manifest(project, "mine")]
    assert (found["damaged"], found["half_made"]) == ([], [])


def test_list_without_any_says_how_to_make_one(
    inv: Inv, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.list") == 0

    assert capsys.readouterr().out == "There are no snapshots. Make one: inv db.snapshot\n"


def test_prune_removes_the_oldest_of_this_project(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 5):
        inv("db.snapshot", "--name", f"s{number}")
        change(project, f"s{number}", created=f"2026-01-0{number}T00:00:00Z")
    change(project, "s1", project="another")

    assert inv("db.prune", "--keep", "1") == 77
    assert inv("--dry", "db.prune", "--keep", "1") == 0
    assert snapshot_names(project) == ["s1", "s2", "s3", "s4"]
    capsys.readouterr()
    assert inv("db.prune", "--keep", "1", "--yes") == 0

    assert snapshot_names(project) == ["s1", "s4"]
    assert capsys.readouterr().out == "Removed s2.\nRemoved s3.\n"
    assert inv("db.prune", "--keep", "1") == 0
    assert capsys.readouterr().out == "shop has no more than 1 snapshots: none removed.\n"


@pytest.mark.parametrize("keep", ["", "x", "-1"])
def test_prune_needs_a_number(keep: str, inv: Inv) -> None:
    assert inv("db.prune", f"--keep={keep}") == 64


# --- restore -----------------------------------------------------------------


def test_a_restore_swaps_in_a_database_that_it_has_filled_and_counted(
    taken: None, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 0

    assert recorder.lines("pipe") == [
        f"{PSQL_ON} postgres",  # the server's version
        f"{PSQL_ON} postgres",  # what others left goes, the new database comes
        f"{PG_RESTORE} --dbname composed_new_CALL",
        f"{PSQL_ON} composed_new_CALL",  # the rows in it
        f"{PSQL_ON} postgres",  # the swap
        f"{PSQL_ON} postgres",  # the end of the old one
    ]
    assert "CREATE DATABASE %I TEMPLATE template0" in recorder.fed[1]
    assert recorder.fed[2] == "the dump"
    assert recorder.fed[4] == (
        'ALTER DATABASE "task_db" WITH ALLOW_CONNECTIONS false;\n'
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'task_db';\n"
        "BEGIN;\n"
        "UPDATE pg_db_role_setting"
        " SET setdatabase = (SELECT oid FROM pg_database WHERE datname = 'composed_new_CALL')\n"
        " WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = 'task_db');\n"
        'ALTER DATABASE "task_db" RENAME TO "composed_old_CALL";\n'
        'ALTER DATABASE "composed_new_CALL" RENAME TO "task_db";\n'
        "COMMIT;\n"
    )
    assert recorder.fed[5] == 'DROP DATABASE "composed_old_CALL" WITH (FORCE);'
    assert capsys.readouterr().out.endswith(
        "Restored: 2 tables, 7 rows.\nPending migrations: a.0002_more\n  Type: inv migrate\n"
    )


def test_a_restore_takes_a_snapshot_first_and_says_how_to_go_back(
    taken: None, inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.restore", "--latest", "--yes") == 0

    (automatic,) = [name for name in snapshot_names(project) if name != "mine"]
    assert automatic.endswith("Z-before-db.restore")
    assert manifest(project, automatic)["reason"] == "before db.restore"
    said = capsys.readouterr().err
    assert said.endswith(f"To bring the data back: inv db.restore --name {automatic}\n")


def test_a_restore_asks(
    taken: None, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.restore", "--latest") == 77

    assert recorder.piped == []
    said = capsys.readouterr().err
    assert "Replace all data of shop with mine of 20" in said
    assert said.endswith("To agree: inv db.restore --latest --yes\n")


@pytest.mark.parametrize("options", [(), ("--latest", "--name", "mine"), ("--from=x", "--latest")])
def test_a_restore_is_of_one_thing(options: tuple[str, ...], inv: Inv) -> None:
    assert inv("db.restore", *options) == 64


@pytest.mark.parametrize("options", ["--name none", "--latest", "--from none"])
def test_what_is_not_there_is_66(options: str, inv: Inv) -> None:
    assert inv("db.restore", *options.split(), "--yes") == 66


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": 2}, "format 2 needs a newer Composed"),
        ({"rows": None, "size": 9}, "its dump has 8 bytes of 9"),
        ({"checksum": "sha256:0"}, "the checksum of its dump is another"),
        ({"engine": "sqlite"}, "mine is of sqlite; this stack, in docker mode, has postgresql"),
        ({"version": "16.1"}, "The data is from PostgreSQL 16.1, the server is 15.18"),
        ({"migrations": 5}, "its manifest cannot be read"),
        ({"rows": {"public.a": 5}}, "public.a has 3 rows where the manifest has 5"),
        ({"rows": {"public.c": 5}}, "public.c has no rows where the manifest has 5"),
    ],
)
def test_what_the_manifest_does_not_fit_is_65(
    values: dict[str, object],
    reason: str,
    taken: None,
    inv: Inv,
    project: Project,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(project, "mine", **values)

    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 65

    assert reason in capsys.readouterr().err
    assert not any("RENAME" in script for script in recorder.fed)


def test_a_restore_that_fails_leaves_no_new_database(
    taken: None, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("--exit-on-error").say(code=1, err="pg_restore: error: disk full\n")

    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 74

    last = recorder.fed[-1]
    assert "DROP DATABASE IF EXISTS %I WITH (FORCE)" in last
    assert "'^composed_(new|old)_CALL$'" in last
    assert 'ALTER DATABASE "task_db" WITH ALLOW_CONNECTIONS true;' in last
    assert "cannot be restored; the database is as it was:\n  pg_restore: error: disk full" in (
        capsys.readouterr().err
    )


def test_a_swap_that_was_cut_off_is_healed_by_the_next_verb(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    swaps = project.root / ".composed/shop/swaps"
    swaps.mkdir(parents=True)
    (swaps / "c0ffee").touch()

    recorder.on("--dbname", "postgres").say(code=1, err="db is not running\n")
    inv("ps")
    assert list(swaps.iterdir()) != []
    recorder.on("--dbname", "postgres").say()
    inv("ps")

    assert list(swaps.iterdir()) == []
    assert "_c0ffee$" in recorder.fed[-1]


def test_a_database_called_postgres_is_swapped_from_another(
    taken: None, inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_DB", "postgres")
    recorder.on("--dbname", "template1").say("15.18\n")

    assert inv("db.reset", "--no-snapshot", "--yes") == 0

    assert {argv[-1] for argv in recorder.piped} == {"template1"}


@pytest.mark.parametrize(("applied", "said"), [(["a.0001_initial", "a.0009_later"], True)])
def test_migrations_that_the_code_lacks_are_named(
    applied: list[str],
    said: bool,
    taken: None,
    inv: Inv,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = "".join(f'["migration", "{name}"]\n' for name in [*applied, "gone.0001_initial"])
    recorder.on("--dbname", "composed_new_CALL").say(more + FACTS)

    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 0

    assert "The code does not have: a.0009_later\n" in capsys.readouterr().out


def test_a_backend_that_runs_says_which_migrations_differ(
    taken: None,
    inv: Inv,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = '{"pending": [], "unknown": ["a.1", "a.2", "a.3", "a.4"]}'
    recorder.http = lambda url: (200, body if url.endswith("8123/readyz") else "")

    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 0

    assert "The code does not have: a.1, a.2, a.3 and 1 more\n" in capsys.readouterr().out
    assert not any("showmigrations" in argv for argv in recorder.asked)


def test_code_that_does_not_load_is_said(
    taken: None, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("showmigrations").say(code=1, err="Traceback\nImportError: x\n")

    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 0

    assert "pending is not known: ImportError: x\n" in capsys.readouterr().out


def test_a_backend_that_is_down_is_asked_in_a_container_of_its_own(
    taken: None, inv: Inv, recorder: Recorder
) -> None:
    recorder.on("ps", "--services").say("db\n")
    recorder.on("exec", "--no-TTY", "backend").say(code=1, err='service "backend" is not running')

    assert inv("db.restore", "--name", "mine", "--no-snapshot", "--yes") == 0

    assert recorder.asked[-1][4:8] == ["run", "--rm", "--no-deps", "--no-TTY"]


# --- from elsewhere ----------------------------------------------------------


def test_an_sql_dump_is_fed_to_psql(
    inv: Inv, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "dump.sql"
    file.write_bytes(SQL + COMPLETE)

    assert inv("db.restore", "--from", str(file), "--no-snapshot", "--yes") == 0

    fed = recorder.piped.index([*f"{PSQL_ON} composed_new_CALL --output /dev/null".split()])
    assert recorder.fed[fed].encode() == file.read_bytes()


def test_the_rights_of_other_roles_are_left_out_of_a_custom_dump(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    (project.root / "dump").write_bytes(b"PGDMP...")

    assert inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes") == 0

    assert f"{PG_RESTORE} --no-privileges --dbname composed_new_CALL" in recorder.lines("pipe")


def test_a_custom_dump_that_cannot_be_read_is_65(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    (project.root / "dump").write_bytes(b"PGDMP...")
    recorder.on("pg_restore", "--list").say(code=1, err="unsupported version (1.99)\n")

    assert inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes") == 65


# --- guards ------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["down --volumes", "destroy", "db.reset"])
def test_what_destroys_data_asks_then_takes_a_snapshot(
    verb: str,
    inv: Inv,
    recorder: Recorder,
    project: Project,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert inv(*verb.split()) == 77
    assert f"To agree: inv {verb} --yes\n" in capsys.readouterr().err
    assert (recorder.piped, recorder.ran) == ([], [])

    assert inv(*verb.split(), "--yes") == 0
    (automatic,) = snapshot_names(project)
    assert manifest(project, automatic)["reason"] == f"before {verb}"
    assert f"inv db.restore --name {automatic}\n" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["down --volumes", "destroy", "db.reset"])
def test_without_a_snapshot_none_is_taken(
    verb: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    assert inv(*verb.split(), "--no-snapshot", "--yes") == 0

    assert not project.snapshots.exists()
    assert not any("pg_dump" in argv for argv in recorder.piped)


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_data_that_cannot_be_saved_is_not_removed(
    verb: str, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("ps", "--all").say(ps_answer())
    recorder.on("up").say(code=1)

    assert inv(*verb.split(), "--yes") == 77

    assert [argv[4] for argv in recorder.ran] == ["up"]
    assert f"  Without one, for good: inv {verb} --no-snapshot --yes\n" in capsys.readouterr().err


def test_without_a_volume_there_is_nothing_to_save(inv: Inv, recorder: Recorder) -> None:
    recorder.on("volume", "ls", "--format").say()

    assert inv("down", "--volumes", "--yes") == 0

    assert recorder.piped == []


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_a_volume_of_another_project_stays(
    verb: str, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("volume", "ls", "--format").say("shop_db-data other\n")

    assert inv(*verb.split(), "--no-snapshot", "--yes") == 77

    assert recorder.ran == []
    assert capsys.readouterr().err == (
        "Volume shop_db-data belongs to another project, other.\n"
        "  Give db-data another name in the Compose file\n"
    )


def test_the_setting_of_a_volume_of_another_project_is_named(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("volume", "ls", "--format").say("shop_db-data other\n")
    volumes = {"db-data": {"name": "${DATA_VOLUME:-shop_db-data}"}}
    recorder.on("config", "--no-interpolate").say(json.dumps({"volumes": volumes}))

    assert inv("destroy", "--no-snapshot", "--yes") == 77

    assert "  Name one of your own: DATA_VOLUME in .env\n" in capsys.readouterr().err


def test_destroy_removes_what_bears_the_label_and_our_files(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    recorder.on("image", "ls").say("i1\ni1\n")
    recorder.on("volume", "ls", "--quiet").say("v\n")

    assert inv("destroy", "--no-snapshot", "--yes") == 0

    down = "docker compose --env-file .env down --remove-orphans --volumes --rmi local"
    assert recorder.lines("run") == [down]
    label = ["--filter", "label=com.docker.compose.project=shop"]
    assert ["docker", "image", "ls", "--quiet", *label] in recorder.asked
    assert ["docker", "image", "rm", "--force", "i1"] in recorder.asked
    assert ["docker", "volume", "rm", "v"] in recorder.asked
    assert not (project.root / ".composed/shop").exists()
    assert (project.root / ".env").exists()


def test_destroy_says_what_the_engine_refuses(inv: Inv, recorder: Recorder) -> None:
    recorder.on("network", "ls").say("n\n")
    recorder.on("network", "rm").say(code=1, err="has active endpoints\n")

    assert inv("destroy", "--no-snapshot", "--yes") == 74


@pytest.mark.parametrize(
    ("words", "programs"),
    [
        ("db.snapshot", ["pg_dump"]),
        ("db.restore --name mine", ["pg_dump", "pg_restore"]),
        ("db.restore --name mine --no-snapshot", ["pg_restore"]),
        ("db.reset", ["pg_dump"]),
        ("down --volumes", ["pg_dump", "down"]),
        ("destroy", ["pg_dump", "down"]),
    ],
)
def test_a_dry_run_shows_and_changes_nothing(
    words: str,
    programs: list[str],
    taken: None,
    inv: Inv,
    recorder: Recorder,
    project: Project,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(project.root.rglob("*"))
    recorder.calls.clear()

    assert inv("--dry", *words.split()) == 0

    shown = [*capsys.readouterr().err.split(), *(word for argv in recorder.ran for word in argv)]
    assert [word for word in shown if word in ("pg_dump", "pg_restore", "down")] == programs
    assert not [argv for argv in recorder.asked if "rm" in argv]
    assert recorder.piped == []
    assert sorted(project.root.rglob("*")) == before
