"""Files that are lost or cut: the settings, a snapshot."""

from __future__ import annotations

from tests.faults.work import check_whole
from tests.stacks.copies import Copy, changed


def test_a_lost_env_is_made_anew_and_the_rows_come_back(filled: Copy) -> None:
    file = filled.root / ".env"
    good = file.read_text()
    file.unlink()
    try:
        done = filled.inv("up")
        assert done.returncode == 78
        assert "change the volume to the value in .env: inv db.credentials\n" in done.stderr
        filled.ok("db.credentials")
        check_whole(filled)
    finally:
        file.write_text(good)
        filled.ok("db.credentials")


def test_half_a_snapshot_is_refused(filled: Copy) -> None:
    dump = filled.root / "data/snapshots/whole/database.dump"
    whole = dump.read_bytes()
    with changed(dump, whole, whole[: len(whole) // 2]):
        done = filled.inv("db.restore", "--name", "whole", "--yes")

    assert done.returncode == 65
    assert f"its dump has {len(whole) // 2} bytes of {len(whole)}." in done.stderr
    check_whole(filled)
