"""Foreign projects that adopt the verbs; their stacks are gone after the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.foreign.adopted import Adopt, Adopted, copy_of, with_verbs, written
from tests.stacks.interrupts import end_workers_too, pytest_xdist_setupnodes

# A hook, and the folder whose files are no tests.
__all__ = ["collect_ignore", "pytest_xdist_setupnodes"]

collect_ignore = ["projects"]

end_workers_too()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--environment", help="where `inv` is, and what the projects import")


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config) -> str:
    """``inv`` of the option's environment, else the one beside the Python of the tests."""
    environment = pytestconfig.getoption("environment")
    bin_ = Path(environment) / "bin" if environment else Path(sys.executable).parent
    return str(bin_ / "inv")


@pytest.fixture
def adopt(program: str, tmp_path: Path) -> Iterator[Adopt]:
    """Give the verbs to a copy of one of ``projects/``, or to a project of these files."""
    made: list[Adopted] = []

    def adopt(name: str, files: Mapping[str, str] | None = None, mode: str = "docker") -> Adopted:
        root = copy_of(name, tmp_path) if files is None else written(name, files, tmp_path)
        made.append(with_verbs(root, name, mode, program))
        return made[-1]

    yield adopt
    for adopted in made:
        adopted.remove()
