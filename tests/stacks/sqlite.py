"""Look into the SQLite file of a stack in local mode, and fill the file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any

from tests.stacks.copies import Copy

# Two thousand tasks, as `INSERT INTO task_api_task` takes them.
SERIES = """
(id, title, description, done, created, updated)
WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
SELECT lower(hex(randomblob(16))), 'task ' || n, '', 0, datetime('now'), datetime('now') FROM series
"""


def database(copy: Copy) -> sqlite3.Connection:
    return sqlite3.connect(copy.root / "data/db.sqlite3", timeout=20)


def execute(copy: Copy, statement: str) -> None:
    with contextlib.closing(database(copy)) as connection, connection:
        connection.execute(statement)


def rows(copy: Copy, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(database(copy)) as connection:
        return connection.execute(query).fetchall()


def leader(copy: Copy) -> int:
    """Return the process id of the server, which leads a process group."""
    return int(json.loads((copy.own / "backend.json").read_text())["pid"])


def assert_no_half_made_copy(copy: Copy) -> None:
    assert [*copy.own.glob("restored*"), *copy.own.glob("swaps/*")] == []
