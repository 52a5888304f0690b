"""Our own files under ``.composed/``: opened for writing, or refused in our words."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from composed.errors import InputOutputError, RefusedError

__all__ = ["opened", "written"]


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


def written(file: Path, text: str) -> None:
    """Have the file hold the text; raises :class:`InputOutputError` where the disk is full."""
    try:
        with opened(file) as stream:
            stream.truncate(0)
            stream.write(text)
    except OSError as error:
        raise InputOutputError(
            f"{file} cannot be written: {error.strerror}.", "See what is left: df -h ."
        ) from None
