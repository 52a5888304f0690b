"""Cursors: an opaque name for a place in the list of tasks, newest first."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import NamedTuple, Self
from uuid import UUID

from django.db.models import Q

__all__ = ["Position"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = Struct(">q16s")  # microseconds since the epoch, id: 24 bytes, so base64 needs no padding


class Position(NamedTuple):
    """The sort key of a task; the next page starts after this key, even if tasks were added."""

    created: datetime
    id: UUID

    def encode(self) -> str:
        """Return the cursor of this position."""
        microseconds = (self.created - _EPOCH) // timedelta(microseconds=1)
        return urlsafe_b64encode(_LAYOUT.pack(microseconds, self.id.bytes)).decode()

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """Return the position of a cursor, or raise ValueError."""
        try:
            microseconds, key = _LAYOUT.unpack(b64decode(cursor, altchars=b"-_", validate=True))
            return cls(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=key))
        except (binascii.Error, StructError, OverflowError) as error:
            raise ValueError("not a cursor") from error

    def after(self) -> Q:
        """Return the condition for tasks after this position."""
        tie = Q(created=self.created, id__lt=self.id)
        # The second term implies the first: databases enter the index with the first.
        return Q(created__lte=self.created) & (Q(created__lt=self.created) | tie)
