"""Look into a stack's PostgreSQL, fill the database, hold a lock on a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.stacks.copies import Copy
from tests.stacks.waiting import wait_until

USUAL = {"postgres", "task_db", "template0", "template1"}
FILL = """
INSERT INTO task_api_task (id, title, description, done, created, updated)
SELECT gen_random_uuid(), 'task ' || n, '', false, now(), now() FROM generate_series(1, {count}) n
"""


def sql(stack: Copy, command: str, container: str = "", database: str = "task_db") -> str:
    """Return the rows, a line each; no verb is asked, which would clean up."""
    psql = ("psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only")
    user = ("--username", "cp_user", "--dbname", database, "--command", command)
    done = stack.run("docker", "exec", container or f"{stack.project}-db-1", *psql, *user)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tasks(stack: Copy) -> int:
    return int(sql(stack, "SELECT count(*) FROM task_api_task"))


def databases(stack: Copy) -> set[str]:
    return set(sql(stack, "SELECT datname FROM pg_database").split())


def listed(stack: Copy) -> dict[str, Any]:
    """Return the snapshots as `inv db.list` has them."""
    found: dict[str, Any] = json.loads(stack.ok("db.list", "--json"))
    return found


@contextmanager
def locked(stack: Copy) -> Iterator[None]:
    """Hold a lock that pg_dump alone has to wait for: on a catalog that no other program reads."""
    words = ("dc", "--", "exec", "--no-TTY", "db", "psql", "--username", "cp_user", "task_db")
    session = stack.start(*words, stdin=-1)
    assert session.stdin
    session.stdin.write("BEGIN; LOCK TABLE pg_ts_template;\n")
    session.stdin.flush()
    held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    wait_until(lambda: int(sql(stack, held)) > 0, "the lock")
    try:
        yield
    finally:
        session.communicate("ROLLBACK;\n", timeout=30)


def dumping(stack: Copy) -> bool:
    """Say whether pg_dump runs inside; a question to the server ends with the lock."""
    return "pg_dump --username" in stack.processes("db")
