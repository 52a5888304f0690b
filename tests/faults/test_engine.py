"""The engine itself, killed in the middle of work on data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.engine import Beside, Engine, why_not
from tests.faults.work import MIGRATE, Work, check_whole, each_work, is_migrated, prepare, take_back
from tests.real.conftest import clone, end, wait_until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def beside(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """A stack with rows on the second engine, of images that the first has built."""
    first = clone(tmp_path_factory.mktemp("beside") / "shop")
    first.ok("build")
    engine.load("postgres:15", "postgres:17", f"{first.project}-backend")
    copy = Beside(first.root, first.env | {"DOCKER_HOST": engine.host})
    copy.inside = engine.inside
    copy.ok("up", "--migrate")
    prepare(copy)
    yield copy
    end(copy)
    end(first)


@each_work
def test_a_killed_engine_leaves_all_as_it_was(work: Work, engine: Engine, beside: Beside) -> None:
    with work.around(beside):
        cut_off = beside.start(*work.verb.split())
        wait_until(lambda: work.under_way(beside), f"{work} at work")
        engine.kill()
        _, said = cut_off.communicate(timeout=60)
        engine.start()
        beside.ok("up", POSTGRES_IMAGE="postgres:15")
        if work is MIGRATE and is_migrated(beside):  # containers outlive their engine
            take_back(beside)

    assert cut_off.returncode > 0, said
    assert "Traceback (most recent call last)" not in said
    check_whole(beside)
