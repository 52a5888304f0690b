"""Compare the migrations in the files with the records of the database."""

from dataclasses import dataclass

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

__all__ = ["MigrationState", "migration_state"]


@dataclass(frozen=True)
class MigrationState:
    """Migrations for `migrate` to apply, and migrations without a file (of a newer release)."""

    pending: list[str]
    unknown: list[str]


def migration_state() -> MigrationState:
    """Ask the database; raise its error when the database does not answer."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return MigrationState(
        pending=[f"{migration.app_label}.{migration.name}" for migration, _ in plan],
        unknown=sorted(".".join(key) for key in _unknown(executor.loader)),
    )


def _unknown(loader: MigrationLoader) -> set[tuple[str, str]]:
    known = set(loader.disk_migrations)
    for migration in loader.disk_migrations.values():
        known.update(migration.replaces)  # a squashed migration's files may be gone
    return {
        key for key in loader.applied_migrations or () if key[0] in loader.migrated_apps
    } - known
