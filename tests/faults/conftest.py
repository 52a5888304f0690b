"""A stack with rows, on which the work that is cut off leaves all as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.work import prepare
from tests.real.conftest import Copy, clone, end, new_copy

__all__ = ["new_copy"]  # a fixture


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Share a stack with 2000 tasks among the tests of a module."""
    copy = clone(tmp_path_factory.mktemp("faults") / "shop")
    try:
        copy.ok("up", "--migrate")
        prepare(copy)
        yield copy
    finally:
        end(copy)
