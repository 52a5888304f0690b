"""The long pieces of work on data, slowed down so that a test can cut off the work half-way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import pytest

from tests.stacks.copies import Copy, changed, volumes
from tests.stacks.postgresql import FILL, USUAL, databases, dumping, locked, sql
from tests.stacks.waiting import wait_until

ROWS = 2000

# An index over this function makes a restore last for four seconds on every machine.
SLOW = """
CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(0.1); RETURN n; END';
CREATE TABLE slow_rows AS SELECT generate_series(1, 40) AS n;
CREATE INDEX ON slow_rows (public.slow(n));
"""

MIGRATION = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("task_api", "0002_task_done_page")]
    operations = [
        migrations.RunSQL("UPDATE task_api_task SET description = 'half'"),
        migrations.RunSQL("SELECT pg_sleep(3)"),
    ]
"""

OURS = "app = 'task_api' AND name ~ '^0003'"

Around = Callable[[Copy], AbstractContextManager[None]]


@dataclass(frozen=True)
class Work:
    """A verb, a condition that says that the verb is half-way, and a context for the verb."""

    verb: str
    under_way: Callable[[Copy], object]
    around: Around = lambda _: nullcontext()

    def __str__(self) -> str:
        return self.verb.split()[0]


def begin(work: Work, stack: Copy) -> subprocess.Popen[str]:
    """Start the verb; return when the verb is half-way."""
    verb = stack.start(*work.verb.split())
    half_way = f"{work} half-way"
    wait_until(lambda: work.under_way(stack) or verb.poll() is not None, half_way, 120)
    assert verb.poll() is None, verb.communicate()
    return verb


def prepare_rows(stack: Copy) -> None:
    """Fill a migrated stack."""
    sql(stack, FILL.format(count=ROWS))


def prepare(stack: Copy) -> None:
    """Fill a migrated stack, and take the snapshot that is restored."""
    prepare_rows(stack)
    stack.ok("dbshell", text=SLOW)
    stack.ok("db.snapshot", "--name", "whole")


def indexing(stack: Copy) -> bool:
    """Say whether some server of the project makes an index, by the name of the process."""
    tops = (stack.docker("top", id_, "-eo", "pid,args", "-ww") for id_ in servers(stack))
    return any("CREATE INDEX" in top for top in tops)


def servers(stack: Copy) -> set[str]:
    """Return every container that runs PostgreSQL, also of an upgrade."""
    return stack.containers("--filter", "label=com.docker.compose.service=db")


def sleeping(stack: Copy) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(3)%'"
    return int(sql(stack, f"{query} AND state = 'active'")) > 0


@contextmanager
def pending_migration(stack: Copy) -> Iterator[None]:
    """Have a migration that changes every row, then sleeps."""
    file = stack.root / "server/task_api/migrations/0003_half.py"
    file.write_text(MIGRATION)
    try:
        yield
    finally:
        file.unlink()


def is_migrated(stack: Copy) -> bool:
    """Say whether the migration is recorded; fail where only a part is there."""
    wait_until(lambda: not sleeping(stack), "the migration to end")
    recorded = sql(stack, f"SELECT name FROM django_migrations WHERE {OURS}") == "0003_half"
    found = sql(stack, "SELECT DISTINCT description FROM task_api_task")
    assert found == ("half" if recorded else "")
    return recorded


def take_back(stack: Copy) -> None:
    """Take back a migration that was done."""
    sql(stack, "DELETE FROM django_migrations WHERE name = '0003_half'")
    sql(stack, "UPDATE task_api_task SET description = ''")


@contextmanager
def newer_image(stack: Copy) -> Iterator[None]:
    """Name a newer PostgreSQL; in the end the file is as before."""
    file = stack.root / ".env"
    good = file.read_text()
    with changed(file, good, f"{good}POSTGRES_IMAGE=postgres:17\n"):
        yield
        assert "POSTGRES_VOLUME" not in file.read_text()


SNAPSHOT = Work("db.snapshot --name cut-off", dumping, locked)
RESTORE = Work("db.restore --name whole --no-snapshot --yes", indexing)
MIGRATE = Work("migrate --no-snapshot", sleeping, pending_migration)
UPGRADE = Work("db.upgrade", indexing, newer_image)

each_work = pytest.mark.parametrize("work", [SNAPSHOT, RESTORE, MIGRATE, UPGRADE], ids=str)


def check_whole(stack: Copy) -> None:
    """Bring the stack up again: every committed row is there, and nothing half-made."""
    stack.ok("up")
    wait_until(lambda: not indexing(stack) and not sleeping(stack), "what was cut off to end")
    assert sql(stack, "SELECT count(*), max(description) FROM task_api_task") == f"{ROWS}|"
    assert sql(stack, f"SELECT name FROM django_migrations WHERE {OURS}") == ""
    assert sql(stack, "SELECT to_regclass('large')") == ""
    stack.ok("db.snapshot", "--name", "after")
    assert "half-made" not in stack.ok("db.list")
    stack.run("rm", "-r", str(stack.root / "data/snapshots/after"))
    assert databases(stack) == USUAL
    assert not stack.containers("--all", "--filter", "label=composed.call")
    assert volumes(stack) == {f"{stack.project}_db-data"}
