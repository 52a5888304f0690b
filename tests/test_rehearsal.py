"""`inv db.rehearse`: the copy of the database, the script that migrates the copy, the report."""

import json
import re
from typing import Any

import pytest

from tests.recorder import Recorder
from tests.samples import EXEC_DB, MANAGE, MOMENT, PG_RESTORE, PSQL_ON, Capsys, Inv

pytestmark = pytest.mark.usefixtures("pending")

NEW = "composed_new_CALL"
PG_DUMP = (
    f"{EXEC_DB} pg_dump --username cp_user {MOMENT} --compress=0 --format=custom --dbname task_db"
)
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


def output(*reports: dict[str, Any]) -> str:
    """Return the stdout of Django's shell with the reports of the script."""
    lines = [f"composed: {json.dumps(report)}" for report in reports]
    return "\n".join(["6 objects imported automatically.", *lines])


def test_a_copy_is_migrated_and_dropped(inv: Inv, recorder: Recorder) -> None:
    last = MIGRATION | {"name": "b.0001", "locks": None}
    none = MIGRATION | {"name": "c.0001", "locks": {}}
    recorder.on("shell", "--command").say(output(MIGRATION, last, none))

    assert inv("db.rehearse") == 0

    assert recorder.lines("pipe") == [
        f"{PSQL_ON} postgres",  # leftovers go
        f"{PSQL_ON} task_db",  # the moment
        f"{PSQL_ON} postgres",  # the new database
        PG_DUMP,
        f"{PG_RESTORE} --dbname {NEW}",
        f"{PSQL_ON} postgres",
    ]
    assert recorder.fed[4] == "the dump"
    assert recorder.fed[-1].endswith(f'DROP DATABASE IF EXISTS "{NEW}" WITH (FORCE);\n')
    (call,) = [call for call in recorder.of("ask") if "shell" in call.argv]
    assert call.argv[:-1] == f"{MANAGE} shell --command".split()
    assert call.argv[-1].endswith(f"\nrehearse('{NEW}', 'postgresql')\n")
    assert inv.out() == (
        "MIGRATION    TIME     ROWS WRITTEN  LOCKS\n"
        "a.0002_more  1.500 s  7             "
        "a ACCESS EXCLUSIVE (3 rows, rewritten), b ROW EXCLUSIVE (4 rows), c SHARE\n"
        "b.0001       1.500 s  7             not seen: it is not atomic\n"
        "c.0001       1.500 s  7             -\n"
    )


def test_nothing_pending_means_no_copy(inv: Inv, recorder: Recorder, pending: list[str]) -> None:
    pending.clear()

    assert inv("db.rehearse") == 0

    assert recorder.piped == []
    assert inv.out() == "No migration is pending: nothing to rehearse.\n"


@pytest.mark.parametrize(
    ("sql", "lines"), [("", ""), ("DROP TABLE gone", "SQL: DROP TABLE gone\n")]
)
def test_a_failed_migration_is_shown_with_the_sql(
    sql: str, lines: str, inv: Inv, recorder: Recorder, capsys: Capsys
) -> None:
    failed = MIGRATION | {"error": "no such table: gone", "sql": sql}
    recorder.on("shell", "--command").say(output(failed), code=1, err="Traceback")

    assert inv("db.rehearse") == 1

    out, err = capsys.readouterr()
    assert out.endswith(f"\na.0002_more failed: no such table: gone\n{lines}")
    assert "Traceback" not in err
    assert recorder.fed[-1].endswith(f'DROP DATABASE IF EXISTS "{NEW}" WITH (FORCE);\n')


def test_another_failure_is_shown_unchanged(inv: Inv, recorder: Recorder, capsys: Capsys) -> None:
    recorder.on("shell", "--command").say(output(), code=1, err="ImportError: x\n")

    assert inv("db.rehearse") == 1

    out, err = capsys.readouterr()
    assert (out, err.endswith("ImportError: x\n")) == ("", True)


def test_a_backend_of_another_database_is_78(inv: Inv, recorder: Recorder) -> None:
    recorder.on("shell", "--command").say(output({"elsewhere": "sqlite"}), code=1)

    assert inv("db.rehearse") == 78

    assert inv.err().endswith(
        "Django uses sqlite, and the copy is of postgresql: nothing was migrated.\n"
        "  See DATABASES in the settings of Django.\n"
    )
    assert "composed_(new|old|proof)_CALL" in recorder.fed[-1]


@pytest.mark.parametrize(("program", "last"), [("pg_dump", "pg_dump"), ("pg_restore", "psql")])
def test_a_failed_copy_is_74(program: str, last: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on(program).say(code=1, err="no space left\n")
    recorder.on("--output").say(code=1, err="no space left\n")  # of the second try, by psql

    assert inv("db.rehearse") == 74

    assert f"{last} ended with 1:\n  no space left\n" in inv.err()
    assert not any("shell" in argv for argv in recorder.asked)


def test_a_dry_rehearsal_shows_the_programs(inv: Inv, recorder: Recorder, capsys: Capsys) -> None:
    assert inv("--dry", "db.rehearse") == 0

    out, err = capsys.readouterr()
    assert re.findall(r" db (\w+) ", err) == ["pg_dump", "pg_restore"]
    assert (out, recorder.ran, recorder.piped) == ("", [], [])
