"""Real stacks for tests, and where `nox -s package` has installed the wheel."""

from __future__ import annotations

import pytest

from tests.stacks.fixtures import holder, mode, new_copy, shared_copy, stack
from tests.stacks.interrupts import end_workers_too, pytest_xdist_setupnodes

# Fixtures, and a hook.
__all__ = ["holder", "mode", "new_copy", "pytest_xdist_setupnodes", "shared_copy", "stack"]

end_workers_too()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--environment", help="where test_package.py finds the wheel installed")
