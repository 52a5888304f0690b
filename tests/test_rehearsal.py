"""`inv db.rehearse`: the copy that is made, the script that is run on it, the report."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from composed.calls import Calls
from composed.data.sqlite import SQLite
from composed.errors import NotFoundError
from composed.gateway import Gateway
from tests.recorder import Recorder
from tests.samples import EXEC_DB, ONE_OFF, PG_RESTORE, PSQL_ON, Inv

pytestmark = pytest.mark.usefixtures("pending")

NEW = "composed_new_CALL"
PG_DUMP = f"{EXEC_DB} pg_dump --username cp_user --compress=0 --format=custom --dbname task_db"
MIGRATION: dict[str, Any] = {
    "name": "a.0002_more",
    "seconds": 1.5,
    "written": 7,
    "locks": {"a": "ACCESS EXCLUSIVE", "b": "ROW EXCLUSIVE", "c": "SHARE"},
    "rows": {"a": 3, "b": 4},
    "rewritten": ["a"],
    "error": "",
    "sql": "",
}


def told(*lines: dict[str, Any]) -> str:
    said = ["6 objects imported automatically.", *(f"composed: {json.dumps(x)}" for x in lines)]
    return "\n".join(said)


def test_a_rehearsal_migrates_a_copy_that_is_dropped(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    last = MIGRATION | {"name": "b.0001", "locks": None}
    none = MIGRATION | {"name": "c.0001", "locks": {}}
    recorder.on("shell", "--command").say(told(MIGRATION, last, none))

    assert inv("db.rehearse") == 0

    assert recorder.lines("pipe") == [
        f"{PSQL_ON} postgres",  # what others left goes, the new database is made
        PG_DUMP,
        f"{PG_RESTORE} --dbname {NEW}",
        f"{PSQL_ON} postgres",
    ]
    assert recorder.fed[2] == "the dump"
    assert recorder.fed[-1] == f'DROP DATABASE "{NEW}" WITH (FORCE);'
    (asked,) = [argv for argv in recorder.asked if "shell" in argv]
    one_off = f"{ONE_OFF} --env POSTGRES_DB backend python manage.py shell --command".split()
    assert asked[:-1] == one_off
    assert asked[-1].endswith(f"\nrehearse('{NEW}')\n")
    assert capsys.readouterr().out == (
        "MIGRATION    TIME     ROWS WRITTEN  LOCKS\n"
        "a.0002_more  1.500 s  7             "
        "a ACCESS EXCLUSIVE (3 rows, rewritten), b ROW EXCLUSIVE (4 rows), c SHARE\n"
        "b.0001       1.500 s  7             not seen: it is not atomic\n"
        "c.0001       1.500 s  7             -\n"
    )


def test_the_copy_is_named_to_compose_itself(inv: Inv, recorder: Recorder) -> None:
    inv("db.rehearse")

    assert {"POSTGRES_DB": NEW} in [call.env for call in recorder.of("ask")]


def test_nothing_pending_copies_nothing(
    inv: Inv, recorder: Recorder, pending: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pending.clear()

    assert inv("db.rehearse") == 0

    assert recorder.piped == []
    assert capsys.readouterr().out == "No migration is pending: nothing to rehearse.\n"


def test_a_migration_that_fails_is_told_with_its_sql(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = MIGRATION | {"error": "no such table: gone", "sql": "DROP TABLE gone"}
    recorder.on("shell", "--command").say(told(failed), code=1, err="Traceback")

    assert inv("db.rehearse") == 1

    out, err = capsys.readouterr()
    assert out.endswith("\na.0002_more failed: no such table: gone\nSQL: DROP TABLE gone\n")
    assert "Traceback" not in err
    assert recorder.fed[-1].startswith("DROP DATABASE")


def test_an_error_without_sql_shows_none(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("shell", "--command").say(told(MIGRATION | {"error": "division by zero"}), code=1)

    assert inv("db.rehearse") == 1

    assert capsys.readouterr().out.endswith("\na.0002_more failed: division by zero\n")


def test_what_fails_elsewhere_is_shown_as_it_is(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("shell", "--command").say(told(), code=1, err="ImportError: x\n")

    assert inv("db.rehearse") == 1

    out, err = capsys.readouterr()
    assert (out, err.endswith("ImportError: x\n")) == ("", True)


def test_a_backend_that_uses_another_database_is_78(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("shell", "--command").say(told({"elsewhere": "task_db"}), code=1)

    assert inv("db.rehearse") == 78

    assert capsys.readouterr().err.endswith(
        "With another POSTGRES_DB, the backend still uses task_db: nothing was migrated.\n"
        "  Have its settings take the database from POSTGRES_DB.\n"
    )
    assert "composed_(new|old)_CALL" in recorder.fed[-1]


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
def test_a_copy_that_fails_is_74_and_says_whose_fault_it_is(
    program: str, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on(program).say(code=1, err="no space left\n")

    assert inv("db.rehearse") == 74

    assert f"{program} ended with 1:\n  no space left\n" in capsys.readouterr().err
    assert not any("shell" in argv for argv in recorder.asked)


def test_a_dry_rehearsal_shows_how_it_copies(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("--dry", "db.rehearse") == 0

    out, err = capsys.readouterr()
    assert re.findall(r" db (\w+) ", err) == ["pg_dump", "pg_restore"]
    assert (out, recorder.ran, recorder.piped) == ("", [], [])


def test_a_copy_of_sqlite_has_every_row_and_is_gone_with_what_came_beside_it(
    tmp_path: Path,
) -> None:
    file, scratch = tmp_path / "db.sqlite3", tmp_path / "ours/copy"
    scratch.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.executescript("CREATE TABLE task (x); INSERT INTO task VALUES (1), (2)")
    connection.close()

    with SQLite(file, scratch, Calls(Gateway(tmp_path), tmp_path / "swaps")).copied() as place:
        Path(f"{place}.migrate.lock").touch()
        connection = sqlite3.connect(place)
        assert connection.execute("SELECT count(*) FROM task").fetchone() == (2,)
        connection.close()

    assert list(scratch.parent.iterdir()) == []


def test_a_file_that_is_not_there_cannot_be_copied(tmp_path: Path) -> None:
    base = SQLite(tmp_path / "db", tmp_path / "copy", Calls(Gateway(tmp_path), tmp_path / "swaps"))

    with pytest.raises(NotFoundError), base.copied():
        pass

    assert not (tmp_path / "db").exists()
