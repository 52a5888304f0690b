"""Snapshots and restores of SQLite, on real files, in local mode."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from composed.data.sqlite import SQLite
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import Inv


@pytest.fixture
def live(project: Project, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The live file, in WAL mode, with three tasks and a migration."""
    monkeypatch.setenv("COMPOSED_MODE", "local")
    file = project.root / "data/db.sqlite3"
    file.parent.mkdir()
    make(file, 3, journal="wal")
    return file


def make(file: Path, tasks: int, *, journal: str = "delete", page: int = 4096) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA page_size = {page}")
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE task (title)")
        connection.execute("CREATE TABLE django_migrations (id, app, name)")
        connection.execute("INSERT INTO django_migrations VALUES (1, 'a', '0001_initial')")
        connection.executemany("INSERT INTO task VALUES (?)", [("x" * 500,)] * tasks)
    connection.close()


def count(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("SELECT count(*) FROM task").fetchone()[0])
    finally:
        connection.close()


def execute(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(statement)
    connection.close()


def test_a_snapshot_comes_back(
    live: Path, inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.snapshot", "--name", "three") == 0
    execute(live, "DELETE FROM task")
    assert inv("db.restore", "--name", "three", "--yes") == 0

    assert count(live) == 3
    assert capsys.readouterr().out.startswith("three: 12.0 KiB, 2 tables, 4 rows\nRestored: 2 tab")
    whole = project.snapshots / "three/database.dump"
    assert whole.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in whole.parent.iterdir()} == {"database.dump", "manifest.json"}


def test_who_has_the_live_file_open_sees_the_restored_rows(live: Path, inv: Inv) -> None:
    worker = sqlite3.connect(live)
    inv("db.snapshot", "--name", "three")
    with worker:
        worker.execute("DELETE FROM task")

    assert inv("db.restore", "--name", "three", "--no-snapshot", "--yes") == 0

    assert worker.execute("SELECT count(*) FROM task").fetchone() == (3,)
    with worker:
        worker.execute("INSERT INTO task VALUES ('more')")
    worker.close()
    assert count(live) == 4


def test_a_snapshot_is_of_one_moment_while_another_writes(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = sqlite3.connect(live, isolation_level=None)
    database = SQLite(live, tmp_path / "scratch", None)  # type: ignore[arg-type]
    copy = tmp_path / "copy"
    copy.touch()

    def write(*_: object) -> None:
        writer.execute("INSERT INTO task VALUES ('meanwhile')")

    monkeypatch.setattr("composed.data.sqlite.PAGES_AT_ONCE", 1)
    monkeypatch.setattr("composed.terminal.Progress.reach", write)
    facts, _ = database.dump(copy)
    writer.close()

    assert facts.rows["task"] == count(copy) == 3
    assert count(live) > 3


@pytest.mark.parametrize("page", [1024, 8192])
def test_a_file_from_elsewhere_may_have_other_pages(
    page: int, live: Path, inv: Inv, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.sqlite3"
    make(elsewhere, 7, page=page)
    before = elsewhere.read_bytes()

    assert inv("db.restore", "--from", str(elsewhere), "--no-snapshot", "--yes") == 0

    assert (count(live), elsewhere.read_bytes()) == (7, before)


def test_a_file_in_use_elsewhere_is_taken_with_what_is_not_checkpointed(
    live: Path, inv: Inv, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.sqlite3"
    make(elsewhere, 7, journal="wal")
    user = sqlite3.connect(elsewhere, isolation_level=None)
    user.execute("INSERT INTO task VALUES ('in the log')")

    assert inv("db.restore", "--from", str(elsewhere), "--no-snapshot", "--yes") == 0

    user.close()
    assert count(live) == 8


def test_a_damaged_file_changes_nothing(
    live: Path, inv: Inv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.sqlite3"
    make(damaged, 100)
    damaged.write_bytes(damaged.read_bytes()[:20000])

    assert inv("db.restore", "--from", str(damaged), "--no-snapshot", "--yes") == 65

    assert "is damaged: " in capsys.readouterr().err
    assert count(live) == 3


def test_what_is_no_database_is_65(live: Path, inv: Inv, tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(b"SQLite format 3\x00 and then something else" * 99)

    assert inv("db.restore", "--from", str(tmp_path / "dump"), "--no-snapshot", "--yes") == 65


def test_a_lock_that_nobody_gives_up_is_74(
    live: Path, inv: Inv, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(live, "PRAGMA journal_mode = delete")
    monkeypatch.setattr("composed.data.sqlite.SECONDS_TO_WAIT", 0)
    holder = sqlite3.connect(live, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    assert inv("db.snapshot") == 74

    holder.close()
    assert "failed: database is locked." in capsys.readouterr().err


def test_a_reset_empties_the_live_file(
    live: Path, inv: Inv, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.reset", "--yes") == 0
    connection = sqlite3.connect(live)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()

    said = capsys.readouterr().err.splitlines()[-1]
    assert inv(*said.partition("inv ")[2].split(), "--yes") == 0
    assert count(live) == 3


@pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
def test_what_removes_the_file_keeps_a_snapshot(
    verb: str, live: Path, inv: Inv, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv(*verb.split(), "--yes") == 0
    assert not live.exists()

    said = capsys.readouterr().err.splitlines()[-1]
    assert inv(*said.partition("inv ")[2].split(), "--yes") == 0
    assert count(live) == 3


def test_without_a_file_there_is_nothing_to_dump(live: Path, inv: Inv) -> None:
    live.unlink()

    assert inv("db.snapshot") == 66
    assert not live.exists()
    assert inv("down", "--volumes", "--yes") == 0


def test_a_dump_of_postgresql_is_refused(
    live: Path, inv: Inv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dump").write_bytes(b"PGDMP...")

    assert inv("db.restore", "--from", str(tmp_path / "dump"), "--yes") == 65

    assert "is of postgresql; this stack, in local mode, has sqlite" in capsys.readouterr().err


def test_the_copy_of_a_killed_restore_is_removed_by_the_next_verb(
    live: Path, inv: Inv, project: Project
) -> None:
    folder = project.root / ".composed/shop"
    (folder / "swaps").mkdir(parents=True)
    (folder / "swaps/c0ffee").touch()
    (folder / "restored.sqlite3").touch()

    inv("ps")

    assert list(folder.rglob("*sqlite3*")) == []
    assert list((folder / "swaps").iterdir()) == []


def test_a_dry_run_changes_nothing(live: Path, inv: Inv, project: Project) -> None:
    inv("db.snapshot", "--name", "three")
    before = sorted(project.root.rglob("*"))

    for words in ("db.snapshot", "db.reset", "db.restore --name three", "destroy"):
        assert inv("--dry", *words.split()) == 0

    assert sorted(project.root.rglob("*")) == before
    assert count(live) == 3
