"""The JSON API: the operations, and the answer to each kind of error."""
# ruff: noqa: ARG002  # ninja gives every function the request, used or not

import json
from typing import Annotated, Any, NoReturn
from uuid import UUID

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Query, Status
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from task_api.errors import problem
from task_api.models import Task
from task_api.paging import Position
from task_api.schemas import NewTask, Problem, TaskChange, TaskOut, TaskPage

__all__ = ["api"]

_COLUMNS = tuple(TaskOut.model_fields)
_PIECE = 1 << 16  # bytes
_DISCARDED_AT_MOST = 1 << 26  # bytes, 64 MiB; a client that sends more is cut off
_MOST_FLAWS = 20  # a hostile body must not get an answer longer than the body


class _StrictJson(Parser):
    """JSON as in RFC 8259: UTF-8, no NaN, with the content type application/json."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            raise HttpError(415, "The body must be application/json.")
        return json.loads(request.body.decode(), parse_constant=self._refuse_constant)

    @staticmethod
    def _refuse_constant(name: str) -> NoReturn:
        raise ValueError(name)


class _CompactJson(BaseRenderer):
    """pydantic's serializer: several times faster than json's for dates and UUIDs."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return to_json(data)


api = NinjaAPI(
    title="task_api",
    version="1",
    description="Tasks: list, create, change, delete.",
    parser=_StrictJson(),
    renderer=_CompactJson(),
)


@api.get("/tasks", response={200: TaskPage, 422: Problem})
def list_tasks(
    request: HttpRequest,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
    done: bool | None = None,
) -> dict[str, Any]:
    """Return tasks, newest first; pass `next` back as `cursor` to go on."""
    tasks = Task.objects.values(*_COLUMNS)
    if done is not None:
        tasks = tasks.filter(done=done)
    if cursor is not None:
        tasks = tasks.filter(_position(cursor).after())
    rows = list(tasks[: limit + 1])
    items = rows[:limit]
    more = len(rows) > limit
    last = Position(items[-1]["created"], items[-1]["id"]).encode() if more else None
    return {"items": items, "next": last}


@api.post("/tasks", response={201: TaskOut, 422: Problem})
def create_task(request: HttpRequest, task: NewTask) -> Status[Task]:
    """Create a task."""
    return Status(201, Task.objects.create(**task.model_dump()))


@api.get("/tasks/{task_id}", response={200: TaskOut, 404: Problem, 422: Problem})
def get_task(request: HttpRequest, task_id: UUID) -> dict[str, Any]:
    """Return a task."""
    return _row(task_id)


@api.patch("/tasks/{task_id}", response={200: TaskOut, 404: Problem, 422: Problem})
def change_task(request: HttpRequest, task_id: UUID, change: TaskChange) -> dict[str, Any]:
    """Change the given fields of a task."""
    fields = change.model_dump(exclude_unset=True)
    if not fields:
        raise HttpError(422, "Name at least one field to change.")
    # An UPDATE of these columns alone: a concurrent change of more fields survives.
    Task.objects.filter(id=task_id).update(**fields, updated=timezone.now())
    return _row(task_id)


@api.delete("/tasks/{task_id}", response={204: None, 404: Problem, 422: Problem})
def delete_task(request: HttpRequest, task_id: UUID) -> Status[None]:
    """Delete a task."""
    deleted, _ = Task.objects.filter(id=task_id).delete()
    if not deleted:
        raise Http404
    return Status(204, None)


def _row(task_id: UUID) -> dict[str, Any]:
    rows: list[dict[str, Any]] = list(Task.objects.values(*_COLUMNS).filter(id=task_id))
    if not rows:
        raise Http404
    return rows[0]


def _position(cursor: str) -> Position:
    try:
        return Position.decode(cursor)
    except ValueError:
        flaw = {"loc": ("query", "cursor"), "msg": "Input should be a cursor that a page gave"}
        raise ValidationError([flaw]) from None


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    detail = [
        {"field": _field(flaw["loc"]), "message": flaw["msg"]}
        for flaw in error.errors[:_MOST_FLAWS]
    ]
    return api.create_response(request, {"detail": detail}, status=422)


def _field(location: tuple[str | int, ...]) -> str:
    """Return the field's name in the request, without the source and our parameter's name."""
    source, *path = location
    if source == "body":
        path = path[1:] or ["body"]
    # The name may come from the caller: no lone surrogate may enter our JSON.
    return ".".join(map(str, path))[:200].encode(errors="replace").decode()


@api.exception_handler(HttpError)
def _refused(request: HttpRequest, error: HttpError) -> HttpResponse:
    # ninja turns every error of a parser into a 400, and keeps the error as the cause
    if isinstance(error.__cause__, HttpError):
        error = error.__cause__
    return problem(error.status_code, error.message, "body")


@api.exception_handler(RequestDataTooBig)
def _too_big(request: HttpRequest, error: Exception) -> HttpResponse:
    _discard(request)
    return problem(413, "The body is too big.", "body")


def _discard(request: HttpRequest) -> None:
    """Read the rest of the body: a client reads no answer before its whole body is sent."""
    for _ in range(_DISCARDED_AT_MOST // _PIECE):
        if not request.read(_PIECE):
            return


@api.exception_handler(SuspiciousOperation)
def _suspicious(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(400, "Bad request.")


@api.exception_handler(Http404)
def _no_such_task(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(404, "There is no such task.", "task_id")


@api.exception_handler(Exception)
def _unforeseen(request: HttpRequest, error: Exception) -> NoReturn:
    """Leave the error to Django, which first asks the middleware, then logs the traceback."""
    raise error
