"""Call records: a file for each command under way, by which the next verb cleans up."""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from composed.errors import Interrupted
from composed.files import opened
from composed.gateway import Gateway, is_free

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{,254}", re.ASCII)  # of a service or a volume


class Calls:
    """A folder with a file for each call, locked while the ``inv`` that made the call lives.

    The kernel drops the lock even after ``kill -9``, so no PID has to be trusted.
    """

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway, self._folder = gateway, folder

    @contextlib.contextmanager
    def under_way(self, text: str = "", *, keep_failed: bool = False) -> Iterator[str]:
        """Write a call record with ``text`` while the block runs; yield the name of the call.

        The record stays after :class:`Interrupted`, and after any error with ``keep_failed``:
        then the next verb cleans up.
        """
        if self._gateway.dry:
            yield "dry"
            return
        call = new_name()
        draft = self._folder / f".{call}"  # invisible to a second verb until the lock is held
        self._gateway.write(draft, text)
        with draft.open("rb") as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            draft.rename(self._folder / call)
            try:
                yield call
            except BaseException as error:
                # After a signal the command inside may go on: the record stays.
                if not (keep_failed or isinstance(error, Interrupted)):
                    self.forget(call)
                raise
            self.forget(call)

    def abandoned(self) -> dict[str, str]:
        """Return the text of each record without a living ``inv``, by call.

        A thing that is no record is left alone. A text that names no service and no volume, as
        after a power cut, counts as empty.
        """
        texts = {}
        for file in sorted(self._folder.glob("[!.]*")):
            with contextlib.suppress(OSError), open(opened(file), "rb") as record:  # noqa: PTH123
                if is_free(record):
                    text = record.read(300).decode(errors="replace")
                    texts[file.name] = text if _NAME.fullmatch(text) else ""
        return texts

    def forget(self, call: str) -> None:
        """Remove the record of a call."""
        self._gateway.remove(self._folder / call)


def new_name() -> str:
    """Return a new name for a call."""
    return os.urandom(6).hex()
