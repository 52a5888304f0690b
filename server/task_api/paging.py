"""Cursors: an opaque name for a place in the list of tasks, newest first."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Self
from uuid import UUID

from django.db.models import Q

__all__ = ["CURSOR", "Position"]

CURSOR = "^[A-Za-z0-9_-]{32}$"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAYOUT = Struct(">q16s")  # microseconds since the epoch, id: 24 bytes, so base64 needs no padding


@dataclass(frozen=True)
class Position:
    """The sort key of a task; the next page starts after this key, even if tasks were added."""

    created: datetime
    id: UUID

    def encode(self) -> str:
        """Return the cursor of this position."""
        microseconds = (self.created - _EPOCH) // _MICROSECOND
        return urlsafe_b64encode(_LAYOUT.pack(microseconds, self.id.bytes)).decode()

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """Return the position of a cursor, or raise ValueError.

        Every text of the form of CURSOR has a position, so that the schema says all: a time
        outside of the calendar counts as the calendar's first or last.
        """
        if not re.fullmatch(CURSOR, cursor):
            raise ValueError("not a cursor")
        microseconds, key = _LAYOUT.unpack(urlsafe_b64decode(cursor))
        since_epoch = timedelta(microseconds=min(max(microseconds, _FIRST), _LAST))
        return cls(_EPOCH + since_epoch, UUID(bytes=key))

    def after(self) -> Q:
        """Return the condition for tasks after this position."""
        tie = Q(created=self.created, id__lt=self.id)
        # The second term implies the first: databases enter the index with the first.
        return Q(created__lte=self.created) & (Q(created__lt=self.created) | tie)
