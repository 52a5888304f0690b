"""Snapshots and restores of SQLite, on real files, in local mode."""

import contextlib
import gzip
import lzma
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from composed.calls import Calls
from composed.data.sqlite import SQLite
from composed.database import Facts
from composed.errors import Interrupted, NotFoundError
from composed.gateway import Gateway
from composed.project import Project
from tests.samples import Inv, MonkeyPatch


@contextlib.contextmanager
def connected(file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def make(file: Path, tasks: int, *, journal: str = "delete", page: int = 4096) -> Path:
    with connected(file) as connection:
        connection.execute(f"PRAGMA page_size = {page}")
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE task (title)")
        connection.execute("CREATE TABLE django_migrations (id, app, name)")
        connection.execute("INSERT INTO django_migrations VALUES (1, 'a', '0001_initial')")
        connection.executemany("INSERT INTO task VALUES (?)", [("x" * 500,)] * tasks)
    return file


def count(file: Path) -> int:
    with connected(file) as connection:
        return int(connection.execute("SELECT count(*) FROM task").fetchone()[0])


def execute(file: Path, script: str) -> None:
    with connected(file) as connection:
        connection.executescript(script)


def database(folder: Path) -> SQLite:
    calls = Calls(Gateway(folder), folder / "swaps")
    return SQLite(folder / "db.sqlite3", folder / "ours/copy", calls, contextlib.nullcontext)


@pytest.fixture
def live(project: Project, inv: Inv, monkeypatch: MonkeyPatch) -> Path:
    """The live file, in WAL mode, with three tasks and a migration."""
    monkeypatch.setenv("COMPOSED_MODE", "local")
    (project.root / "data").mkdir()
    return make(project.root / "data/db.sqlite3", 3, journal="wal")


def restore_from(inv: Inv, file: Path) -> int:
    return inv("db.restore", "--from", str(file), "--no-snapshot", "--yes")


def test_a_snapshot_keeps_the_rows(live: Path, inv: Inv, project: Project) -> None:
    assert inv("db.snapshot", "--name", "three") == 0
    execute(live, "DELETE FROM task")
    assert inv("db.restore", "--name", "three", "--yes") == 0

    assert count(live) == 3
    assert inv.out().startswith("three: 12.0 KiB, 2 tables, 4 rows\nRestored: 2 tab")
    whole = project.snapshots / "three/database.dump"
    assert whole.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in whole.parent.iterdir()} == {"database.dump", "manifest.json"}


def test_a_program_that_has_the_live_file_open_sees_the_restored_rows(live: Path, inv: Inv) -> None:
    with connected(live) as worker:
        inv("db.snapshot", "--name", "three")
        worker.execute("DELETE FROM task")

        assert inv("db.restore", "--name", "three", "--no-snapshot", "--yes") == 0

        assert worker.execute("SELECT count(*) FROM task").fetchone() == (3,)
        worker.execute("INSERT INTO task VALUES ('more')")
    assert count(live) == 4


def test_a_snapshot_is_of_one_moment(live: Path, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    calls = Calls(Gateway(tmp_path), tmp_path / "swaps")
    sqlite = SQLite(live, tmp_path / "scratch", calls, contextlib.nullcontext)
    copy = tmp_path / "copy"
    copy.touch()
    monkeypatch.setattr("composed.data.sqlite.PAGES_AT_ONCE", 1)
    with connected(live) as writer:

        def write(*_: object) -> None:
            writer.execute("INSERT INTO task VALUES ('meanwhile')")

        monkeypatch.setattr("composed.terminal.Progress.reach", write)
        facts, _ = sqlite.dump(copy)

    assert facts.rows["task"] == count(copy) == 3
    assert count(live) > 3


@pytest.mark.parametrize("page", [1024, 8192])
def test_any_page_size_can_be_restored(page: int, live: Path, inv: Inv, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere.sqlite3", 7, page=page)
    before = elsewhere.read_bytes()

    assert restore_from(inv, elsewhere) == 0

    assert (count(live), elsewhere.read_bytes()) == (7, before)


def test_rows_in_the_log_of_a_used_file_are_restored(live: Path, inv: Inv, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere.sqlite3", 7, journal="wal")
    with connected(elsewhere) as user:
        user.execute("INSERT INTO task VALUES ('in the log')")

        assert restore_from(inv, elsewhere) == 0

    assert count(live) == 8


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_packed_file_is_restored(
    pack: Callable[[bytes], bytes], live: Path, inv: Inv, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(pack(make(tmp_path / "plain.sqlite3", 5).read_bytes()))

    assert restore_from(inv, packed) == 0
    assert count(live) == 5


def test_damaged_files_change_nothing(live: Path, inv: Inv, tmp_path: Path) -> None:
    damaged = make(tmp_path / "damaged.sqlite3", 100)
    damaged.write_bytes(damaged.read_bytes()[:20000])

    assert restore_from(inv, damaged) == 65

    assert "is damaged: " in inv.err()
    assert count(live) == 3


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"SQLite format 3\x00 and then something else" * 99, "is damaged: "),
        (b"PGDMP...", "is of postgresql; this stack, in local mode, has sqlite"),
        (b"SELECT 1;\n", "is no SQLite database: local mode restores no SQL script.\n"),
        (b"PRAGMA foreign_keys=OFF;\n", "is a text dump of SQLite.\n"),
    ],
)
def test_a_file_that_is_no_sqlite_is_65(
    contents: bytes, reason: str, live: Path, inv: Inv, tmp_path: Path
) -> None:
    (tmp_path / "dump").write_bytes(contents)

    assert restore_from(inv, tmp_path / "dump") == 65

    assert reason in inv.err()


def test_a_held_lock_is_74(live: Path, inv: Inv, monkeypatch: MonkeyPatch) -> None:
    execute(live, "PRAGMA journal_mode = delete")
    monkeypatch.setattr("composed.data.sqlite.SECONDS_TO_WAIT", 0)
    with connected(live) as holder:
        holder.execute("BEGIN EXCLUSIVE")

        assert inv("db.snapshot") == 74

    assert "failed: database is locked." in inv.err()


@pytest.mark.parametrize("verb", ["db.restore --name three", "db.reset", "down --volumes"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_program_that_goes_on_writing_is_named(
    journal: str, verb: str, live: Path, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    inv("db.snapshot", "--name", "three")
    execute(live, f"PRAGMA journal_mode = {journal}; INSERT INTO task VALUES ('later')")
    for seconds in ("SECONDS_TO_WAIT", "SECONDS_FOR_READERS"):
        monkeypatch.setattr(f"composed.data.sqlite.{seconds}", 0.1)
    monkeypatch.setattr("composed.data.sqlite.users_of", lambda _: {77: "python"})
    with connected(live) as writer:
        writer.execute("BEGIN IMMEDIATE")

        assert inv(*verb.split(), "--yes") == (77 if verb == "down --volumes" else 74)

    how = "used" if verb == "down --volumes" else "written"
    assert f"db.sqlite3 is {how} by python (PID 77). The database is as it was." in inv.err()
    assert count(live) == 4


def test_a_program_that_goes_on_reading_is_named(
    live: Path, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    """Without a log of SQLite, a reader keeps out the last step of a restore."""
    execute(live, "PRAGMA journal_mode = delete")
    for seconds in ("SECONDS_TO_WAIT", "SECONDS_FOR_READERS"):
        monkeypatch.setattr(f"composed.data.sqlite.{seconds}", 0.1)
    monkeypatch.setattr("composed.data.sqlite.users_of", lambda _: {77: "python"})
    with connected(live) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM task").fetchall()

        assert inv("db.reset", "--no-snapshot", "--yes") == 74

    assert "db.sqlite3 is used by python (PID 77). The database is as it was." in inv.err()
    assert count(live) == 3


def test_a_write_after_the_snapshot_forbids_the_swap(
    live: Path, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    unchanged = SQLite._unchanged
    with connected(live) as other:  # open all the time, so that nobody can be locked out

        @contextlib.contextmanager
        def overtaken(self: SQLite) -> Iterator[Callable[[], None]]:
            with unchanged(self) as check:
                other.execute("INSERT INTO task VALUES ('confirmed')")
                yield check

        monkeypatch.setattr(SQLite, "_unchanged", overtaken)
        other.execute("SELECT * FROM task").fetchall()

        assert inv("db.reset", "--yes") == 74

    assert "The database is as it was." in inv.err()
    assert count(live) == 4


def tables(file: Path) -> list[tuple[str]]:
    with connected(file) as connection:
        return connection.execute("SELECT name FROM sqlite_master").fetchall()


@pytest.mark.parametrize(
    ("verb", "left"), [("db.reset", []), ("down --volumes", None), ("destroy", None)]
)
def test_a_verb_that_empties_or_removes_the_file_keeps_a_snapshot(
    verb: str, left: list[tuple[str]] | None, live: Path, inv: Inv
) -> None:
    assert inv(*verb.split(), "--yes") == 0
    assert (tables(live) if live.exists() else None) == left

    way_back = inv.err().splitlines()[-1]
    assert inv(*way_back.partition("inv ")[2].split(), "--yes") == 0
    assert count(live) == 3


# Writes rows one by one, and prints the number of each when SQLite has confirmed it.
WRITER = """\
import itertools, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
for number in itertools.count():
    connection.execute("INSERT INTO task VALUES (?)", [f"written {number}"])
    print(number, flush=True)
    time.sleep(0.005)
"""

each_removal = pytest.mark.parametrize("verb", ["down --volumes", "destroy"])
each_journal = pytest.mark.parametrize("journal", ["delete", "wal"])


@each_removal
@each_journal
def test_no_file_is_removed_that_another_process_has_open(
    journal: str, verb: str, live: Path, inv: Inv
) -> None:
    execute(live, f"PRAGMA journal_mode = {journal}")
    command = [sys.executable, "-c", WRITER, str(live)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        writer.stdout.readline()

        assert inv(*verb.split(), "--yes") == 77

        writer.stdout.readline()
        writer.kill()
        confirmed = 2 + len(writer.stdout.readlines())
    assert re.search(rf"db.sqlite3 is used by \S+ \(PID {writer.pid}\)\.", inv.err())
    assert count(live) >= 3 + confirmed


@each_removal
@each_journal
def test_a_program_that_comes_during_the_removal_confirms_no_row(
    journal: str, verb: str, live: Path, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    execute(live, f"PRAGMA journal_mode = {journal}")
    dump, late = SQLite.dump, list[sqlite3.Connection]()

    def come(self: SQLite, file: Path) -> tuple[Facts, str]:
        late.append(sqlite3.connect(live, isolation_level=None))
        return dump(self, file)

    monkeypatch.setattr(SQLite, "dump", come)

    assert inv(*verb.split(), "--yes") == 0

    with contextlib.closing(late[0]):
        for statement in ("INSERT INTO task VALUES ('late')", "CREATE TABLE late (x)"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                late[0].execute(statement)
    assert list(live.parent.glob("db*")) == []


@each_removal
def test_a_database_made_right_after_the_removal_stays(
    verb: str, live: Path, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    given_up = SQLite.given_up

    @contextlib.contextmanager
    def followed(self: SQLite, remove: Callable[[], None]) -> Iterator[None]:
        with given_up(self, remove):
            yield
        make(live, 5)

    monkeypatch.setattr(SQLite, "given_up", followed)

    assert inv(*verb.split(), "--yes") == 0

    assert count(live) == 5


@each_removal
def test_a_removal_that_is_cut_off_leaves_every_row_in_the_snapshot(
    verb: str, live: Path, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    remove = Gateway.remove

    def cut_off(self: Gateway, file: Path) -> None:
        if file.name == live.name:
            raise Interrupted
        remove(self, file)

    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "remove", cut_off)
        assert inv(*verb.split(), "--yes") == 130

    assert count(live) == 3
    assert inv("db.restore", "--latest", "--yes") == 0
    assert count(live) == 3


def test_without_a_file_no_snapshot_is_taken(live: Path, inv: Inv) -> None:
    live.unlink()

    assert inv("db.snapshot") == 66
    assert not live.exists()
    assert inv("down", "--volumes", "--yes") == 0


def test_the_copy_of_a_killed_restore_is_removed(live: Path, inv: Inv, project: Project) -> None:
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


# --- SQLite without a project ------------------------------------------------


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", False),
        ("CREATE TABLE task (x)", False),
        ("CREATE TABLE django_migrations (x); INSERT INTO django_migrations VALUES (1)", False),
        ("CREATE TABLE task (x); INSERT INTO task VALUES (1)", True),
    ],
)
def test_rows_that_migrate_makes_do_not_count(script: str, expected: bool, tmp_path: Path) -> None:
    execute(tmp_path / "db.sqlite3", script)

    assert database(tmp_path).has_rows() is expected


def test_a_copy_has_every_row_and_is_removed_with_the_files_beside(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    make(tmp_path / "db.sqlite3", 2)

    with database(tmp_path).copied() as place:
        Path(f"{place}.migrate.lock").touch()
        assert count(Path(place)) == 2

    assert list((tmp_path / "ours").iterdir()) == []


def test_a_missing_file_has_no_rows_and_no_copy_and_is_not_made(tmp_path: Path) -> None:
    assert not database(tmp_path).has_rows()
    with pytest.raises(NotFoundError), database(tmp_path).copied():
        pass

    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.parametrize("path", ["/dev/null", "data/pipe", "data/folder"])
def test_a_database_that_is_no_file_is_neither_filled_nor_removed(
    path: str, live: Path, inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    assert inv("db.snapshot", "--name", "mine") == 0
    os.mkfifo(project.root / "data/pipe")
    (project.root / "data/folder").mkdir()
    (project.root / "link").symlink_to("/dev/null")
    monkeypatch.setenv("SQLITE_PATH", path)
    verbs = ["db.restore --name mine --yes", "db.reset --yes", "db.snapshot", "dbshell"]
    verbs += ["down --volumes --yes", "down --volumes --no-snapshot --yes", "destroy --yes"]

    codes = [inv(*verb.split()) for verb in verbs]

    assert {*codes} <= {74, 77}
    assert inv.err().count("Is a directory" if path == "data/folder" else "not a file") == 7
    assert (project.root / "data/pipe").is_fifo()
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("make_thing", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", ".migrate.lock"])
def test_a_thing_in_place_of_a_side_file_is_named_by_every_verb_at_once(
    suffix: str, make_thing: Callable[[Path], None], live: Path, inv: Inv
) -> None:
    thing = live.with_name(live.name + suffix)
    make_thing(thing)
    verbs = ["up", "up --migrate", "restart", "manage -- check", "migrate", "dbshell"]
    verbs += ["db.snapshot", "db.reset --yes", "db.rehearse", "down --volumes --yes"]
    verbs += ["down --volumes --no-snapshot --yes", "destroy --yes"]

    for verb in verbs:
        assert (verb, inv(*verb.split())) == (verb, 77)
        assert f"{thing} cannot be written: " in inv.err()

    assert (inv("ps"), inv("down")) == (0, 0)
    thing.unlink() if thing.is_fifo() else thing.rmdir()
    assert count(live) == 3
