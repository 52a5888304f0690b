"""The JSON API: the answers, and that no input leads to a 500."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
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


def assert_refused(response: Any, status: int, field: str | None = None, words: str = "") -> None:
    """The answer has the API's one error shape; ``field`` is one of the wrong fields."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "errors"}
    assert problem["status"] == status
    assert problem["title"]
    assert words in problem["detail"]
    fields = [flaw["field"] for flaw in problem["errors"]]
    assert field in fields if field else not fields
    assert all(flaw.keys() == {"field", "message"} for flaw in problem["errors"])


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
    assert_refused(second, 404)


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_an_unknown_task_is_a_404(client: Client, method: str) -> None:
    assert_refused(send(client, {"done": True}, method, f"/api/tasks/{uuid4()}"), 404)


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
    "title too long with its spaces": ({"title": " " + "x" * 200}, "title"),
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


INVISIBLE = {
    "zero width space": "\u200b",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "right-to-left override": "\u202e",
    "line separator": "\u2028",
    "ideographic space": "\u3000",
    "Hangul filler": "\u3164",
    "blank Braille pattern": "\u2800",
    "variation selector": "\ufe0f",
    "tag": "\U000e0041",
    "escape": "\x1b",
    "C1 control": "\x9b",
}
FLAWED |= {name: ({"title": f" {text} {text}"}, "title") for name, text in INVISIBLE.items()}


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
    "one NUL": b"\0",
    "a name twice": b'{"title": "a", "title": "b"}',
    "a name twice, deeper": b'{"title": {"a": 1, "a": 1}}',
    "a name twice, escaped": b'{"title": "a", "t\\u0069tle": "b"}',
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
@pytest.mark.parametrize("debug", [False, True])
def test_a_body_that_is_not_json_is_refused(
    client: Client, settings: Any, body: bytes, *, debug: bool
) -> None:
    settings.DEBUG = debug
    response = send(client, body)

    assert response.status_code in {400, 422}
    assert_refused(response, response.status_code, {400: None, 422: "title"}[response.status_code])


def test_an_empty_body_is_refused(client: Client) -> None:
    assert_refused(send(client, b""), 422, "body")


def test_a_body_of_ten_megabytes_is_refused(client: Client) -> None:
    assert_refused(send(client, {"title": "x" * 10_000_000}), 413, words="too big")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(client: Client, content_type: str) -> None:
    response = client.post("/api/tasks", b'{"title": "a"}', content_type=content_type)

    assert_refused(response, 415, words="application/json")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br, gzip"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json; charset=utf-16"},
    ],
    ids=str,
)
def test_a_body_in_another_coding_is_refused(client: Client, headers: dict[str, str]) -> None:
    content_type = headers.get("Content-Type", "application/json")

    response = client.post("/api/tasks", b'{"title": "a"}', content_type, headers=headers)

    assert_refused(response, 415)


def test_a_body_with_the_coding_named_is_read(client: Client) -> None:
    headers = {"Content-Encoding": "identity"}

    response = client.post(
        "/api/tasks", b'{"title": "a"}', 'application/json; charset="UTF-8"', headers=headers
    )

    assert response.status_code == 201


@pytest.mark.parametrize(("size", "status"), [(256 * 1024, 422), (256 * 1024 + 1, 413)])
def test_a_body_may_have_256_kib(client: Client, size: int, status: int) -> None:
    frame = len(json.dumps({"title": ""}))

    assert send(client, {"title": "x" * (size - frame)}).status_code == status


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/api/tasks", f"/api/tasks/{UUID(int=1)}"])
def test_a_broken_multipart_body_is_refused(
    client: Client, settings: Any, path: str, *, debug: bool
) -> None:
    settings.DEBUG = debug
    method = "post" if path == "/api/tasks" else "patch"
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        response = client.generic(method.upper(), path, b"--x\r\nbroken", content_type)
        assert_refused(response, 415)


def test_a_hostile_body_gets_a_short_answer(client: Client) -> None:
    response = send(client, {"x" * 1_000 + str(number): 1 for number in range(200)})

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
    f"cursor={FAR}%0A": "cursor",
    "cursor=" + "/" * 32: "cursor",
    "limit=1_0": "limit",
    "limit=%2B1": "limit",
    "limit=+1": "limit",
    "limit=1.0": "limit",
    "limit=%D9%A1": "limit",  # the digit of another script
    "done=1": "done",
    "done=yes": "done",
    "done=TRUE": "done",
    "done=": "done",
    "done=null": "done",
    "order=-due": "order",
    "page=-1": "page",
    "page": "page",
    "Limit=1": "Limit",
    "query=1": "query",
    "limit=1&limit=2": "limit",
    "done=true&done=true": "done",
    f"cursor={FAR}&cursor={FAR}": "cursor",
    "%ED%A0%80=1": "\ufffd\ufffd\ufffd",
}


@pytest.mark.parametrize(("query", "field"), QUERIES.items(), ids=lambda text: text[:24])
def test_a_flawed_query_is_refused_by_field(client: Client, query: str, field: str) -> None:
    assert_refused(client.get(f"/api/tasks?{query}"), 422, field)


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_a_parameter_of_another_operation_is_refused(client: Client, method: str) -> None:
    path = f"/api/tasks/{make().id}"

    assert_refused(send(client, {"done": True}, method, f"{path}?limit=1"), 422, "limit")
    assert_refused(send(client, {"done": True}, method, f"{path}?task_id=1"), 422, "task_id")
    assert_refused(send(client, {"title": "a"}, "post", "/api/tasks?task=1"), 422, "task")
    assert Task.objects.count() == 1


def test_a_query_of_many_unknown_parameters_gets_a_short_answer(client: Client) -> None:
    response = client.get("/api/tasks?" + "&".join(f"{number}=" for number in range(900)))

    assert_refused(response, 422, "0")
    assert len(response.content) < 10_000


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/api/tasks", f"/api/tasks/{UUID(int=1)}"])
def test_a_query_of_too_many_parameters_is_refused(
    client: Client, settings: Any, path: str, *, debug: bool
) -> None:
    settings.DEBUG = debug

    assert_refused(client.get(f"{path}?" + "a=1&" * 2_000), 400)


def test_a_cursor_may_have_any_date(client: Client) -> None:
    make("a")
    for year, after in {1: [], 1969: [], 1970: [], 9999: ["a"]}.items():
        cursor = Position(datetime(year, 1, 1, tzinfo=UTC), uuid4()).encode()
        assert titles(client.get("/api/tasks", {"cursor": cursor})) == after


@pytest.mark.parametrize(
    ("cursor", "after"), [("f" + "_" * 31, ["a"]), ("g" + "_" * 31, []), ("A" * 32, [])]
)
def test_a_time_outside_of_the_calendar_is_its_first_or_last(
    client: Client, cursor: str, after: list[str]
) -> None:
    make("a")

    assert titles(client.get("/api/tasks", {"cursor": cursor})) == after


@pytest.mark.parametrize(
    "task_id",
    [
        *("1", "x", f"{UUID(int=0)}%00", f"{UUID(int=0)}%0A", "%00", "%ED%A0%80", "x" * 5_000),
        *("0" * 32, f"{{{UUID(int=0)}}}", f"urn:uuid:{UUID(int=0)}"),
    ],
)
@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_an_id_that_is_not_a_uuid_is_refused(client: Client, task_id: str, method: str) -> None:
    response = send(client, {"done": True}, method, f"/api/tasks/{task_id}")

    assert_refused(response, 422, "task_id")


ONE = f"/api/tasks/{UUID(int=1)}"
UNSAFE = ("post", "put", "patch", "delete", "trace", "options", "brew")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nothing", "/api/tasks/", "/api/tasks/a/b", "/api/docs/"]
)
@pytest.mark.parametrize("method", ["get", *UNSAFE])
def test_an_unknown_path_is_a_404(settings: Any, method: str, path: str, *, debug: bool) -> None:
    settings.DEBUG = debug
    client = Client(enforce_csrf_checks=True)

    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        response = client.generic(method.upper(), path, b"{}", content_type)
        assert_refused(response, 404, words=path)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/tasks", "GET, HEAD, OPTIONS, POST"),
        (ONE, "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/api/docs", "GET, HEAD, OPTIONS"),
        ("/api/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_a_405(settings: Any, path: str, allowed: str, *, debug: bool) -> None:
    settings.DEBUG = debug
    client = Client(enforce_csrf_checks=True)

    for method in {method.upper() for method in UNSAFE} - set(allowed.split(", ")):
        response = client.generic(method, path, b"{}", "application/json")
        assert_refused(response, 405, words=method)
        assert response["Allow"] == allowed

    options = client.options(path)
    assert (options.status_code, options.content, options["Allow"]) == (204, b"", allowed)


@pytest.mark.parametrize(
    "path", ["/api/tasks", "/api/docs", "/api/openapi.json", "/api/nothing", ONE]
)
def test_head_is_a_get_without_the_body(client: Client, path: str) -> None:
    make()
    get, head = client.get(path), client.head(path)

    assert head.content == b""
    assert (head.status_code, dict(head.items())) == (get.status_code, dict(get.items()))


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", ["get", *UNSAFE])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/nothing", "/api/docs", ONE])
def test_a_wrong_host_is_a_400(
    client: Client, settings: Any, method: str, path: str, *, debug: bool
) -> None:
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = ["example.org"]

    for host in ("elsewhere", "example.org:x", "a b", "", "\u00fc"):
        assert_refused(client.generic(method.upper(), path, headers={"host": host}), 400)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("no"), 400),
        (RequestDataTooBig("no"), 400),
        (MultiPartParserError("no"), 400),
        (PermissionDenied("no"), 403),
        (Http404("no"), 404),
        (ValueError("no"), 500),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("hook", ["process_request", "process_response"])
def test_an_error_of_a_middleware_has_the_one_shape(
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    hook: str,
    error: Exception,
    status: int,
    *,
    debug: bool,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    settings.DEBUG = debug
    monkeypatch.setattr(f"django.middleware.common.CommonMiddleware.{hook}", fail)
    client = Client(raise_request_exception=False)

    assert_refused(client.get("/api/tasks"), status)
    assert_refused(client.get("/api/nothing"), status)
    assert client.get("/")["Content-Type"].startswith("text/")


def test_an_error_keeps_the_headers_for_security(client: Client) -> None:
    for path in ("/api/nothing", "/api/tasks"):
        assert client.put(path)["X-Content-Type-Options"] == "nosniff"


def test_an_unforeseen_error_is_a_500_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("task_api.api.Position.decode", lambda _: 1 / 0)

    response = Client(raise_request_exception=False).get("/api/tasks?cursor=x")

    assert_refused(response, 500)
    assert "ZeroDivisionError" in caplog.text


# -- The schema ---------------------------------------------------------------------------


def test_the_schema_describes_every_operation(client: Client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]

    assert {path: set(operations) for path, operations in paths.items()} == {
        "/api/tasks": {"get", "post"},
        "/api/tasks/{task_id}": {"get", "patch", "delete"},
    }


def test_the_schema_describes_every_refusal(client: Client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]

    everywhere = {"400", "405", "422", "503"}
    for path, operations in paths.items():
        for method, operation in operations.items():
            refusals = {
                status: list(answer["content"])
                for status, answer in operation["responses"].items()
                if status >= "4"
            }
            body = {"413", "415"} if "requestBody" in operation else set()
            named = {"404"} if "{" in path else set()
            assert refusals.keys() == everywhere | body | named, (method, path)
            assert all(types == ["application/problem+json"] for types in refusals.values())


def test_the_schema_has_the_rules_of_the_fields(client: Client) -> None:
    schema = client.get("/api/openapi.json").json()
    schemas = schema["components"]["schemas"]
    query = {
        parameter["name"]: parameter["schema"]
        for parameter in schema["paths"]["/api/tasks"]["get"]["parameters"]
    }

    title = re.compile(schemas["NewTask"]["properties"]["title"]["pattern"])
    assert not [name for name, text in INVISIBLE.items() if title.search(f" {text} ")]
    assert not title.search("a\0b")
    assert title.search(" \u200bü\u200b ")
    assert not re.search(schemas["NewTask"]["properties"]["description"]["pattern"], "\0")
    assert schemas["TaskChange"]["minProperties"] == 1
    assert not re.search(query["cursor"]["pattern"], "")
    assert (query["limit"]["minimum"], query["limit"]["maximum"]) == (1, 100)
    assert all("anyOf" not in parameter for parameter in query.values())


def test_no_field_of_a_change_is_required_or_has_a_default(client: Client) -> None:
    schema = client.get("/api/openapi.json").json()["components"]["schemas"]["TaskChange"]

    assert "required" not in schema
    assert not [name for name, field in schema["properties"].items() if "default" in field]


def test_the_documentation_page_loads_files_of_this_server_alone(client: Client) -> None:
    page = client.get("/api/docs").content.decode()

    assert "/static/ninja/swagger-ui" in page
    assert "//" not in page.replace("<!--", "")
