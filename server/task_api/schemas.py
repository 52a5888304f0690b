"""The fields of requests and answers of the API: the OpenAPI schema shows each rule."""

import re
from datetime import date, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from task_api.models import DESCRIPTION_LENGTH, TITLE_LENGTH
from task_api.paging import CURSOR, Position

__all__ = ["Flaw", "NewTask", "Problem", "TaskChange", "TaskId", "TaskOut", "TaskPage", "TaskQuery"]

# White space, control characters, and what Unicode calls "default ignorable" or blank.
_INVISIBLE = (
    r"\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)


def _without_nul(text: str) -> str:
    """Refuse U+0000, which PostgreSQL cannot store."""
    if "\0" in text:
        raise PydanticCustomError("nul", "The character U+0000 is not allowed")
    return text


def _visible(text: str) -> str:
    if not re.search(f"[^{_INVISIBLE}]", text):
        raise PydanticCustomError("invisible", "Input should have a visible character")
    return text.strip()


def _written_as(pattern: str, example: str) -> BeforeValidator:
    """Refuse the other forms that pydantic would read: "1_0", "yes", seconds since 1970."""

    def check(value: object) -> object:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise PydanticCustomError("form", "Input should be like {example}", {"example": example})

    return BeforeValidator(check)


def _position(cursor: object) -> Position:
    try:
        return Position.decode(str(cursor))
    except ValueError:
        raise PydanticCustomError("cursor", "Input should be a cursor that a page gave") from None


Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TITLE_LENGTH),
    AfterValidator(_without_nul),
    AfterValidator(_visible),
    Field(
        description="White space at both ends is removed.",
        json_schema_extra={"pattern": rf"^[^\x00]*[^{_INVISIBLE}][^\x00]*$"},
    ),
]
Description = Annotated[
    str,
    StringConstraints(max_length=DESCRIPTION_LENGTH),
    AfterValidator(_without_nul),
    Field(json_schema_extra={"pattern": r"^[^\x00]*$"}),
]
Due = Annotated[date, _written_as("[0-9]{4}-[0-9]{2}-[0-9]{2}", "2026-12-31")] | None
Done = Annotated[bool, Field(strict=True)]
TaskId = Annotated[
    UUID, _written_as("(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(UUID(int=0)))
]
Cursor = Annotated[
    Position, PlainValidator(_position), WithJsonSchema({"type": "string", "pattern": CURSOR})
]

# A default from a factory makes the field optional and stays out of the schema.
_ABSENT: Any = Field(default_factory=lambda: None)


class TaskQuery(BaseModel):
    """The part of the list to return."""

    limit: Annotated[int, Field(ge=1, le=100), _written_as("-?[0-9]{1,9}", "20")] = 20
    cursor: Cursor = _ABSENT
    done: Annotated[bool, _written_as("true|false", "true")] = _ABSENT


class TaskChange(BaseModel):
    """The fields of a task to change; absent fields stay as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    title: Title = _ABSENT
    description: Description = _ABSENT
    done: Done = _ABSENT
    due: Due = _ABSENT

    @model_validator(mode="after")
    def _with_a_field(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("empty", "Name at least one field to change")
        return self


class NewTask(BaseModel):
    """A task to create."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    description: Description = ""
    done: Done = False
    due: Due = None


class TaskOut(BaseModel):
    """A stored task."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    description: str
    done: bool
    due: date | None
    created: datetime
    updated: datetime


class TaskPage(BaseModel):
    """Some tasks, newest first, and the cursor of the next page."""

    items: list[TaskOut]
    next: str | None


class Flaw(BaseModel):
    """A fault of a request, with the name of the wrong field; "body" for the whole body."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was refused: problem details as in RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Flaw]
