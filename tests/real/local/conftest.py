"""Local mode: real processes, no engine is asked."""

from __future__ import annotations

import pytest

from tests.stacks.copies import Copy
from tests.stacks.fixtures import NewCopy


@pytest.fixture(scope="module")
def mode() -> str:
    return "local"


@pytest.fixture
def copy(new_copy: NewCopy) -> Copy:
    return new_copy()
