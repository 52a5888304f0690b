"""The JSON API: the answers, and that no input leads to a 500."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from task_api.models import Task
from task_api.paging import Position

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=True)


def make(title: str = "a task", *, created: datetime = NOON, **fields: Any) -> Task:
    task = Task.objects.create(title=title, **fields)
    Task.objects.filter(id=task.id).update(created=created)
    return task


def send(client: Client, body: Any, method: str = "post", path: str = "/api/tasks") -> Any:
    if not isinstance(body, str | bytes):
        body = json.dumps(body)
    return client.generic(method.upper(), path, body, content_type="application/json")


def assert_refused(response: Any, status: int, field: str | None, words: str = "") -> None:
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/json")
    detail = response.json()["detail"]
    assert field in [flaw["field"] for flaw in detail]
    assert all(flaw["message"] and flaw.keys() == {"field", "message"} for flaw in detail)
    assert words in detail[0]["message"]


def titles(response: Any) -> list[str]:
    return [item["title"] for item in response.json()["items"]]


def every_title(client: Client, limit: int) -> list[str]:
    """Return the titles on all pages."""
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": limit}
    while True:
        page = client.get("/api/tasks", query)
        seen += titles(page)
        if page.json()["next"] is None:
            return seen
        query["cursor"] = page.json()["next"]


# -- Create, read, change, delete ---------------------------------------------------------


def test_a_task_is_created_with_defaults(client: Client) -> None:
    response = send(client, {"title": "  Buy milk "})

    assert response.status_code == 201
    task = response.json()
    assert UUID(task.pop("id"))
    assert datetime.fromisoformat(task.pop("created")).tzinfo
    assert datetime.fromisoformat(task.pop("updated")).tzinfo
    assert task == {"title": "Buy milk", "description": "", "done": False, "due": None}


def test_a_task_is_created_with_everything(client: Client) -> None:
    given = {"title": "ü" * 200, "description": "✓" * 10_000, "done": True, "due": "9999-12-31"}

    created = send(client, given).json()

    assert created.items() >= given.items()
    assert client.get(f"/api/tasks/{created['id']}").json() == created


def test_a_change_leaves_the_other_fields(client: Client) -> None:
    task = make(description="as before", due="2026-12-31")

    response = send(client, {"done": True, "due": None}, "patch", f"/api/tasks/{task.id}")

    assert response.status_code == 200
    changed = response.json()
    assert (changed["done"], changed["due"], changed["description"]) == (True, None, "as before")
    assert datetime.fromisoformat(changed["updated"]) > task.updated


def test_a_task_is_deleted_once(client: Client) -> None:
    path = f"/api/tasks/{make().id}"

    first, second = client.delete(path), client.delete(path)

    assert (first.status_code, first.content) == (204, b"")
    assert_refused(second, 404, "task_id")


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_an_unknown_task_is_a_404(client: Client, method: str) -> None:
    assert_refused(send(client, {"done": True}, method, f"/api/tasks/{uuid4()}"), 404, "task_id")


# -- Lists --------------------------------------------------------------------------------


def test_a_list_is_newest_first_and_one_query(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for age in range(25):
        make(f"{age}", created=NOON - timedelta(hours=age))
    client.get("/api/tasks")  # the first request also reads the migrations

    with django_assert_num_queries(1):
        response = client.get("/api/tasks")

    assert titles(response) == [f"{age}" for age in range(20)]


def test_the_pages_hold_every_task_once(client: Client) -> None:
    for age in range(5):
        make(f"{age}", created=NOON - timedelta(hours=age))

    assert every_title(client, limit=2) == ["0", "1", "2", "3", "4"]


def test_tasks_created_at_the_same_time_are_neither_lost_nor_repeated(client: Client) -> None:
    for number in range(5):
        make(f"{number}")

    assert sorted(every_title(client, limit=1)) == ["0", "1", "2", "3", "4"]


def test_a_task_added_between_two_pages_does_not_shift_the_second(client: Client) -> None:
    for age in range(4):
        make(f"{age}", created=NOON - timedelta(hours=age))
    first = client.get("/api/tasks", {"limit": 2}).json()
    make("newer", created=NOON + timedelta(hours=1))

    second = client.get("/api/tasks", {"limit": 2, "cursor": first["next"]})

    assert titles(second) == ["2", "3"]
    assert second.json()["next"] is None


def test_a_list_can_be_filtered_by_done(client: Client) -> None:
    make("open")
    make("closed", done=True)

    assert titles(client.get("/api/tasks?done=true")) == ["closed"]
    assert titles(client.get("/api/tasks?done=false")) == ["open"]
    assert len(titles(client.get("/api/tasks"))) == 2


# -- Bodies that are refused --------------------------------------------------------------

FLAWED = {
    "title missing": ({}, "title"),
    "title empty": ({"title": ""}, "title"),
    "title blank": ({"title": " \t\n\u00a0"}, "title"),
    "title too long": ({"title": "x" * 201}, "title"),
    "title null": ({"title": None}, "title"),
    "title a number": ({"title": 1}, "title"),
    "title with NUL": ({"title": "a\0b"}, "title"),
    "title with a lone surrogate": ({"title": "\ud800"}, "title"),
    "description with NUL": ({"title": "a", "description": "\0"}, "description"),
    "description with a lone surrogate": ({"title": "a", "description": "\udfff"}, "description"),
    "description too long": ({"title": "a", "description": "x" * 10_001}, "description"),
    "description null": ({"title": "a", "description": None}, "description"),
    "done a word": ({"title": "a", "done": "yes"}, "done"),
    "done a number": ({"title": "a", "done": 1}, "done"),
    "done null": ({"title": "a", "done": None}, "done"),
    "due not a date": ({"title": "a", "due": "tomorrow"}, "due"),
    "due with NUL": ({"title": "a", "due": "2026-01-01\0"}, "due"),
    "due an impossible day": ({"title": "a", "due": "2026-02-30"}, "due"),
    "due in year 0": ({"title": "a", "due": "0000-01-01"}, "due"),
    "due in year 10000": ({"title": "a", "due": "10000-01-01"}, "due"),
    "due with a time": ({"title": "a", "due": "2026-01-01T00:00:00"}, "due"),
    "due a number": ({"title": "a", "due": 1}, "due"),
    "due a huge number": ({"title": "a", "due": 10**30}, "due"),
    "due digits": ({"title": "a", "due": "1767225600"}, "due"),
    "due in other digits": ({"title": "a", "due": "٢٠٢٦-01-01"}, "due"),
    "an unknown field": ({"title": "a", "colour": "red"}, "colour"),
    "a field of ours": ({"title": "a", "id": str(uuid4())}, "id"),
    "an unknown field, lone surrogate": ({"title": "a", "\ud800": 1}, "body"),
    "a list": ([{"title": "a"}], "body"),
    "a string": ("a string", "body"),
    "null": (None, "body"),
    "a number": (10**400, "body"),
}


@pytest.mark.parametrize(("body", "field"), FLAWED.values(), ids=FLAWED.keys())
def test_a_flawed_body_is_refused_by_field(client: Client, body: Any, field: str) -> None:
    assert_refused(send(client, json.dumps(body)), 422, field)


NO_JSON = {
    "not JSON": b"{title: a}",
    "cut off": b'{"title": "a',
    "not UTF-8": '{"title": "ü"}'.encode("latin-1"),
    "UTF-16": '{"title": "a"}'.encode("utf-16"),
    "with a byte order mark": b'\xef\xbb\xbf{"title": "a"}',
    "NaN": b'{"title": "a", "due": NaN}',
    "Infinity": b'{"title": "a", "due": -Infinity}',
    "a number of 5000 digits": b'{"title": "a", "due": ' + b"9" * 5_000 + b"}",
    "lists 10 000 deep": b'{"title": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects 10 000 deep": b'{"title":' * 10_000 + b"1" + b"}" * 10_000,
    "white space": b"  ",
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
@pytest.mark.parametrize("debug", [False, True])
def test_a_body_that_is_not_json_is_refused(
    client: Client, settings: Any, body: bytes, *, debug: bool
) -> None:
    settings.DEBUG = debug
    response = send(client, body)

    assert response.status_code in {400, 422}
    assert_refused(response, response.status_code, response.json()["detail"][0]["field"])
    assert response.json()["detail"][0]["field"] in {"body", "title"}


def test_an_empty_body_is_refused(client: Client) -> None:
    assert_refused(send(client, b""), 422, "body")


def test_a_body_of_ten_megabytes_is_refused(client: Client) -> None:
    assert_refused(send(client, {"title": "x" * 10_000_000}), 413, "body", "too big")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(client: Client, content_type: str) -> None:
    response = client.post("/api/tasks", b'{"title": "a"}', content_type=content_type)

    assert_refused(response, 415, "body", "application/json")


def test_a_hostile_body_gets_a_short_answer(client: Client) -> None:
    response = send(client, {"x" * 5_000 + str(number): 1 for number in range(200)})

    assert_refused(response, 422, "title")
    assert len(response.content) < 10_000


@pytest.mark.parametrize("field", ["title", "description", "done"])
def test_a_change_to_null_is_refused(client: Client, field: str) -> None:
    assert_refused(send(client, {field: None}, "patch", f"/api/tasks/{make().id}"), 422, field)


def test_a_change_of_nothing_is_refused(client: Client) -> None:
    assert_refused(
        send(client, {}, "patch", f"/api/tasks/{make().id}"), 422, "body", "at least one"
    )


# -- Queries and paths that are refused ---------------------------------------------------

FAR = Position(NOON, UUID(int=0)).encode()
QUERIES = {
    "limit=-1": "limit",
    "limit=0": "limit",
    "limit=101": "limit",
    "limit=99999999999999999999": "limit",
    "limit=" + "9" * 5_000: "limit",
    "limit=ten": "limit",
    "limit=%00": "limit",
    "limit=": "limit",
    "done=maybe": "done",
    "done=%00": "done",
    "cursor=": "cursor",
    "cursor=%00": "cursor",
    "cursor=garbage": "cursor",
    "cursor=%C3%BC": "cursor",
    "cursor=%ED%A0%80": "cursor",
    "cursor=" + "A" * 100_000: "cursor",
    "cursor=" + "A" * 28: "cursor",  # base64 of too few bytes
    "cursor=g" + "_" * 31: "cursor",  # before the first year
    "cursor=f" + "_" * 31: "cursor",  # after the last
    f"cursor={FAR}%0A": "cursor",
}


@pytest.mark.parametrize(("query", "field"), QUERIES.items(), ids=lambda text: text[:24])
def test_a_flawed_query_is_refused_by_field(client: Client, query: str, field: str) -> None:
    assert_refused(client.get(f"/api/tasks?{query}"), 422, field)


def test_a_query_of_too_many_parameters_is_refused(client: Client) -> None:
    assert_refused(client.get("/api/tasks?" + "a=1&" * 2_000), 400, None)


def test_a_cursor_may_have_any_date(client: Client) -> None:
    make()
    for year in (1, 1969, 1970, 9999):
        cursor = Position(datetime(year, 1, 1, tzinfo=UTC), uuid4()).encode()
        assert client.get("/api/tasks", {"cursor": cursor}).status_code == 200


@pytest.mark.parametrize(
    "task_id", ["1", "x", f"{UUID(int=0)}%00", "%00", "%ED%A0%80", "x" * 5_000]
)
@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_an_id_that_is_not_a_uuid_is_refused(client: Client, task_id: str, method: str) -> None:
    response = send(client, {"done": True}, method, f"/api/tasks/{task_id}")

    assert_refused(response, 422, "task_id")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/tasks/", "/api/tasks/a/b"])
def test_an_unknown_path_is_a_json_404(
    client: Client, settings: Any, path: str, *, debug: bool
) -> None:
    settings.DEBUG = debug

    assert_refused(client.get(path), 404, None, path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("put", "/api/tasks", {"GET", "POST"}),
        ("delete", "/api/tasks", {"GET", "POST"}),
        ("post", f"/api/tasks/{UUID(int=1)}", {"GET", "PATCH", "DELETE"}),
    ],
)
def test_a_wrong_method_is_a_json_405(
    client: Client, method: str, path: str, allowed: set[str]
) -> None:
    response = send(client, {}, method, path)

    assert_refused(response, 405, None, method.upper())
    assert set(response["Allow"].split(", ")) == allowed


def test_an_unforeseen_error_is_a_json_500_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("task_api.api.Position.decode", lambda _: 1 / 0)

    response = Client(raise_request_exception=False).get("/api/tasks?cursor=x")

    assert_refused(response, 500, None)
    assert "ZeroDivisionError" in caplog.text


# -- The schema ---------------------------------------------------------------------------


def test_the_schema_describes_every_operation(client: Client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]

    assert {path: set(operations) for path, operations in paths.items()} == {
        "/api/tasks": {"get", "post"},
        "/api/tasks/{task_id}": {"get", "patch", "delete"},
    }


def test_no_field_of_a_change_is_required_or_has_a_default(client: Client) -> None:
    schema = client.get("/api/openapi.json").json()["components"]["schemas"]["TaskChange"]

    assert "required" not in schema
    assert not [name for name, field in schema["properties"].items() if "default" in field]


def test_the_documentation_page_loads_files_of_this_server_alone(client: Client) -> None:
    page = client.get("/api/docs").content.decode()

    assert "/static/ninja/swagger-ui" in page
    assert "//" not in page.replace("<!--", "")
