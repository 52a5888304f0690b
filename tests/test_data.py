"""The verbs that act on data in docker mode: the commands that they send, and their refusals."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from composed.data.archive import UNPACK
from composed.data.postgres import PostgreSQL
from composed.data.psql import Psql
from composed.data.snapshots import Snapshots
from composed.docker.volume.server import TemporaryServer
from composed.gateway import Answer
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import (
    DB_ROW,
    EXEC_DB,
    FACTS,
    PG_DUMP,
    PG_RESTORE,
    PSQL_ON,
    ROOT,
    Inv,
    MonkeyPatch,
    model,
    ps_answer,
    snapshot_names,
)

SQL = b"--\n-- PostgreSQL database dump\n--\n-- Dumped from database version 15.2\n"
COMPLETE = b"-- PostgreSQL database dump complete\n"
LATER = '["migration", "a.0009_later"]\n["migration", "gone.0001_initial"]\n'

DATABASES = TemporaryServer.databases
CLOSED = "composed_closed_9548dde6_CALL"  # the hash tells the databases of a volume apart
RESTORE = ("db.restore", "--name", "mine", "--no-snapshot", "--yes")

pytestmark = pytest.mark.usefixtures("postgres")


@pytest.fixture
def mine(inv: Inv, postgres: Recorder, project: Project) -> Path:
    """Take the snapshot ``mine`` and return the manifest."""
    assert inv("db.snapshot", "--name", "mine") == 0
    postgres.calls.clear()
    inv.out()
    return project.snapshots / "mine/manifest.json"


def manifest(project: Project, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((project.snapshots / name / "manifest.json").read_text())
    return values


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# --- order -------------------------------------------------------------------


def test_the_newest_snapshot_is_the_one_taken_last_whatever_the_clock_says(
    inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    take_at(inv, monkeypatch, ahead=2031, right=2026)

    assert [line.split()[0] for line in inv.out().splitlines()] == ["ahead:", "right:"]
    assert inv("db.list") == 0
    assert [line.split()[0] for line in inv.out().splitlines()] == ["NAME", "ahead", "right"]
    assert inv("db.restore", "--latest", "--no-snapshot") == 77
    assert "with right of 2026-" in inv.err()
    assert inv("db.prune", "--keep", "1", "--yes") == 0
    assert snapshot_names(project) == ["right"]


def test_a_number_is_never_used_again(inv: Inv, project: Project, monkeypatch: MonkeyPatch) -> None:
    take_at(inv, monkeypatch, one=2026, two=2027)
    inv("db.prune", "--keep", "0", "--yes")

    take_at(inv, monkeypatch, three=2025)

    assert manifest(project, "three")["number"] == 3


@pytest.mark.parametrize("spoil", [lambda file: file.write_text("odd"), Path.mkdir, os.mkfifo])
def test_without_the_counter_the_manifests_keep_the_order(
    spoil: Callable[[Path], object], inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    take_at(inv, monkeypatch, one=2031, two=2030)
    counter = project.snapshots.parent / ".snapshots.counter"
    counter.unlink()
    spoil(counter)

    take_at(inv, monkeypatch, three=2026)

    assert manifest(project, "three")["number"] == 3


def test_many_inv_at_once_get_different_numbers(mine: Path, project: Project) -> None:
    """Of several stacks in a folder: the lock on the data is each stack's own."""
    script = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from composed.data.snapshots import Snapshots\n"
        "store, word = Snapshots(Path(sys.argv[1])), sys.argv[2]\n"
        "for number in range(5):\n"
        "    with store.draft(f'{word}{number}'):\n"
        "        store.keep(replace(store.get('mine').manifest, name=f'{word}{number}'))"
    )
    argv = [sys.executable, "-c", script, str(project.snapshots)]
    processes = [subprocess.Popen([*argv, word], cwd=ROOT) for word in "abcd"]

    assert [process.wait() for process in processes] == [0] * 4

    numbers = [manifest(project, name)["number"] for name in snapshot_names(project)]
    assert sorted(numbers) == list(range(1, 22))


def test_snapshots_from_before_they_were_counted_come_first_by_time(
    inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    take_at(inv, monkeypatch, new=2020, later=2024, earlier=2023)
    for name in ("later", "earlier"):
        file = project.snapshots / name / "manifest.json"
        values = json.loads(file.read_text())
        del values["number"]
        file.write_text(json.dumps(values))
    inv.out()

    inv("db.list", "--json")

    listed = json.loads(inv.out())["snapshots"]
    assert [snapshot["name"] for snapshot in listed] == ["earlier", "later", "new"]


def take_at(inv: Inv, monkeypatch: MonkeyPatch, **years: int) -> None:
    """Take a snapshot of each name, in this order, while the clock shows the year."""
    for name, year in years.items():

        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None, year: int = year) -> "Clock":
                return cls(year, 1, 31, 12, tzinfo=tz)

        monkeypatch.setattr("composed.data.actions.datetime", Clock)
        assert inv("db.snapshot", "--name", name) == 0


# --- snapshot ----------------------------------------------------------------


def test_dump_and_count_share_a_snapshot(inv: Inv, recorder: Recorder, project: Project) -> None:
    assert inv("db.snapshot", "--name", "mine") == 0

    assert recorder.lines("pipe") == [f"{PSQL_ON} task_db", PG_DUMP, f"{EXEC_DB} pg_restore --list"]
    script = recorder.fed[0]
    assert script.index("REPEATABLE READ READ ONLY") < script.index("pg_export_snapshot()")
    assert recorder.fed[2] == "the dump"
    assert inv.out() == "mine: 8 B, 2 tables, 7 rows\n"
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
        "number": 1,
        "migrations": ["a.0001_initial"],
        "rows": {"public.a": 3, "public.b": 4},
        "size": 8,
        "checksum": "sha256:2c724c509950ce8c25c58be0a75241fb5dcb6c28f9af070005fe7f085348111a",
        "search_path": "public",
        "roles": [],
        "database": "",
        "locale": "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
    }


def test_without_git_there_is_no_commit(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("git", "rev-parse").say(code=127, err="No such file")

    assert inv("db.snapshot", "--name", "mine") == 0

    assert (manifest(project, "mine")["commit"], manifest(project, "mine")["branch"]) == ("", "")


# The program fails without an answer, or after the first answers.
@pytest.mark.parametrize("out", ["", '00000 00-1\n["version", "15.1"]\n'])
@pytest.mark.parametrize("program", ["--dbname task_db", "pg_dump", "pg_restore --list"])
def test_a_failed_snapshot_leaves_nothing(
    program: str, out: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    recorder.on(*program.split()).say(out, code=2, err="no space left\n")

    assert inv("db.snapshot") == 74

    assert snapshot_names(project) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 74, "device.\n  Nothing half-made is left.\n"),
        (PermissionError(13, "Permission denied", "x"), 77, "x cannot be written: Permission d"),
    ],
)
def test_a_fault_of_the_disk_is_explained(
    error: OSError, code: int, message: str, inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(PostgreSQL, "dump", fail)

    assert inv("db.snapshot") == code

    assert message in inv.err()
    assert snapshot_names(project) == []


@pytest.mark.parametrize("name", ["../x", ".x", "-x", "a b", "a/b", "ä", "x" * 101, "mine"])
def test_a_wrong_or_taken_name_is_64(name: str, mine: Path, inv: Inv, recorder: Recorder) -> None:
    assert inv("db.snapshot", f"--name={name}") == 64

    assert recorder.piped == []


def test_snapshots_of_the_same_second_have_different_names(inv: Inv, project: Project) -> None:
    for _ in range(3):
        assert inv("db.snapshot") == 0

    assert len(snapshot_names(project)) == 3


def test_a_database_that_is_down_is_started(inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say()

    inv("db.snapshot")

    assert recorder.ran[0][-1] == "db"


@pytest.mark.parametrize(("code", "started"), [(0, False), (2, True)])
def test_an_answer_of_the_database_counts_more_than_its_health(
    code: int, started: bool, inv: Inv, postgres: Recorder
) -> None:
    postgres.on("ps", "--all").say(ps_answer({**DB_ROW, "Health": "unhealthy"}))
    postgres.on("…pg_isready…").say(code=code)

    inv("db.snapshot")

    assert any("up" in argv for argv in postgres.ran) == started


def test_a_half_made_snapshot_is_listed_and_then_removed(inv: Inv, project: Project) -> None:
    (project.snapshots / ".old.half-made").mkdir(parents=True)
    assert inv("db.list") == 0
    assert inv.out() == "half-made: .old.half-made\n"

    inv("db.snapshot", "--name", "new")

    assert "Removed .old.half-made, which an inv that was killed" in inv.err()
    assert snapshot_names(project) == ["new"]


def test_a_snapshot_that_another_stack_makes_now_is_left_alone(inv: Inv, project: Project) -> None:
    with Snapshots(project.snapshots).draft("theirs") as draft:
        assert inv("db.snapshot", "--name", "other") == 0
        assert inv("db.prune", "--keep", "0", "--yes") == 0
        assert inv("db.snapshot", "--name", "theirs") == 64
        assert draft.exists()

    assert "Removed ." not in inv.err()
    assert Snapshots(project.snapshots).half_made() == []


def test_a_snapshot_that_another_stack_has_just_ended_is_no_error(
    inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(Snapshots, "half_made", lambda _: [".gone.half-made"])

    assert inv("db.snapshot", "--name", "other") == 0

    assert "Removed" not in inv.err()


def test_a_path_cannot_change_the_terminal(inv: Inv) -> None:
    assert inv("db.restore", "--from", "/no/\x1b[2J\x9b31m\u202e", "--yes") == 66

    assert "There is no file /no/\\x1b[2J\\x9b31m\\u202e to be read" in inv.err()


# --- list and prune ----------------------------------------------------------


def test_list_shows_whole_and_damaged_snapshots(mine: Path, inv: Inv, project: Project) -> None:
    change(mine, created="2026-11-23T10:00:00Z", reason="before destroy")
    (project.snapshots / "broken").mkdir()

    assert inv("db.list") == 0

    assert inv.out() == (
        "NAME  MADE (UTC)           SIZE  ROWS  ENGINE            COMMIT      PROJECT  WHY\n"
        "mine  2026-11-23 10:00:00  8 B   7     postgresql 15.18  1234567890  shop     "
        "before destroy\n"
        "damaged: broken\n"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"created": 1.5}', "created is 1.5, not a text"),
        ('{"size": null}', "size is None, not a whole number from 0"),
        ('{"rows": {"a": "b"}}', "rows is {'a': 'b'}, not names with whole numbers"),
        ('{"branch": "\\ud800"}', "branch is '\\ud800', not a text"),
        ("[" * 10_000, "it is nested too deeply"),
        ("", "it is not JSON, line 1"),
        ("\0", "it has a NUL in it"),
    ],
)
def test_a_bad_manifest_is_named_and_hides_no_good_snapshot(
    text: str, fault: str, mine: Path, inv: Inv, project: Project
) -> None:
    inv("db.snapshot", "--name", "bad")
    bad = project.snapshots / "bad/manifest.json"
    bad.write_text(text)
    if text.startswith("{"):
        bad.write_text(json.dumps({**json.loads(mine.read_text()), **json.loads(text)}))
    inv.out()

    assert inv("db.list") == 0

    out, err = inv.capsys.readouterr()
    assert "\nmine " in out
    assert out.endswith("\ndamaged: bad\n")
    wanted = f"Snapshot 'bad' is damaged: its manifest cannot be read (manifest.json: {fault})."
    assert wanted in err
    assert inv(*RESTORE) == 0
    assert inv("db.restore", "--name", "bad", "--yes") == 65
    assert wanted in inv.err()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda file: file.symlink_to(file)])
@pytest.mark.parametrize("part", ["manifest.json", "database.dump"])
def test_a_snapshot_with_a_part_that_is_no_file_is_refused(
    part: str, make: Callable[[Path], object], mine: Path, inv: Inv
) -> None:
    mine.with_name(part).unlink()
    make(mine.with_name(part))

    assert (inv(*RESTORE), inv("db.list")) == (65, 0)


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to(path.parent)])
def test_a_thing_in_place_of_a_half_made_snapshot_is_removed_alone(
    make: Callable[[Path], object], mine: Path, inv: Inv, project: Project
) -> None:
    make(project.snapshots / ".cut.half-made")

    assert inv("db.snapshot", "--name", "next") == 0

    assert snapshot_names(project) == ["mine", "next"]


def test_a_name_that_no_terminal_can_show_is_listed(inv: Inv, project: Project) -> None:
    (project.snapshots / "\udcff").mkdir(parents=True)  # the byte FF, which is no UTF-8

    assert (inv("db.list"), inv("db.list", "--json")) == (0, 0)

    assert "damaged: '\\udcff'\n" in inv.out()


def test_list_prints_json(mine: Path, inv: Inv) -> None:
    assert inv("db.list", "--json") == 0

    written = json.loads(mine.read_text())
    del written["roles"]  # they have the hashes of passwords
    assert json.loads(inv.out()) == {"snapshots": [written], "damaged": [], "half_made": []}


def test_an_empty_list_names_the_verb_that_makes_a_snapshot(inv: Inv) -> None:
    assert inv("db.list") == 0

    assert inv.out() == "There are no snapshots. Make one: inv db.snapshot\n"


def test_prune_removes_the_oldest_of_this_project(inv: Inv, project: Project) -> None:
    for number in range(1, 5):
        inv("db.snapshot", "--name", f"s{number}")
        file = project.snapshots / f"s{number}/manifest.json"
        change(file, created=f"2026-01-0{number}T00:00:00Z")
    change(project.snapshots / "s1/manifest.json", project="another")

    assert inv("db.prune", "--keep", "1") == 77
    assert inv("--dry", "db.prune", "--keep", "1") == 0
    assert snapshot_names(project) == ["s1", "s2", "s3", "s4"]
    inv.out()
    assert inv("db.prune", "--keep", "1", "--yes") == 0

    assert snapshot_names(project) == ["s1", "s4"]
    assert inv.out() == "Removed s2.\nRemoved s3.\n"
    assert inv("db.prune", "--keep", "1") == 0
    assert inv.out() == "shop has no more than 1 snapshots: none removed.\n"


@pytest.mark.parametrize("keep", ["", "x", "-1"])
def test_prune_needs_a_number(keep: str, inv: Inv) -> None:
    assert inv("db.prune", f"--keep={keep}") == 64


# --- restore -----------------------------------------------------------------


def test_a_restore_swaps_in_a_filled_database(mine: Path, inv: Inv, recorder: Recorder) -> None:
    assert inv(*RESTORE) == 0

    assert recorder.lines("pipe") == [
        f"{PSQL_ON} postgres",  # the server's version
        f"{PSQL_ON} postgres",  # a database of another name is made
        f"{PSQL_ON} postgres",  # leftovers go
        f"{PSQL_ON} postgres",  # the new database comes
        f"{PG_RESTORE} --dbname composed_new_CALL",
        f"{PSQL_ON} composed_new_CALL",  # the count of rows
        f"{PSQL_ON} postgres",  # the live database is closed
        f"{PSQL_ON} postgres",  # the swap
        f"{PSQL_ON} postgres",  # the end of the old database
    ]
    assert "CREATE DATABASE %I TEMPLATE template0" in recorder.fed[3]
    assert recorder.fed[4] == "the dump"
    assert recorder.fed[6] == (
        'ALTER DATABASE "task_db" WITH ALLOW_CONNECTIONS false;\n'
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'task_db';\n"
        f'ALTER DATABASE "task_db" RENAME TO "{CLOSED}";\n'
        f'ALTER DATABASE "{CLOSED}" WITH ALLOW_CONNECTIONS true;\n'
    )
    assert recorder.fed[7] == (
        f'ALTER DATABASE "{CLOSED}" WITH ALLOW_CONNECTIONS false;\n'
        "SELECT pg_terminate_backend(pid, 10000)"
        f" FROM pg_stat_activity WHERE datname = '{CLOSED}';\n"
        "BEGIN;\n"
        "UPDATE pg_db_role_setting"
        " SET setdatabase = (SELECT oid FROM pg_database WHERE datname = 'composed_new_CALL')\n"
        f" WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = '{CLOSED}');\n"
        f'ALTER DATABASE "{CLOSED}" RENAME TO "composed_old_CALL";\n'
        'ALTER DATABASE "composed_new_CALL" RENAME TO "task_db";\n'
        "COMMIT;\n"
    )
    assert recorder.fed[8].endswith('DROP DATABASE IF EXISTS "composed_old_CALL" WITH (FORCE);\n')
    assert inv.out().endswith(
        "Restored: 2 tables, 7 rows.\nPending migrations: a.0002_more\n  Type: inv migrate\n"
    )


def test_the_roles_of_a_snapshot_are_made_before_its_data(
    mine: Path, inv: Inv, recorder: Recorder
) -> None:
    change(mine, roles=["CREATE ROLE analyst WITH PASSWORD 'x'", "GRANT readers TO analyst"])

    assert inv(*RESTORE) == 0

    place = next(n for n, script in enumerate(recorder.fed) if "CREATE ROLE" in script)
    end = "EXCEPTION WHEN duplicate_object THEN NULL; END"
    assert recorder.fed[place] == (
        f"DO 'BEGIN CREATE ROLE analyst WITH PASSWORD ''x''; {end}';\n"
        f"DO 'BEGIN GRANT readers TO analyst; {end}';\n"
    )
    assert place < recorder.fed.index("the dump")


def test_a_snapshot_of_another_database_is_restored_under_its_name(
    mine: Path, inv: Inv, recorder: Recorder, project: Project
) -> None:
    change(mine, database="analytics", locale="ENCODING 'LATIN1'")
    words = [word for word in RESTORE if word != "--no-snapshot"]

    assert inv(*words) == 0
    (safety,) = [name for name in snapshot_names(project) if name != "mine"]
    assert manifest(project, safety)["database"] == "analytics"

    options = "name, 'TEMPLATE template0 ENCODING ''LATIN1''') FROM (SELECT 'analytics' AS name)"
    assert any(options in script for script in recorder.fed)
    assert any('RENAME TO "analytics"' in script for script in recorder.fed)
    assert not any('RENAME TO "task_db"' in script for script in recorder.fed)
    assert "Pending migrations" not in inv.out()


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_every_database_of_a_volume_is_saved(
    verb: str, inv: Inv, recorder: Recorder, project: Project, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(TemporaryServer, "databases", lambda _: ["my shop", "empty", "task_db"])
    recorder.on("--dbname", "my shop").say(f"00000 00-1\n{FACTS}")
    recorder.on("--dbname", "empty").say('00000 00-1\n["version", "15.18"]\n["end", ""]\n')

    assert inv(*verb.split(), "--yes") == 0

    live, other = snapshot_names(project)
    reason = f"-before-{verb.replace(' --', '-')}"
    assert (live.partition("Z")[2], other.partition("Z")[2]) == (reason, f"{reason}-my-shop")
    assert [manifest(project, name)["database"] for name in (live, other)] == ["", "my shop"]
    assert inv.err().endswith(
        f"inv db.restore --name {live}\nTo bring the data back: inv db.restore --name {other}\n"
    )


def test_the_newest_is_of_the_live_database_and_each_database_keeps_its_own(
    mine: Path, inv: Inv, project: Project
) -> None:
    assert inv("db.snapshot", "--name", "old-other") == 0
    assert inv("db.snapshot", "--name", "other") == 0
    for name in ("old-other", "other"):
        change(project.snapshots / name / "manifest.json", database="analytics")

    assert inv("db.restore", "--latest") == 77
    assert "with mine of 20" in inv.err()
    assert inv("db.prune", "--keep", "1", "--yes") == 0
    assert snapshot_names(project) == ["mine", "other"]


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_a_database_that_no_dump_can_save_keeps_the_volume(
    verb: str, inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(TemporaryServer, "databases", DATABASES)
    recorder.on("psql").say('{"archive": false}\n')

    assert inv(*verb.split(), "--yes") == 77

    assert "The database archive takes no connections, not even of pg_dump." in inv.err()
    assert not any("down" in argv for argv in recorder.ran)


@pytest.mark.parametrize("verb", ["db.reset", "down --volumes"])
def test_a_snapshot_that_cannot_be_restored_guards_nothing(
    verb: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    recorder.on("--dbname", "composed_proof_…").say(code=1, err="ERROR:  no function plain\n")
    recorder.on("--exit-on-error").say(code=1, err="pg_restore: error: ERROR:  no function\n")

    assert inv(*verb.split(), "--yes") in (74, 77)

    assert "The snapshot that guards the data cannot be restored." in (error := inv.err())
    assert "Without the trial: the same command with --no-verify" in error
    assert snapshot_names(project) == []
    assert not any("down" in argv for argv in recorder.ran)
    assert inv(*verb.split(), "--no-verify", "--yes") == 0
    assert len(snapshot_names(project)) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("", 64),
        ("--latest --name mine", 64),
        ("--from=x --latest", 64),
        ("--name none", 66),
        ("--latest", 66),
        ("--from none", 66),
    ],
)
def test_a_restore_needs_a_single_dump_that_exists(options: str, code: int, inv: Inv) -> None:
    assert inv("db.restore", *options.split(), "--yes") == code


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": 2}, "format 2 needs a newer Composed"),
        ({"size": 9}, "its dump has 8 bytes of 9"),
        ({"checksum": "sha256:0"}, "the checksum of its dump is another"),
        ({"engine": "sqlite"}, "mine is of sqlite; this stack, in docker mode, has postgresql"),
        ({"version": "16.1"}, "The data is from PostgreSQL 16.1, the server is 15.18"),
        ({"migrations": 5}, "its manifest cannot be read"),
        ({"rows": {"public.a": 5}}, "public.a has 3 rows where the manifest has 5"),
        ({"rows": {"public.c": 5}}, "public.c has no rows where the manifest has 5"),
    ],
)
def test_a_dump_that_does_not_fit_the_manifest_is_65(
    values: dict[str, object], reason: str, mine: Path, inv: Inv, recorder: Recorder
) -> None:
    change(mine, **values)

    assert inv(*RESTORE) == 65

    assert reason in inv.err()
    assert not any("ALLOW_CONNECTIONS false" in script for script in recorder.fed)


def test_a_failed_restore_leaves_no_new_database(mine: Path, inv: Inv, recorder: Recorder) -> None:
    recorder.on("--exit-on-error").say(code=1, err="pg_restore: error: disk full\n")

    assert inv(*RESTORE) == 74

    last = recorder.fed[-1]
    assert "'^composed_(new|old|proof)_CALL$'" in last
    assert 'ALTER DATABASE "task_db" WITH ALLOW_CONNECTIONS true;' in last
    problem = "cannot be restored; the database is as it was:\n  pg_restore: error: disk full"
    assert problem in inv.err()


@pytest.mark.parametrize("kind", ["--latest", "--from"])
def test_a_restart_beside_a_restore_is_named(
    kind: str, mine: Path, inv: Inv, recorder: Recorder, project: Project
) -> None:
    (project.root / "dump").write_bytes(b"PGDMP...")
    recorder.on("--exit-on-error").say(code=137)
    words = [str(project.root / "dump")] if kind == "--from" else []

    assert inv("db.restore", kind, *words, "--no-snapshot", "--yes") == 74

    err = inv.err()
    assert "A first try failed" not in err
    assert "as it was: the database was stopped meanwhile.\n  Type the same command again." in err


def test_the_next_verb_heals_a_cut_off_swap(inv: Inv, recorder: Recorder, project: Project) -> None:
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


def test_a_database_called_postgres_is_swapped_from_another_database(
    inv: Inv, recorder: Recorder
) -> None:
    recorder.on("config", "--format").say(model(backend=0, db=0).replace("task_db", "postgres"))
    recorder.on("--dbname", "template1").say("15.18\n")

    assert inv("db.reset", "--no-snapshot", "--yes") == 0

    assert {argv[-1] for argv in recorder.piped} == {"template1"}


def test_a_running_backend_names_the_differences(mine: Path, inv: Inv, recorder: Recorder) -> None:
    body = '{"pending": [], "unknown": ["a.1", "a.2", "a.3", "a.4"]}'
    recorder.http = lambda url: (200, body if url.endswith("8123/readyz") else "")

    assert inv(*RESTORE) == 0

    assert "The code does not have: a.1, a.2, a.3 and 1 more\n" in inv.out()
    assert not any("showmigrations" in argv for argv in recorder.asked)


@pytest.mark.parametrize(
    ("words", "answer", "line"),
    [
        ("composed_new_CALL", Answer(0, LATER + FACTS, ""), "The code does not have: a.0009_later"),
        ("showmigrations", Answer(1, "", "x\nImportError: y\n"), "not known: ImportError: y"),
    ],
)
def test_a_restore_shows_how_the_migrations_differ(
    words: str, answer: Answer, line: str, mine: Path, inv: Inv, recorder: Recorder
) -> None:
    recorder.on(words).give(answer)

    assert inv(*RESTORE) == 0

    assert f"{line}\n" in inv.out()


def test_a_one_off_container_names_the_migrations(mine: Path, inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--services").say("db\n")
    recorder.on("exec", "--no-TTY", "backend").say(code=1, err='service "backend" is not running')

    assert inv(*RESTORE) == 0

    assert recorder.asked[-1][4:8] == ["run", "--rm", "--no-deps", "--no-TTY"]


# --- dumps made elsewhere ----------------------------------------------------


def unguarded(fed: str) -> str:
    """Return what psql read without the first lines, which keep a script restricted."""
    return re.sub(r"\\restrict \w+\nSET standard_conforming_strings = on;\n", "", fed)


@pytest.mark.parametrize(
    ("contents", "command"),
    [
        (SQL + COMPLETE, f"{PSQL_ON} composed_new_CALL --output /dev/null"),
        # The roles of another server are unknown here, so their privileges are left out.
        (
            b"PGDMP...",
            f"{PG_RESTORE} --no-privileges --no-tablespaces --dbname composed_new_CALL",
        ),
    ],
)
def test_a_dump_made_elsewhere_is_fed_to_the_right_program(
    contents: bytes, command: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    (project.root / "dump").write_bytes(contents)

    assert inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes") == 0

    place = recorder.lines("pipe").index(command)
    assert unguarded(recorder.fed[place]).encode() == contents


def test_what_the_server_does_not_know_is_left_out_and_said(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    kept = b"CREATE TABLE t ();\nALTER TABLE t OWNER TO cp_user;\n"
    unknown = b"SET transaction_timeout = 0;\nGRANT ALL ON t TO boss, guest;\n"
    (project.root / "dump").write_bytes(SQL + unknown + kept + COMPLETE)
    rows = '["setting", "transaction_timeout"]\n["role", "boss"]\n'
    feed = Psql.feed

    def answer(psql: Psql, argv: list[str], chunks: Any, *rest: Any) -> Answer:
        script = b"".join(chunks)
        return (
            Answer(0, rows, "") if b"names (name)" in script else feed(psql, argv, [script], *rest)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Psql, "feed", answer)
        done = inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes")

    assert done == 0
    loaded = next(text for text in recorder.fed if "CREATE TABLE t" in text)
    assert unguarded(loaded).encode() == SQL + b"\n\n" + kept + COMPLETE
    said = inv.err()
    assert "Left out 1 statement: this server has no role boss." in said
    assert "Left out 1 statement: this server has no setting transaction_timeout." in said


def test_an_extension_that_the_server_lacks_is_named(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    (project.root / "dump").write_bytes(b"PGDMP...")
    recorder.on("pg_restore", "--list").say("2; 3079 16384 EXTENSION - postgis\n")
    recorder.on("psql").say('["extension", "postgis"]\n')

    assert inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes") == 65

    assert "needs what this server does not have: postgis." in inv.err()


def test_rows_without_tables_are_refused(inv: Inv, project: Project) -> None:
    (project.root / "dump").write_bytes(SQL + b"INSERT INTO t VALUES (1);\n" + COMPLETE)

    assert inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes") == 65

    assert "without --data-only" in inv.err()


def test_a_folder_is_unpacked_where_pg_restore_runs(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    folder = project.root / "dump"
    folder.mkdir()
    (folder / "toc.dat").write_bytes(b"PGDMP\x01\x0e\x00")

    assert inv("db.restore", "--from", str(folder), "--no-snapshot", "--yes") == 0

    unpack = [*EXEC_DB.split(), *UNPACK, "pg_restore"]
    listed, restored = (argv for argv in recorder.piped if "pg_restore" in argv)
    assert listed == [*unpack, "--list"]
    assert restored[: len(unpack)] == unpack
    assert restored[-2:] == ["--dbname", "composed_new_CALL"]


def test_an_unreadable_custom_dump_is_65(inv: Inv, recorder: Recorder, project: Project) -> None:
    (project.root / "dump").write_bytes(b"PGDMP...")
    recorder.on("pg_restore", "--list").say(code=1, err="unsupported version (1.99)\n")

    assert inv("db.restore", "--from", str(project.root / "dump"), "--no-snapshot", "--yes") == 65

    assert "docker run --rm -i postgres:" in inv.err()


# --- guards ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "question"),
    [
        ("down --volumes", "Remove all data of shop?"),
        ("destroy", "Remove shop, with all its data (shop_db-data) and images?"),
        ("db.reset", "Remove all data of shop?"),
        ("db.restore --latest", "Replace all data of shop with mine of 20"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_a_verb_that_destroys_data_asks_then_takes_a_snapshot(
    verb: str, question: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    assert inv(*verb.split()) == 77
    asked = inv.err()
    assert question in asked
    assert asked.endswith(f" No terminal to confirm on.\n  To agree: inv {verb} --yes\n")
    assert (recorder.piped, recorder.ran) == ([], [])

    assert inv(*verb.split(), "--yes") == 0
    reason = f"before {verb.removesuffix(' --latest')}"
    (safety,) = [name for name in snapshot_names(project) if name != "mine"]
    assert safety.endswith(f"Z-{reason.replace('--', '').replace(' ', '-')}")
    assert manifest(project, safety)["reason"] == reason
    assert inv.err().endswith(f"To bring the data back: inv db.restore --name {safety}\n")


@pytest.mark.parametrize(
    ("verb", "unsaved"),
    [
        ("down --volumes", "shop_backups, shop_media, /app/up of backend"),
        ("destroy", "shop_backups, shop_media, shop_old, /app/up of backend"),
    ],
)
def test_a_removal_names_the_volumes_that_are_in_no_snapshot(
    verb: str, unsaved: str, inv: Inv, recorder: Recorder
) -> None:
    configured = json.loads(model(backend=0, db=0))
    mounts = [("db-data", "/var/lib/postgresql/data"), ("backups", "/backups")]
    configured["services"]["db"] |= {
        "image": "postgres:15",
        "volumes": [{"type": "volume", "source": name, "target": at} for name, at in mounts],
    }
    names = ("db-data", "backups", "media", "away")
    configured["volumes"] = {name: {"name": f"shop_{name}"} for name in names}
    configured["volumes"]["away"]["external"] = True
    recorder.on("config", "--format").say(json.dumps(configured))
    volumes = [*(f"shop_{name} shop" for name in ("db-data", "backups", "media", "old"))]
    recorder.on("volume", "ls", "--format").say("\n".join([*volumes, "shop_away ", "x y", ""]))
    mount = {"Type": "volume", "Name": "0a" * 32, "Destination": "/app/up"}
    row = {"service": "backend", "image": "x", "env": [], "mounts": [mount]}
    recorder.on("docker", "ps", "--all", "--quiet").say("c1\n")
    recorder.on("docker", "inspect", "--format", '{"service"…').say(
        json.dumps(row | {"declared": {"/app/up": {}}})
    )

    assert inv(*verb.split()) == 77
    assert inv.err().startswith(f"In no snapshot: {unsaved}. Remove ")
    assert recorder.ran == []

    inv(*verb.split(), "--yes")
    assert f"In no snapshot: {unsaved}\n" in inv.err()


@pytest.mark.parametrize("verb", ["down --volumes", "destroy", "db.reset"])
def test_no_snapshot_takes_none(verb: str, inv: Inv, recorder: Recorder, project: Project) -> None:
    assert inv(*verb.split(), "--no-snapshot", "--yes") == 0

    assert not project.snapshots.exists()
    assert not any("pg_dump" in argv for argv in recorder.piped)


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_data_that_cannot_be_saved_is_not_removed(verb: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--services").say("db\nbackend\n")
    recorder.on("pg_dump").say(code=1)

    assert inv(*verb.split(), "--yes") == 77

    assert [argv[4:] for argv in recorder.ran] == [["stop"], ["start", "db", "backend"]]
    assert f"  Without one, for good: inv {verb} --no-snapshot --yes\n" in inv.err()


def test_without_a_volume_no_snapshot_is_taken(inv: Inv, recorder: Recorder) -> None:
    recorder.on("volume", "ls", "--format").say()

    assert inv("down", "--volumes", "--yes") == 0

    assert recorder.piped == []


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
@pytest.mark.parametrize(
    ("volume", "cure"),
    [
        ({}, "Give db-data another name in the Compose file"),
        ({"name": "${DATA:-shop_db-data}"}, "Name one of your own: DATA in .env"),
    ],
)
def test_a_volume_of_another_project_stays(
    volume: dict[str, str], cure: str, verb: str, inv: Inv, recorder: Recorder
) -> None:
    recorder.on("volume", "ls", "--format").say("shop_db-data other\n")
    recorder.on("config", "--no-interpolate").say(json.dumps({"volumes": {"db-data": volume}}))

    assert inv(*verb.split(), "--no-snapshot", "--yes") == 77

    assert recorder.ran == []
    assert inv.err() == f"Volume shop_db-data belongs to another project, other.\n  {cure}\n"


def test_destroy_removes_all_of_the_project(inv: Inv, recorder: Recorder, project: Project) -> None:
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


@pytest.mark.parametrize("verb", ["db.reset", "destroy"])
def test_the_way_back_is_named_also_if_the_last_step_fails(
    verb: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    services = json.loads(model(backend=0, db=0))["services"]
    services["backend"] |= {"image": "shop"}
    services["worker"] = {"image": "shop"}
    services["db"]["volumes"] = [{"type": "volume", "source": "db-data"}]
    volumes = {"db-data": {"name": "shop_db-data"}}
    text = json.dumps({"services": services, "volumes": volumes})
    recorder.on("config", "--format").say(text)
    recorder.on("ps", "--services").say("worker\ndb\n")
    recorder.on("restart", "worker").say(code=1)
    recorder.on("network", "ls").say("n\n")
    recorder.on("network", "rm").say(code=1, err="has active endpoints\n")

    assert inv(verb, "--yes") != 0

    (name,) = snapshot_names(project)
    assert f"To bring the data back: inv db.restore --name {name}\n" in inv.err()


def test_destroy_fails_when_the_engine_refuses(inv: Inv, recorder: Recorder) -> None:
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
@pytest.mark.usefixtures("mine")
def test_a_dry_run_shows_and_changes_nothing(
    words: str, programs: list[str], inv: Inv, recorder: Recorder, project: Project
) -> None:
    before = sorted(project.root.rglob("*"))

    assert inv("--dry", *words.split()) == 0

    shown = [*inv.err().split(), *(word for argv in recorder.ran for word in argv)]
    assert [word for word in shown if word in ("pg_dump", "pg_restore", "down")] == programs
    assert not [argv for argv in recorder.asked if "rm" in argv]
    assert recorder.piped == []
    assert sorted(project.root.rglob("*")) == before
