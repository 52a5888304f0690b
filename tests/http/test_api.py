"""The task API as clients see the API, over HTTP, on any stack that answers."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.web import Reply

Ask = Callable[..., Reply]
Task = dict[str, object]


def test_a_task_lives_and_dies(ask: Ask) -> None:
    made = ask("/api/tasks", "POST", {"title": "Übung 練習", "due": "2026-12-24"})
    path = f"/api/tasks/{made.json['id']}"

    assert made.status == 201
    assert made.json["done"] is False
    assert ask(path).json == made.json

    changed = ask(path, "PATCH", {"done": True})
    assert (changed.status, changed.json["done"]) == (200, True)
    assert changed.json["title"] == "Übung 練習"

    assert ask(path, "DELETE").status == 204
    assert ask(path).status == 404


def test_paging_meets_every_task_once(ask: Ask) -> None:
    made = {ask("/api/tasks", "POST", {"title": f"page {n}"}).json["id"] for n in range(7)}
    seen: list[str] = []
    path = "/api/tasks?limit=2"
    while path:
        page = ask(path).json
        seen += [item["id"] for item in page["items"]]
        path = f"/api/tasks?limit=2&cursor={quote(page['next'])}" if page["next"] else ""
    for task in made:
        ask(f"/api/tasks/{task}", "DELETE")

    assert len(seen) == len(set(seen))
    assert made <= set(seen)


@pytest.mark.parametrize("done", [True, False])
def test_the_list_is_filtered_by_done(done: bool, ask: Ask, task: Task) -> None:
    ask(f"/api/tasks/{task['id']}", "PATCH", {"done": done})

    wanted = ask(f"/api/tasks?limit=100&done={str(done).lower()}").json["items"]

    assert {item["done"] for item in wanted} == {done}
    assert task["id"] in {item["id"] for item in wanted}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"title": ""}, 422),
        ({"title": "\u0000"}, 422),
        ({"title": "x" * 10_000}, 422),
        ({"title": "x", "due": "2026-02-30"}, 422),
        ({"title": "x", "due": "0000-01-01"}, 422),
        ({"title": "x", "done": "perhaps"}, 422),
        ({"title": "x", "nonsense": 1}, 422),
        (b'{"title": "\\ud800"}', 422),
        (b'{"title": "\xff"}', 400),
        (b"", 422),
        (b"not json", 400),
        (b"[" * 10_000, 400),
        (b'{"title": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
        (b'{"title": "' + b"x" * 10_000_000 + b'"}', 413),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_body_is_refused_in_json(body: object, status: int, ask: Ask) -> None:
    answer = ask("/api/tasks", "POST", body)

    assert_problem(answer, status)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data"])
def test_a_body_of_another_type_is_415(content_type: str, ask: Ask) -> None:
    headers = {"Content-Type": content_type}

    assert_problem(ask("/api/tasks", "POST", b'{"title": "x"}', headers=headers), 415)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("limit", value) for value in ("-1", "0", "99999999999999999999", "ten")),
        ("done", "perhaps"),
        *(("cursor", value) for value in ("", "%00", "nonsense", "A" * 3000)),
        ("order", "-due"),
        ("page", "-1"),
    ],
)
def test_a_bad_query_names_the_field(field: str, value: str, ask: Ask) -> None:
    answer = ask(f"/api/tasks?{field}={value}")

    assert_problem(answer, 422)
    assert answer.json["errors"][0]["field"] == field


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/tasks/", "/api/nowhere"])
def test_an_unknown_path_is_404(method: str, path: str, ask: Ask) -> None:
    assert_problem(ask(path, method, {}), 404)


def test_an_unknown_task_is_404(ask: Ask) -> None:
    assert_problem(ask(f"/api/tasks/{uuid.uuid4()}"), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/docs", "/api/openapi.json"])
def test_an_unknown_method_is_405(method: str, path: str, ask: Ask) -> None:
    assert_problem(ask(path, method, {}), 405)


@pytest.mark.parametrize("path", ["/api/tasks", "/api/docs", "/api/nowhere"])
def test_head_and_options_answer(path: str, ask: Ask) -> None:
    get, head, options = (ask(path, method) for method in ("GET", "HEAD", "OPTIONS"))

    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-length"] == str(len(get.body))
    assert options.status == (404 if get.status == 404 else 204)


def test_a_chunked_body_is_read(ask: Ask) -> None:
    body, headers = b'd\r\n{"title":"a"}\r\n0\r\n\r\n', {"Transfer-Encoding": "chunked"}

    made = ask("/api/tasks", "POST", body, headers=headers)
    ask(f"/api/tasks/{made.json['id']}", "DELETE")

    assert (made.status, made.json["title"]) == (201, "a")


@pytest.mark.parametrize("path", ["/", "/api/docs", "/api/openapi.json", "/admin/login/"])
def test_a_page_answers(path: str, ask: Ask) -> None:
    assert ask(path).status == 200


@pytest.mark.parametrize("path", ["/api/docs", "/admin/login/"])
def test_the_files_that_a_page_loads_are_served(path: str, ask: Ask) -> None:
    words = ask(path).text.replace("'", '"').split('"')
    assets = [word for word in words if word.startswith("/static/")]

    assert assets
    assert {ask(asset).status for asset in assets} == {200}


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/api/tasks", 400)]
)
def test_an_unknown_host_gets_the_probes_alone(path: str, status: int, ask: Ask) -> None:
    assert ask(path, headers={"Host": "nobody.invalid"}).status == status


def assert_problem(answer: Reply, status: int) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["detail"]


def test_eight_writers_at_once_all_succeed(ask: Ask) -> None:
    def write(number: int) -> tuple[int, str]:
        answer = ask("/api/tasks", "POST", {"title": f"writer {number}"})
        return answer.status, answer.json["id"]

    with ThreadPoolExecutor(8) as writers:
        made = list(writers.map(write, range(160)))
    for _, task in made:
        ask(f"/api/tasks/{task}", "DELETE")

    assert {status for status, _ in made} == {201}
