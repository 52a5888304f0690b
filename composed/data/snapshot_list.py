"""How snapshots are shown: a table for people, JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from composed.data.progress import size
from composed.data.snapshots import Snapshot, Snapshots
from composed.table import table

__all__ = ["as_json", "as_table"]

HEADINGS = ("NAME", "MADE (UTC)", "SIZE", "ROWS", "ENGINE", "COMMIT", "PROJECT", "WHY")


def as_table(store: Snapshots) -> str:
    """Return a row for each snapshot, then what is none."""
    snapshots = store.all()
    lines = [table([HEADINGS, *map(_row, snapshots)])] if snapshots else []
    lines += [f"damaged: {name}" for name in store.damaged()]
    lines += [f"half-made: {name}" for name in store.half_made()]
    return "\n".join(lines) or "There are no snapshots. Make one: inv db.snapshot"


def as_json(store: Snapshots) -> str:
    """Return the manifests and what is no snapshot as one JSON object."""
    found = {
        "snapshots": [asdict(snapshot.manifest) for snapshot in store.all()],
        "damaged": store.damaged(),
        "half_made": store.half_made(),
    }
    return json.dumps(found, indent=2)


def _row(snapshot: Snapshot) -> tuple[str, ...]:
    it = snapshot.manifest
    return (
        it.name,
        it.created.replace("T", " ").removesuffix("Z"),
        size(it.size),
        str(sum(it.rows.values())),
        f"{it.engine} {it.version}",
        it.commit[:10] or "-",
        it.project,
        it.reason or "-",
    )
