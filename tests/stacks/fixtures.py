"""The fixtures of tests with a real stack, imported by the conftest of each folder."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stacks.copies import Copy, clone, remove
from tests.stacks.ports import free_port

__all__ = ["NewCopy", "holder", "mode", "new_copy", "shared_copy", "stack"]

NewCopy = Callable[..., Copy]


@pytest.fixture(scope="module")
def mode() -> str:
    """The COMPOSED_MODE of the copies, by default none; a folder or a module may override this."""
    return ""


@pytest.fixture
def new_copy(mode: str, tmp_path: Path) -> Iterator[NewCopy]:
    """Make copies; their stacks are gone after the test."""
    made: list[Copy] = []

    def make(name: str = "shop", owner: int | None = None) -> Copy:
        copy = clone(tmp_path / name, mode)
        made.append(copy)
        if owner is not None:
            subprocess.run(["chown", "--recursive", f"{owner}:{owner}", copy.root], check=True)
            copy.run("git", "config", "--global", "--add", "safe.directory", str(copy.root))
        return copy

    yield make
    for copy in made:
        remove(copy)


@pytest.fixture(scope="module")
def shared_copy(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Share a copy among the tests of a module."""
    copy = clone(tmp_path_factory.mktemp("stack") / "shop", mode)
    try:
        yield copy
    finally:
        remove(copy)


@pytest.fixture(scope="module")
def stack(shared_copy: Copy) -> Copy:
    """Share a migrated stack among the tests of a module that leave the stack as before."""
    shared_copy.ok("up", "--migrate")
    return shared_copy


@pytest.fixture
def holder() -> Iterator[socket.socket]:
    """Listen on a port, as this very process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener
