"""The stack's data: snapshots, restores and migrations in either database."""
