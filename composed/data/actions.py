"""What verbs do with a stack's data as a whole: each step leaves it whole or as it was."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from composed.data.dump_file import DumpFile, examine
from composed.data.snapshots import Manifest, Snapshot, Snapshots
from composed.database import Database, Dump, Facts
from composed.errors import (
    ComposedError,
    DataError,
    DryRunEnded,
    InputOutputError,
    NotFoundError,
    RefusedError,
)
from composed.stack import Stack
from composed.terminal import say

__all__ = [
    "change_credentials",
    "copied",
    "destroy",
    "down_volumes",
    "find",
    "has_rows",
    "latest",
    "oldest",
    "open_file",
    "prune",
    "reset",
    "restore",
    "snapshot",
    "upgrade",
]

ENGINES = {"custom": "postgresql", "sql": "postgresql", "sqlite": "sqlite"}


# --- what to restore ---------------------------------------------------------


def find(stack: Stack, name: str) -> Snapshot:
    """Return a snapshot that is whole and of the stack's engine."""
    found = Snapshots(stack.project.snapshots).get(name)
    _check_engine(stack, found.manifest.engine, name)
    found.check()
    return found


def latest(stack: Stack) -> Snapshot:
    """Return the stack's newest snapshot; raises :class:`NotFoundError` when it has none."""
    ours = _ours(stack)
    if not ours:
        raise NotFoundError(f"There is no snapshot of {stack.name}.", "See all: inv db.list")
    return find(stack, ours[-1])


def oldest(stack: Stack, *, keep: int) -> list[str]:
    """Return the names of the stack's snapshots but the ``keep`` newest."""
    ours = _ours(stack)
    return ours[: max(0, len(ours) - keep)]


def open_file(stack: Stack, name: str) -> DumpFile:
    """Return a dump that was made elsewhere, at a path as typed: from the current folder."""
    file = examine(Path(os.path.expanduser(name)).absolute())  # noqa: PTH111  # which never raises
    _check_engine(stack, ENGINES[file.kind], name)
    return file


def _ours(stack: Stack) -> list[str]:
    """Return the names of this stack's own: others in the folder may have theirs beside."""
    everything = Snapshots(stack.project.snapshots).all()
    return [it.name for it in everything if it.manifest.project == stack.name]


def _check_engine(stack: Stack, engine: str, name: str) -> None:
    if engine != stack.database_engine:
        raise DataError(
            f"{name} is of {engine}; this stack, in {stack.mode} mode, has {stack.database_engine}."
        )


# --- what is done ------------------------------------------------------------


def snapshot(stack: Stack, name: str = "", reason: str = "") -> Snapshot | None:
    """Write a snapshot; return None when there is nothing to keep."""
    if name:
        Snapshots(stack.project.snapshots).check_free(name)  # before anything is started
    with _data(stack) as database:
        return _take(stack, database, name, reason)


def restore(stack: Stack, dump: Dump, *, safety: bool = True) -> Facts:
    """Put a dump in place of the live data; return the facts about the new live data."""
    with _data(stack) as database:
        _preview(stack, database, *(["dump"] if safety else []), "restore")
        if isinstance(dump, Snapshot):
            database.check_version(dump.manifest.version)
        if dump.foreign:  # a snapshot was checked when it was made, its checksum just now
            database.check(dump)
        with _undone_by(stack, database, "db.restore", safety=safety):
            return database.replace(dump)


def reset(stack: Stack, *, safety: bool = True) -> None:
    """Put an empty database in place of the live one."""
    with _data(stack) as database:
        _preview(stack, database, *(["dump"] if safety else []))
        with _undone_by(stack, database, "db.reset", safety=safety):
            database.reset()


def has_rows(stack: Stack) -> bool:
    """Say whether there are rows that ``migrate`` itself did not make."""
    with _data(stack) as database:
        return database.has_rows()


@contextlib.contextmanager
def copied(stack: Stack) -> Iterator[str]:
    """Yield the name or path of a copy of the live database."""
    with _data(stack) as database:
        _preview(stack, database, "dump", "restore")
        with database.copied() as place:
            yield place


def upgrade(stack: Stack, old_image: str = "") -> list[str]:
    """Move the data to the server's new major version; returns what was done."""
    with _alone(stack):
        return stack.volume.upgrade(old_image) if stack.volume else []


def change_credentials(stack: Stack) -> list[str]:
    """Give the database the names and the password of the settings; returns what was done."""
    with _alone(stack):
        return stack.volume.change_credentials() if stack.volume else []


def prune(stack: Stack, names: list[str]) -> list[str]:
    """Remove these snapshots; return their names."""
    stack.gateway.preview()
    with _alone(stack):
        for name in names:
            Snapshots(stack.project.snapshots).remove(name)
    return names


def down_volumes(stack: Stack, *, safety: bool = True) -> int:
    """Stop the stack and remove its data."""
    with _last_snapshot(stack, "down --volumes", safety=safety):
        return stack.runner.down(volumes=True)


def destroy(stack: Stack, *, safety: bool = True) -> int:
    """Remove all that the stack has; snapshots and settings stay."""
    with _last_snapshot(stack, "destroy", safety=safety):
        code = stack.store.destroy()
        if not code:
            stack.gateway.remove(stack.folder)
        return code


# --- how ---------------------------------------------------------------------


@contextlib.contextmanager
def _alone(stack: Stack) -> Iterator[None]:
    """Let one verb at a time at the data, and remove what a killed one left half-made."""
    with stack.gateway.lock(stack.folder / "data.lock"), _disk_errors():
        for name in (
            () if stack.gateway.dry else Snapshots(stack.project.snapshots).remove_half_made()
        ):
            say(f"Removed {name}, which an inv that was killed had left.")
        yield


@contextlib.contextmanager
def _data(stack: Stack) -> Iterator[Database]:
    with _alone(stack), stack.store.database() as database:
        yield database


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """Say in our words that a disk is full or a folder is another's."""
    try:
        yield
    except PermissionError as error:
        raise RefusedError(f"{error.filename} cannot be written: {error.strerror}.") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise InputOutputError(f"{where}{error.strerror}.", "Nothing half-made is left.") from None


@contextlib.contextmanager
def _undone_by(stack: Stack, database: Database, verb: str, *, safety: bool) -> Iterator[None]:
    """Take a snapshot first and, when the block has ended, say how to bring the data back."""
    there = safety and stack.store.has_data()
    taken = _take(stack, database, "", f"before {verb}") if there else None
    yield
    _say_how_to_undo(taken)


@contextlib.contextmanager
def _last_snapshot(stack: Stack, verb: str, *, safety: bool) -> Iterator[None]:
    """Take it before the database itself goes; refuse when there is data that cannot be read."""
    taken = None
    with _alone(stack):
        if safety and stack.store.has_data():
            try:
                with contextlib.suppress(DryRunEnded), stack.store.database() as database:
                    taken = _take(stack, database, "", f"before {verb}")
            except ComposedError as error:
                raise RefusedError(
                    f"No snapshot could be taken, so nothing was removed. {error}",
                    f"Without one, for good: inv {verb} --no-snapshot --yes",
                ) from None
        yield
    _say_how_to_undo(taken)


def _say_how_to_undo(taken: Snapshot | None) -> None:
    if taken:
        say(f"What was there before: inv db.restore --name {taken.name}")


def _take(stack: Stack, database: Database, name: str, reason: str) -> Snapshot | None:
    _preview(stack, database, "dump")
    store = Snapshots(stack.project.snapshots)
    now = datetime.now(UTC)
    name = name or _free_name(store, now, reason)
    store.check_free(name)
    with store.draft(name) as file:
        facts, checksum = database.dump(file)
        if reason and not facts.rows:
            say("The database has no tables: no snapshot.")
            return None
        commit, branch = _commit(stack)
        manifest = Manifest(
            name=name,
            project=stack.name,
            created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            reason=reason,
            engine=database.engine,
            version=facts.version,
            commit=commit,
            branch=branch,
            migrations=facts.migrations,
            rows=facts.rows,
            size=file.stat().st_size,
            checksum=checksum,
        )
        database.check(Snapshot(manifest, file))
        return store.keep(manifest)


def _preview(stack: Stack, database: Database, *names: str) -> None:
    """End a dry run with the commands of these names."""
    stack.gateway.preview(*(database.commands[name] for name in names if name in database.commands))


def _free_name(store: Snapshots, now: datetime, reason: str) -> str:
    name = f"{now:%Y-%m-%dT%H-%M-%SZ}{reason and '-'}{'-'.join(reason.replace('-', '').split())}"
    taken = {it.name for it in store.all()}
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 99))) if n not in taken)


def _commit(stack: Stack) -> tuple[str, str]:
    """Return the commit and the branch; empty without git, or on no branch."""
    said = stack.gateway.ask(["git", "rev-parse", "HEAD", "--abbrev-ref", "HEAD"])
    commit, _, branch = said.out.strip().partition("\n") if said.code == 0 else ("", "", "")
    return commit, "" if branch == "HEAD" else branch
