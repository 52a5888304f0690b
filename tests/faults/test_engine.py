"""The engine itself, killed in the middle of work on data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.engine import Beside, Engine, why_not
from tests.faults.work import (
    MIGRATE,
    Work,
    begin,
    check_whole,
    each_work,
    is_migrated,
    prepare,
    take_back,
)
from tests.stacks.copies import Copy, remove

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def beside(engine: Engine, shared_copy: Copy) -> Iterator[Beside]:
    """Share a stack with rows on the second engine, of images that the first has built."""
    shared_copy.ok("build")
    engine.load("postgres:15", "postgres:17", f"{shared_copy.project}-backend")
    copy = Beside(shared_copy.root, shared_copy.env | {"DOCKER_HOST": engine.host})
    copy.inside = engine.inside
    copy.ok("up", "--migrate")
    prepare(copy)
    yield copy
    remove(copy)


@each_work
def test_a_killed_engine_leaves_all_as_it_was(work: Work, engine: Engine, beside: Beside) -> None:
    with work.around(beside):
        cut_off = begin(work, beside)
        engine.kill()
        _, error = cut_off.communicate(timeout=60)
        engine.start()
        beside.ok("up", POSTGRES_IMAGE="postgres:15")
        if work is MIGRATE and is_migrated(beside):  # containers outlive their engine
            take_back(beside)

    assert cut_off.returncode > 0, error
    assert "Traceback (most recent call last)" not in error
    check_whole(beside)
