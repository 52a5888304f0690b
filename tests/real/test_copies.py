"""Copied and moved folders, and worktrees: each folder has the right stack."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stacks.copies import Copy, owned, remove
from tests.stacks.fixtures import NewCopy


@pytest.fixture
def adopt() -> Iterator[Callable[[Copy, Path], Copy]]:
    """Take over a folder made from another copy's; the stack too is gone after the test."""
    made: list[Copy] = []

    def take(first: Copy, root: Path) -> Copy:
        made.append(Copy(root, dict(first.env)))
        return made[-1]

    yield take
    for copy in made:
        remove(copy)


def images(copy: Copy) -> set[str]:
    names = copy.docker("images", "--format", "{{.Repository}}").split()
    return {name for name in names if name.startswith(f"{copy.project}-")}


def test_a_copied_folder_and_a_worktree_have_stacks_of_their_own(
    new_copy: NewCopy, adopt: Callable[[Copy, Path], Copy], tmp_path: Path
) -> None:
    first = new_copy()
    first.ok("up", "--migrate")
    first.ask("/api/tasks", "POST", {"title": "first"})
    before, env = owned(first), (first.root / ".env").read_text()

    copied = adopt(first, shutil.copytree(first.root, tmp_path / "copied"))
    done = copied.inv("down", "--volumes", "--yes")  # the worst verb to begin with
    assert done.returncode == 0, done.stderr
    assert f"A copy of {first.root}: it gets copied-" in done.stderr
    assert owned(first) == before
    copied.ok("up", "--migrate")

    tree = tmp_path / "tree"
    assert first.run("git", "worktree", "add", "--quiet", str(tree)).returncode == 0
    worktree = adopt(first, tree)
    shutil.copy(first.root / ".env", tree)
    worktree.ok("up", "--service", "db")

    assert copied.titles() == set()
    assert worktree.ok("dbshell", "--command", "\\dt", "--", "-qtA") == ""
    found = [owned(copy) for copy in (first, copied, worktree)]
    assert found[0] == before
    for kind in ("containers", "networks", "volumes"):
        assert len(set.union(*(one[kind] for one in found))) == sum(len(o[kind]) for o in found)
    assert len(images(first) | images(copied)) == 2
    worktree.ok("down", "--volumes", "--yes")
    assert first.titles() == {"first"}
    assert (first.root / ".env").read_text() == env


def test_a_moved_folder_keeps_its_stack_and_data(
    new_copy: NewCopy, adopt: Callable[[Copy, Path], Copy], tmp_path: Path
) -> None:
    first = new_copy()
    first.ok("up", "--migrate")
    first.ask("/api/tasks", "POST", {"title": "kept"})
    project, volumes = first.project, owned(first)["volumes"]

    shutil.move(first.root, tmp_path / "moved")
    moved = first.root = tmp_path / "moved"
    here = adopt(first, moved)
    here.ok("up")

    assert (here.project, owned(here)["volumes"]) == (project, volumes)
    assert here.titles() == {"kept"}
    here.append("server/task_api/urls.py", "\nurlpatterns = []\n")
    assert here.ok("shell", "--", "tail", "-1", "/app/task_api/urls.py") == "urlpatterns = []\n"


def test_a_volume_named_by_hand_is_not_shared_with_a_copy(
    new_copy: NewCopy, adopt: Callable[[Copy, Path], Copy], tmp_path: Path
) -> None:
    first = new_copy()
    name = f"composed-test-{tmp_path.name}-{id(first)}".lower()
    first.append(".env", f"POSTGRES_VOLUME={name}\n")
    first.ok("up", "--service", "db")
    copied = adopt(first, shutil.copytree(first.root, tmp_path / "copied"))

    copied.ok("up", "--service", "db")
    copied.ok("down", "--volumes", "--yes")

    assert first.docker("volume", "ls", "--quiet", "--filter", f"name={name}") == f"{name}\n"
    assert first.ok("dbshell", "--command", "select 1", "--", "-qtA") == "1\n"
