"""`inv migrate` and the way back: the snapshot before, and the rollback after a failure."""

import pytest

from composed.gateway import Answer
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import EXEC_DB, MANAGE, PG_DUMP, PSQL_ON, Inv, ps_answer, snapshot_names

PLAN = "Planned operations:\na.0002_more\n    Add field x to y\n"
NOTHING = "Planned operations:\n  No planned migration operations.\n"


pytestmark = pytest.mark.usefixtures("pending")


def test_migrate_takes_a_snapshot_first(inv: Inv, recorder: Recorder, project: Project) -> None:
    assert inv("migrate") == 0

    assert recorder.lines("pipe") == [
        f"{PSQL_ON} task_db",  # the rows
        f"{PSQL_ON} task_db",
        PG_DUMP,
        f"{EXEC_DB} pg_restore --list",
    ]
    assert "NOT IN ('django_migrations', 'django_content_type', " in recorder.fed[0]
    (name,) = snapshot_names(project)
    assert name.endswith("Z-before-migrate")
    assert inv.err() == f"Snapshot taken: {name}\n"
    assert recorder.lines("run")[-1].endswith("--entrypoint python backend manage.py migrate")


def test_up_with_migrate_takes_a_snapshot(inv: Inv, project: Project) -> None:
    assert inv("up", "--migrate") == 0

    assert len(snapshot_names(project)) == 1


@pytest.mark.parametrize("words", ["--no-snapshot", "--plan", "--check", "-- --help", "--dry"])
def test_a_migrate_that_needs_no_snapshot_asks_nothing(
    words: str, inv: Inv, recorder: Recorder, project: Project
) -> None:
    assert inv("migrate", *words.split()) == 0

    assert (recorder.piped, snapshot_names(project)) == ([], [])


def test_without_pending_migrations_only_the_backend_is_asked(
    inv: Inv, recorder: Recorder, pending: list[str]
) -> None:
    pending.clear()

    assert inv("migrate", "--rollback-on-failure") == 0

    assert recorder.piped == []
    assert not any("manage.py" in argv for argv in recorder.asked)


def test_without_rows_no_snapshot_is_taken(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("--dbname", "task_db").say()

    assert inv("migrate") == 0

    assert (len(recorder.piped), snapshot_names(project)) == (1, [])
    assert not any("inspect" in argv for argv in recorder.asked)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("docker inspect --format {{.Image}}…", "sha256:2 shop-backend"),  # another image
        ("ps --all", ps_answer()),  # not running
    ],
)
@pytest.mark.parametrize(
    ("plan", "taken"),
    [(Answer(0, PLAN, ""), 1), (Answer(1, "", "CommandError: x"), 1), (Answer(0, NOTHING, ""), 0)],
)
def test_without_a_backend_of_the_current_code_django_plans_anew(
    words: str,
    answer: str,
    plan: Answer,
    taken: int,
    inv: Inv,
    recorder: Recorder,
    project: Project,
) -> None:
    recorder.on(*words.split()).say(answer)
    recorder.on("migrate", "--plan").give(plan)

    assert inv("migrate") == 0

    assert len(snapshot_names(project)) == taken
    assert f"{MANAGE} migrate --plan".split() in recorder.asked


def test_django_plans_with_the_arguments(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("migrate", "--plan").say(PLAN)

    assert inv("migrate", "--app", "a", "--name", "zero") == 0

    assert f"{MANAGE} migrate --plan a zero".split() in recorder.asked
    assert len(snapshot_names(project)) == 1


def test_prune_is_never_planned(inv: Inv, recorder: Recorder, project: Project) -> None:
    assert inv("migrate", "--app", "a", "--", "--prune") == 0

    assert not any("manage.py" in argv for argv in recorder.asked)
    assert len(snapshot_names(project)) == 1


def test_a_failure_names_the_way_back(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("manage.py", "migrate").say(code=3)

    assert inv("migrate") == 3

    (name,) = snapshot_names(project)
    assert inv.err().endswith(
        "migrate ended with 3; the reason stands above.\n"
        f"  To bring the data back: inv db.restore --name {name}\n"
    )


def test_without_data_there_is_no_way_back(inv: Inv, recorder: Recorder) -> None:
    recorder.on("manage.py", "migrate").say(code=3)
    recorder.on("--dbname", "task_db").say()

    assert inv("migrate") == 3

    assert inv.err() == ""


def test_rollback_restores(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("manage.py", "migrate").say(code=3)

    assert inv("migrate", "--rollback-on-failure") == 3

    assert sorted(name.partition("Z-")[2] for name in snapshot_names(project)) == [
        "before-db.restore",
        "before-migrate",
    ]
    (name,) = [name for name in snapshot_names(project) if name.endswith("before-migrate")]
    assert recorder.fed[-2].startswith("ALTER DATABASE")  # the swap
    assert f"Rolled back to {name}: 2 tables, 7 rows.\n" in inv.err()


def test_rollback_to_an_empty_database(inv: Inv, recorder: Recorder, project: Project) -> None:
    empty = '00000 00-1\n["version", "15.18"]\n["end", ""]\n'
    recorder.on("--dbname", "task_db").say(empty)
    recorder.on("--dbname", "composed_closed_…").say()
    recorder.on("manage.py", "migrate").say(code=3)

    assert inv("migrate", "--rollback-on-failure") == 3

    assert snapshot_names(project) == []
    assert recorder.fed[-2].startswith("ALTER DATABASE")
    assert inv.err().endswith("Rolled back: the database is empty, as before.\n")


def test_rollback_needs_a_snapshot(inv: Inv, recorder: Recorder) -> None:
    assert inv("migrate", "--no-snapshot", "--rollback-on-failure") == 64

    assert recorder.ran == []
