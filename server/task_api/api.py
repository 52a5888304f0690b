"""The JSON API: the operations, and the answer to each kind of error."""
# ruff: noqa: ARG002  # ninja gives every function the request, used or not

from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import transaction
from django.db.models import Value
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI, Query, Status
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from task_api.bodies import discard
from task_api.errors import PROBLEM_TYPE, problem
from task_api.models import Task
from task_api.paging import Position
from task_api.schemas import (
    Flaw,
    NewTask,
    Problem,
    TaskChange,
    TaskId,
    TaskOut,
    TaskPage,
    TaskQuery,
)
from task_api.strict import StrictJson, exact_query

__all__ = ["api"]

_COLUMNS = tuple(TaskOut.model_fields)
_MOST_FLAWS = 20  # a hostile request must not get an answer longer than the request
_ERRORS = frozenset({400, 405, 422, 503})  # of every operation
_BODY_ERRORS = _ERRORS | {413, 415}


class _CompactJson(BaseRenderer):
    """pydantic's serializer: several times faster than json's for dates and UUIDs."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return to_json(data)


class _Api(NinjaAPI):
    """An API whose schema gives errors their own media type; ninja knows one for all answers."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        for operations in schema["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    if status >= 400:
                        response["content"] = {PROBLEM_TYPE: response["content"].popitem()[1]}
        return schema


api = _Api(
    title="task_api",
    version="1",
    description="Tasks: list, create, change, delete.",
    parser=StrictJson(),
    renderer=_CompactJson(),
    # A POST to the pages gets a 405, not a 403 for want of a CSRF token.
    docs_decorator=lambda page: csrf_exempt(require_safe(page)),
)
api.add_decorator(exact_query)


@api.get("/tasks", response={200: TaskPage, _ERRORS: Problem})
def list_tasks(request: HttpRequest, query: Query[TaskQuery]) -> dict[str, Any]:
    """Return tasks, newest first; pass `next` back as `cursor` to go on."""
    tasks = Task.objects.values(*_COLUMNS)
    if query.done is not None:
        # Without Value, Django writes NOT done, for which SQLite enters no index.
        tasks = tasks.filter(done=Value(query.done))
    if query.cursor is not None:
        tasks = tasks.filter(query.cursor.after())
    rows = list(tasks[: query.limit + 1])
    items = rows[: query.limit]
    more = len(rows) > query.limit
    last = Position(items[-1]["created"], items[-1]["id"]).encode() if more else None
    return {"items": items, "next": last}


@api.post("/tasks", response={201: TaskOut, _BODY_ERRORS: Problem})
def create_task(request: HttpRequest, task: NewTask) -> Status[Task]:
    """Create a task."""
    return Status(201, Task.objects.create(**task.model_dump()))


@api.get("/tasks/{task_id}", response={200: TaskOut, _ERRORS | {404}: Problem})
def get_task(request: HttpRequest, task_id: TaskId) -> dict[str, Any]:
    """Return a task."""
    return _row(task_id)


@api.patch("/tasks/{task_id}", response={200: TaskOut, _BODY_ERRORS | {404}: Problem})
def change_task(request: HttpRequest, task_id: TaskId, change: TaskChange) -> dict[str, Any]:
    """Change the given fields of a task."""
    fields = change.model_dump(exclude_unset=True)
    with transaction.atomic():  # nobody else writes before the answer is read
        # An UPDATE of these columns alone: a concurrent change of more fields survives.
        Task.objects.filter(id=task_id).update(**fields, updated=timezone.now())
        return _row(task_id)


@api.delete("/tasks/{task_id}", response={204: None, _ERRORS | {404}: Problem})
def delete_task(request: HttpRequest, task_id: TaskId) -> Status[None]:
    """Delete a task."""
    deleted, _ = Task.objects.filter(id=task_id).delete()
    if not deleted:
        raise Http404
    return Status(204, None)


def _row(task_id: TaskId) -> dict[str, Any]:
    row: dict[str, Any] = get_object_or_404(Task.objects.values(*_COLUMNS), id=task_id)
    return row


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    flaws = [
        Flaw(field=_field(flaw["loc"]), message=flaw["msg"]) for flaw in error.errors[:_MOST_FLAWS]
    ]
    return problem(422, f"{flaws[0].field}: {flaws[0].message}.", flaws)


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
    return problem(error.status_code, error.message)


@api.exception_handler(RequestDataTooBig)
def _too_big(request: HttpRequest, error: Exception) -> HttpResponse:
    discard(request)
    return problem(413, "The body is too big.")


@api.exception_handler(SuspiciousOperation)
def _suspicious(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(400, "The request has more parameters than the server reads.")


@api.exception_handler(UnreadablePostError)
def _cut_off(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(400, "The body cannot be read to its end.")


@api.exception_handler(Http404)
def _no_such_task(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(404, "There is no such task.")


@api.exception_handler(Exception)
def _unforeseen(request: HttpRequest, error: Exception) -> NoReturn:
    """Leave the error to Django, which first asks the middleware, then logs the traceback."""
    raise error
