"""The actions on a stack's data as a whole: each leaves the data whole, or unchanged."""

import contextlib
import os
import re
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


def find(stack: Stack, name: str) -> Snapshot:
    """Return a snapshot; raise :class:`DataError` when damaged or of another engine."""
    snapshot = Snapshots(stack.project.snapshots).get(name)
    _check_engine(stack, snapshot.manifest.engine, name)
    snapshot.check()
    return snapshot


def latest(stack: Stack) -> Snapshot:
    """Return the stack's newest snapshot; raise :class:`NotFoundError` without a snapshot."""
    names = [name for name, database in _ours(stack) if not database]
    if not names:
        raise NotFoundError(f"There is no snapshot of {stack.name}.", "See all: inv db.list")
    return find(stack, names[-1])


def oldest(stack: Stack, *, keep: int) -> list[str]:
    """Return the names of the stack's snapshots except the ``keep`` newest, oldest first.

    Of another database of the volume, as many stay.
    """
    ours = _ours(stack)
    kept: set[str] = set()
    for wanted in {database for _, database in ours}:
        names = [name for name, database in ours if database == wanted]
        kept |= {*names[len(names) - min(keep, len(names)) :]}
    return [name for name, _ in ours if name not in kept]


def _ours(stack: Stack) -> list[tuple[str, str]]:
    """Return the names of the stack's snapshots with their database, oldest first."""
    snapshots = Snapshots(stack.project.snapshots).all()  # of other stacks in this folder too
    manifests = [snapshot.manifest for snapshot in snapshots]
    return [(m.name, m.database) for m in manifests if m.project == stack.name]


def open_file(stack: Stack, name: str) -> DumpFile:
    """Return a dump made elsewhere; ``name`` is a path as typed, from the current folder."""
    # Unlike Path.expanduser, this never raises.
    file = examine(Path(os.path.expanduser(name)).absolute())  # noqa: PTH111
    if file.kind == "sql" and stack.database_engine == "sqlite":
        raise DataError(f"{name} is no SQLite database: local mode restores no SQL script.")
    _check_engine(stack, "sqlite" if file.kind == "sqlite" else "postgresql", name)
    return file


def _check_engine(stack: Stack, engine: str, name: str) -> None:
    if engine != stack.database_engine:
        raise DataError(
            f"{name} is of {engine}; this stack, in {stack.mode} mode, has {stack.database_engine}."
        )


def snapshot(stack: Stack, name: str = "", reason: str = "") -> Snapshot | None:
    """Write a snapshot; with a ``reason``, return None when the database has no tables."""
    if name:
        Snapshots(stack.project.snapshots).check_free(name)  # before anything is started
    with _data(stack) as database:
        return _take(stack, database, name, reason)


def restore(stack: Stack, dump: Dump, *, safety: bool = True, verify: bool = True) -> Facts:
    """Put a dump in place of the live data; return the facts of the new live data.

    With ``verify``, the snapshot of the old data is restored on trial before the old data go.
    """
    with _data(stack, dump.database) as database:
        _preview(stack, database, *(["dump"] if safety else []), "restore")
        if isinstance(dump, Snapshot):
            database.check_version(dump.manifest.version)
        else:  # a snapshot was checked when it was made, and its checksum a moment ago
            database.check(dump)
        database.make(dump)
        return _replace(stack, database, dump, "db.restore", safety=safety, verify=verify)


def reset(
    stack: Stack, *, safety: bool = True, verify: bool = True, only_rows: bool = False
) -> None:
    """Put an empty database in place of the live database.

    With ``only_rows``, a database without rows is worth no snapshot: see :func:`has_rows`.
    """
    with _data(stack) as database:
        _preview(stack, database, *(["dump"] if safety else []))
        _replace(
            stack, database, None, "db.reset", safety=safety, verify=verify, only_rows=only_rows
        )


def _replace(
    stack: Stack,
    database: Database,
    dump: Dump | None,
    verb: str,
    *,
    safety: bool,
    verify: bool,
    only_rows: bool = False,
) -> Facts:
    """Prepare the new data, close the live data, take a snapshot of the live data, swap."""
    guarded, taken, is_done = safety and stack.store.has_data(), None, False
    try:
        with database.prepared(dump) as facts, database.closed():
            if guarded and (not only_rows or database.has_rows()):
                of = dump.database if dump else ""
                taken = _take(stack, database, "", f"before {verb}", verify=verify, of=of)
            database.swap()
            is_done = True
        if workers := stack.restart_workers():
            say(f"Restarted, since their data was replaced: {', '.join(workers)}")
    finally:  # the data was replaced, whether or not the server and the workers start
        if is_done:
            _say_the_way_back(taken)
    return facts


def has_rows(stack: Stack) -> bool:
    """Return whether there are rows that ``migrate`` itself did not make."""
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
    """Move the data to the server's new major version; return a line for each change."""
    stack.gateway.end_dry_run()
    with _alone(stack):
        return stack.volume.upgrade(old_image) if stack.volume else []


def change_credentials(stack: Stack) -> list[str]:
    """Give the volume the credentials of the settings; return a line for each change."""
    stack.gateway.end_dry_run()
    with _alone(stack):
        return stack.volume.change_credentials() if stack.volume else []


def prune(stack: Stack, names: list[str]) -> None:
    """Remove these snapshots."""
    stack.gateway.end_dry_run()
    with _alone(stack):
        for name in names:
            Snapshots(stack.project.snapshots).remove(name)


def down_volumes(stack: Stack, *, safety: bool = True, verify: bool = True) -> int:
    """Stop the stack and remove the data; return the exit code."""
    with _last_snapshots(stack, "down --volumes", safety=safety, verify=verify):
        return stack.runner.down(volumes=True)


def destroy(stack: Stack, *, safety: bool = True, verify: bool = True) -> int:
    """Remove all of the stack except snapshots and settings; return the exit code."""
    with _last_snapshots(stack, "destroy", safety=safety, verify=verify):
        code = stack.belongings.destroy()
        if not code:
            stack.remove_folder()
        return code


@contextlib.contextmanager
def _alone(stack: Stack) -> Iterator[None]:
    """Hold the data lock; remove half-made snapshots; raise a fault of the disk in our words."""
    with stack.gateway.lock(stack.folder / "data.lock"):
        try:
            if not stack.gateway.dry:
                for name in Snapshots(stack.project.snapshots).remove_half_made():
                    say(f"Removed {name}, which an inv that was killed had left.")
            yield
        except PermissionError as error:
            raise RefusedError(f"{error.filename} cannot be written: {error.strerror}.") from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            problem = f"{place}{error.strerror}."
            raise InputOutputError(problem, "Nothing half-made is left.") from None


@contextlib.contextmanager
def _data(stack: Stack, name: str = "") -> Iterator[Database]:
    with _alone(stack), stack.store.database(name) as database:
        yield database


@contextlib.contextmanager
def _last_snapshots(stack: Stack, verb: str, *, safety: bool, verify: bool) -> Iterator[None]:
    """Take a snapshot of all data before the block; refuse if the data cannot be read."""
    taken: list[Snapshot] = []
    with _alone(stack), stack.locked():  # nobody starts the services in between
        if safety and stack.belongings.has_data():
            try:
                taken = _take_all(stack, f"before {verb}", verify=verify)
            except ComposedError as error:
                problem = f"No snapshot could be taken, so nothing was removed. {error}"
                cure = f"Without one, for good: inv {verb} --no-snapshot --yes"
                raise RefusedError(problem, cure) from None
        try:
            yield
        finally:  # a removal that fails may have removed the data already
            for snapshot in taken:
                _say_the_way_back(snapshot)


def _take_all(stack: Stack, reason: str, *, verify: bool) -> list[Snapshot]:
    """Stop the services and take a snapshot of each database with tables."""
    if stack.gateway.dry:
        with contextlib.suppress(DryRunEnded), stack.store.database() as database:
            _preview(stack, database, "dump")
        return []
    with stack.belongings.retired() as databases:
        taken = [
            _take(stack, database, "", reason, verify=verify, of=name)
            for name, database in databases.items()
        ]
    return [snapshot for snapshot in taken if snapshot]


def _say_the_way_back(taken: Snapshot | None) -> None:
    if taken:
        say(f"To bring the data back: inv db.restore --name {taken.name}")


def _take(
    stack: Stack,
    database: Database,
    name: str,
    reason: str,
    *,
    verify: bool = False,
    of: str = "",
) -> Snapshot | None:
    """Take a snapshot of a database, by default the live one; prove the snapshot on demand."""
    _preview(stack, database, "dump")
    store = Snapshots(stack.project.snapshots)
    time = datetime.now(UTC)
    name = name or _free_name(store, time, f"{reason} {of}")
    with store.draft(name) as file:
        facts, checksum = database.dump(file)
        if reason and not facts.rows and not facts.objects:
            if not of:
                say("The database has no tables: no snapshot.")
            return None
        commit, branch = _commit(stack)
        manifest = Manifest(
            name=name,
            project=stack.name,
            created=f"{time:%Y-%m-%dT%H:%M:%SZ}",
            reason=reason,
            engine=database.engine,
            version=facts.version,
            commit=commit,
            branch=branch,
            migrations=facts.migrations,
            rows=facts.rows,
            size=file.stat().st_size,
            checksum=checksum,
            search_path=facts.search_path,
            roles=facts.roles,
            database=of,
            locale=facts.locale,
        )
        draft = Snapshot(manifest, file)
        database.check(draft)
        if verify:
            _prove(database, draft)
        kept = store.keep(manifest)
    if reason:
        say(f"Snapshot taken: {kept.name}")
    return kept


def _prove(database: Database, draft: Snapshot) -> None:
    """Restore a snapshot on trial; raise the error with the option that leaves the trial out."""
    try:
        database.prove(draft)
    except ComposedError as error:
        cure = "Without the trial: the same command with --no-verify"
        problem = f"The snapshot that guards the data cannot be restored. {error}"
        raise type(error)(problem, cure) from None


def _preview(stack: Stack, database: Database, *names: str) -> None:
    """End a dry run with the commands of these names."""
    stack.gateway.end_dry_run(
        *(database.commands[name] for name in names if name in database.commands)
    )


def _free_name(store: Snapshots, time: datetime, reason: str) -> str:
    words = [f"{time:%Y-%m-%dT%H-%M-%SZ}", *reason.replace("-", "").split()]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(words))[:90]
    taken = {*store.names(), *store.names_under_way()}  # of another stack in this folder
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 99))) if n not in taken)


def _commit(stack: Stack) -> tuple[str, str]:
    """Return the commit and the branch; empty without git, or on no branch."""
    answer = stack.gateway.ask(["git", "rev-parse", "HEAD", "--abbrev-ref", "HEAD"])
    commit, _, branch = answer.out.strip().partition("\n") if answer.code == 0 else ("", "", "")
    return commit, "" if branch == "HEAD" else branch
