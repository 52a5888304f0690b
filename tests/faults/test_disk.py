"""A full disk, of this machine or of the database: no row is lost, the error names the cause."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.work import check_whole, prepare
from tests.stacks.copies import Copy
from tests.stacks.fixtures import NewCopy

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")


@contextlib.contextmanager
def small(folder: Path, size: str) -> Iterator[Path]:
    """Make the folder a separate file system of this size."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def cramped(new_copy: NewCopy, tmp_path: Path) -> Iterator[Copy]:
    """A stack with rows; the database has a disk of 160 MB to itself."""
    with small(tmp_path / "disk", "160m") as disk:
        copy = new_copy()
        copy.ok("env")
        volume = f"{copy.project}_db-data"
        label = ("--label", copy.label.removeprefix("label="))
        where = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={disk}")
        copy.docker("volume", "create", *where, *label, volume)
        user = copy.docker("run", "--rm", "postgres:15", "id", "-u", "postgres").strip()
        os.chown(disk, int(user), -1)
        copy.ok("up", "--migrate")
        prepare(copy)
        yield copy
        copy.ok("dc", "--", "down", "--volumes")


def fill(disk: Path) -> Path:
    """Leave less than a megabyte free."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(free.f_bavail * free.f_bsize - 500_000))
    return ballast


@needs_root
def test_a_snapshot_that_finds_no_room_leaves_nothing(filled: Copy) -> None:
    with small(filled.root / "data/small", "64k") as disk:
        snapshots = filled.root / "data/snapshots"
        kept = snapshots.rename(snapshots.with_name("kept"))
        snapshots.symlink_to(disk)
        try:
            done = filled.inv("db.snapshot", "--name", "cut-off")
            listed = filled.ok("db.list")
        finally:
            snapshots.unlink()
            kept.rename(snapshots)

    assert done.returncode == 74
    assert "No space left on device." in done.stderr
    assert listed == "There are no snapshots. Make one: inv db.snapshot\n"
    check_whole(filled)


@needs_root
def test_a_restore_that_finds_no_room_changes_nothing(cramped: Copy, tmp_path: Path) -> None:
    ballast = fill(tmp_path / "disk")
    done = cramped.inv("db.restore", "--name", "whole", "--no-snapshot", "--yes")
    up = cramped.inv("up")
    ballast.unlink()

    assert done.returncode == 74, done.stderr
    assert "No space left on device" in done.stderr
    # PostgreSQL may have ended too, and then says so until there is room.
    assert up.returncode == 0 or "Type: docker system df\n" in up.stderr, up.stderr
    check_whole(cramped)


@needs_root
def test_a_migration_that_finds_no_room_is_named(cramped: Copy, tmp_path: Path) -> None:
    migration = cramped.root / "server/task_api/migrations/0003_large.py"
    migration.write_text(LARGE)
    ballast = fill(tmp_path / "disk")
    done = cramped.inv("migrate", "--no-snapshot")
    ballast.unlink()
    migration.unlink()
    cramped.ok("up")

    assert done.returncode == 1
    assert "task_api.0003_large failed: " in done.stderr
    check_whole(cramped)


LARGE = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("task_api", "0002_task_done_page")]
    operations = [
        migrations.RunSQL("CREATE TABLE large AS SELECT repeat(md5(n::text), 30) "
                          "FROM generate_series(1, 100000) n")
    ]
"""
