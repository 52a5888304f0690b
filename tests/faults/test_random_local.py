"""Random interruptions of random verbs in local mode: no row is lost, the next verb works."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.interruptions import interrupt, whole
from tests.stacks.copies import Copy

__all__ = ["whole"]  # a fixture


@pytest.fixture(scope="module")
def mode() -> str:
    return "local"


@pytest.mark.timeout(1800)
def test_a_random_interruption_loses_nothing_in_local_mode(
    whole: Copy,  # the fixture
    record_property: Callable[[str, object], None],
) -> None:
    record_property("figures", interrupt(whole, "local", 140))
