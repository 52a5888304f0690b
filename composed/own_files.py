"""Our own files under ``.composed/``: opened for writing, or refused in our words."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from composed.errors import RefusedError

__all__ = ["opened"]


def opened(file: Path) -> IO[str]:
    """Open a file to read and add to, its folders made; raises :class:`RefusedError`.

    The usual reason is a ``sudo inv`` before, whose files belong to root.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("a+", encoding="utf-8")
    except OSError as error:
        raise RefusedError(
            f"{file} cannot be written: {error.strerror}.",
            f"Make it yours: sudo chown -R $USER {file.parent}",
        ) from None
