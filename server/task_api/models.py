"""The tables of the database: users and tasks."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Length, Trim
from django.db.models.lookups import GreaterThan, LessThanOrEqual

__all__ = ["DESCRIPTION_LENGTH", "TITLE_LENGTH", "Task", "User"]

TITLE_LENGTH = 200
DESCRIPTION_LENGTH = 10_000


class User(AbstractUser):
    """Django's user under our own name, from the start: no swap is possible with tables in use."""

    # A URL may show this key: no number of users can be read from a UUID.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class Task(models.Model):
    """Something to do."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=TITLE_LENGTH)
    description = models.TextField(max_length=DESCRIPTION_LENGTH, blank=True)
    done = models.BooleanField(default=False)
    due = models.DateField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created", "-id"]
        indexes = [
            models.Index(fields=["created", "id"], name="task_page"),
            models.Index(fields=["done", "created", "id"], name="task_done_page"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=GreaterThan(Length(Trim("title")), 0),
                name="task_title_not_blank",
                violation_error_message="The title is blank.",
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("description"), DESCRIPTION_LENGTH),
                name="task_description_length",
                violation_error_message="The description is too long.",
            ),
        ]

    def __str__(self) -> str:
        return self.title
