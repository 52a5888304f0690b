"""Bytecode of our modules is kept, although Invoke forbids bytecode."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

__all__ = ["bytecode_kept"]


@contextlib.contextmanager
def bytecode_kept() -> Iterator[None]:
    """Let Python write bytecode of the modules that the block imports.

    Invoke forbids bytecode (its ``--write-pyc``), so each verb would compile all modules anew:
    25 ms. PYTHONDONTWRITEBYTECODE and ``-B`` are honoured.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
