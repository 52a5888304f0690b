"""A stack with rows; no work that is cut off may change a row."""

from __future__ import annotations

import pytest

from tests.faults.work import prepare
from tests.stacks.copies import Copy
from tests.stacks.fixtures import mode, new_copy, shared_copy, stack
from tests.stacks.interrupts import end_workers_too, pytest_xdist_setupnodes

# Fixtures, and a hook.
__all__ = ["mode", "new_copy", "pytest_xdist_setupnodes", "shared_copy", "stack"]

end_workers_too()


@pytest.fixture(scope="module")
def filled(stack: Copy) -> Copy:
    """Share a stack with 2000 tasks among the tests of a module."""
    prepare(stack)
    return stack


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of each test that records some, passed or not."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == "figures":
                terminalreporter.write_line(f"{value}")
