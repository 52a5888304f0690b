"""The fields of requests and answers of the API."""

import re
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from task_api.models import DESCRIPTION_LENGTH, TITLE_LENGTH

__all__ = ["NewTask", "Problem", "TaskChange", "TaskOut", "TaskPage"]


def _without_nul(text: str) -> str:
    """Refuse U+0000, which PostgreSQL cannot store."""
    if "\0" in text:
        raise PydanticCustomError("nul", "The character U+0000 is not allowed")
    return text


def _iso_date(value: object) -> object:
    """Refuse the numbers that pydantic would read as seconds since 1970."""
    if value is None or (
        isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)
    ):
        return value
    raise PydanticCustomError("iso_date", "Input should be a date such as 2026-12-31")


Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_LENGTH),
    AfterValidator(_without_nul),
]
Description = Annotated[
    str, StringConstraints(max_length=DESCRIPTION_LENGTH), AfterValidator(_without_nul)
]
Due = Annotated[date | None, BeforeValidator(_iso_date)]
Done = Annotated[bool, Field(strict=True)]

# A default from a factory makes the field optional and stays out of the schema.
_ABSENT: Any = Field(default_factory=lambda: None)


class TaskChange(BaseModel):
    """The fields of a task to change; absent fields stay as they are."""

    model_config = ConfigDict(extra="forbid")

    title: Title = _ABSENT
    description: Description = _ABSENT
    done: Done = _ABSENT
    due: Due = _ABSENT


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
    """A fault of a request, with the name of the wrong field if there is such a field."""

    field: str | None
    message: str


class Problem(BaseModel):
    """The faults of a refused request."""

    detail: list[Flaw]
