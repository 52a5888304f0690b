"""The plan of every query that the API makes: by an index, and few rows are read."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from task_api.models import Task
from task_api.paging import Position

pytestmark = pytest.mark.django_db

ROWS = 10_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = UUID(int=ROWS // 2)
DONE: dict[str, Callable[[int], bool]] = {
    "no row is done": lambda number: False,
    "15 rows are done": lambda number: number < ROWS and number % (ROWS // 15) == 7,
    "most rows are done": lambda number: number % 100 > 0,
    "all rows are done": lambda number: True,
}
SECONDS = (-1, 20, ROWS // 2, ROWS + 1)  # cursors before all tasks, between them, after them


@pytest.fixture
def client(client: Client) -> Client:
    """Return a client whose server has read the migrations, once."""
    client.get("/")
    return client


@pytest.fixture(params=DONE.values(), ids=list(DONE))
def is_done(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    """Fill the table, and count the rows, as PostgreSQL does in the background."""
    monkeypatch.setattr(Task._meta.get_field("created"), "auto_now_add", False)
    Task.objects.bulk_create(
        Task(id=UUID(int=n), title="a", done=request.param(n), created=NOON + timedelta(seconds=n))
        for n in range(ROWS)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return request.param


def test_every_list_is_read_from_an_index(client: Client, is_done: Callable[[int], bool]) -> None:
    cursors = [Position(NOON + timedelta(seconds=s), ONE).encode() for s in SECONDS]
    rows = [is_done(number) for number in range(ROWS)]

    for done, cursor, limit in product((None, "true", "false"), (None, *cursors), (1, 20, 100)):
        query = {"done": done, "cursor": cursor, "limit": limit}
        given = {name: value for name, value in query.items() if value}
        [plan] = plans(client.get, "/api/tasks", given)
        assert_by_index(plan)
        if connection.vendor == "sqlite" and done and rows.count(done == "true") < ROWS // 2:
            assert "task_done_page" in plan, plan  # SQLite does not count the rows


def test_a_task_is_found_by_its_key(client: Client, is_done: object) -> None:
    path = f"/api/tasks/{ONE}"
    get = plans(client.get, path)
    patch = plans(client.patch, path, {"done": True}, "application/json")
    delete = plans(client.delete, path)

    assert [len(found) for found in (get, patch, delete)] == [1, 2, 1]
    for plan in (*get, *patch, *delete):
        assert_by_index(plan)


def plans(request: Callable[..., object], *arguments: object) -> list[str]:
    """Return the plans of the queries of a request."""

    with CaptureQueriesContext(connection) as captured:
        request(*arguments)
    texts = [query["sql"] for query in captured.captured_queries]
    return [explain(sql) for sql in texts if sql.startswith(("SELECT", "UPDATE", "DELETE"))]


def explain(sql: str) -> str:
    words, column = {"sqlite": ("QUERY PLAN", -1), "postgresql": ("(ANALYZE, COSTS OFF)", 0)}[
        connection.vendor
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {words} {sql.replace('%', '%%')}")
        return "\n".join(row[column] for row in cursor.fetchall())


def assert_by_index(plan: str) -> None:
    """Refuse each plan that grows with the table.

    PostgreSQL may sort the few rows that an index has found: the choice changes with the size
    of the table on disk, which autovacuum changes at any time.
    """
    assert "INDEX" in plan.upper(), plan
    assert not any(word in plan for word in ("Seq Scan", "TEMP B-TREE")), plan
    rows = re.findall(r"\brows=(\d+)|Rows Removed by \w.*: (\d+)", plan)
    assert sum(int(found or removed) for found, removed in rows) < ROWS // 10, plan
