"""The folder of snapshots: each is a dump with a manifest, whole or absent."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from composed import files
from composed.database import Dump, Facts
from composed.errors import DataError, NotFoundError, ValueWrongError
from composed.gateway import folder_lock, is_free
from composed.records import MOST, NameInDatabase, read_object, record
from composed.terminal import Progress, shown, size, table

HEADINGS = ("NAME", "MADE (UTC)", "SIZE", "ROWS", "ENGINE", "COMMIT", "PROJECT", "WHY")

FORMAT = 1
DUMP, MANIFEST, IGNORE = "database.dump", "manifest.json", ".gitignore"
HALF_MADE = ".half-made"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Manifest:
    """The record of a snapshot: ``created`` in UTC, ``size`` in bytes, ``rows`` by table.

    ``reason`` is empty when the user asked for the snapshot; without git, so are ``commit``
    and ``branch``. ``number`` puts the snapshots of a folder in order, whatever the clock says;
    manifests from before it was counted have 0. ``database`` names a database of the volume other
    than the live one, and ``locale`` are its options of CREATE DATABASE.
    """

    name: str
    project: str
    created: str
    reason: str
    engine: str
    version: str
    commit: str
    branch: str
    migrations: tuple[str, ...]
    rows: Mapping[str, int]
    size: int
    checksum: str
    format: int = FORMAT
    number: int = 0
    search_path: NameInDatabase = ""
    roles: tuple[str, ...] = ()
    database: NameInDatabase = ""
    locale: NameInDatabase = ""


class Snapshot(Dump):
    """A snapshot on disk, as a dump to restore."""

    def __init__(self, manifest: Manifest, file: Path) -> None:
        kind = "sqlite" if manifest.engine == "sqlite" else "custom"
        title = f"{manifest.name} of {manifest.created}"
        if manifest.database:
            title += f" (the database {shown(manifest.database)})"
        super().__init__(file, kind, title, manifest.rows, foreign=False)
        self.search_path, self.roles = manifest.search_path, manifest.roles
        self.database, self.locale = manifest.database, manifest.locale
        self.manifest, self.name = manifest, manifest.name

    @property
    def summary(self) -> str:
        """The size and the contents for people."""
        facts = Facts(self.manifest.version, self.manifest.migrations, self.rows)
        return f"{size(self.manifest.size)}, {facts.count}"

    def check(self) -> None:
        """Raise :class:`DataError` when the manifest describes another file."""
        wanted = self.manifest
        try:
            with open(files.opened(self.file), "rb") as dump:  # noqa: PTH123  # a descriptor
                length = os.fstat(dump.fileno()).st_size
        except FileNotFoundError:
            length = 0
        except OSError as error:
            raise _damaged(self.name, f"its dump cannot be read: {error.strerror}") from None
        if length != wanted.size:
            raise _damaged(self.name, f"its dump has {length} bytes of {wanted.size}")
        digest = hashlib.sha256()
        with Progress(f"Checking {self.name}", wanted.size) as progress:
            for chunk in self.chunks():
                digest.update(chunk)
                progress.add(len(chunk))
        if f"sha256:{digest.hexdigest()}" != wanted.checksum:
            raise _damaged(self.name, "the checksum of its dump is another")


class Snapshots:
    """All snapshots in a folder, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Snapshot]:
        """Return the snapshots with a readable manifest, the oldest first."""
        snapshots = []
        for name in self.names():
            with contextlib.suppress(DataError, ValueWrongError):
                snapshots.append(self.get(name))
        return sorted(snapshots, key=_age)

    def damaged(self) -> dict[str, str]:
        """Return the fault of each snapshot without a readable manifest, by name."""
        faults = {}
        for name in sorted(self.names()):
            try:
                self.get(name)
            except (DataError, ValueWrongError) as error:
                faults[name] = error.problem
        return faults

    def half_made(self) -> list[str]:
        """Return the folders of snapshots that are under way, or were when ``inv`` was killed."""
        return sorted(path.name for path in self._folder.glob(f".*{HALF_MADE}"))

    def names_under_way(self) -> list[str]:
        """Return the names that the half-made snapshots are going to have."""
        return [folder.removeprefix(".").removesuffix(HALF_MADE) for folder in self.half_made()]

    def get(self, name: str) -> Snapshot:
        """Return a snapshot; raise :class:`NotFoundError`, :class:`DataError` for the manifest."""
        _check_name(name)
        folder = self._folder / name
        if not folder.is_dir():
            raise NotFoundError(f"There is no snapshot {name!r}.", "See all: inv db.list")
        return Snapshot(_manifest(name, folder / MANIFEST), folder / DUMP)

    def check_free(self, name: str) -> None:
        """Raise :class:`ValueWrongError` when the name is not valid, or taken."""
        _check_name(name)
        if (self._folder / name).exists():
            raise _taken(name)

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[Path]:
        """Yield an empty file for a dump; without :meth:`keep` the file is removed."""
        self.check_free(name)
        half = self._half(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(ignore := self._folder / IGNORE):
            ignore.write_text("*\n")  # for git: no file of the project's names us
        with contextlib.ExitStack() as lock:
            with folder_lock(self._folder, "writes a snapshot"):  # see remove_half_made
                try:
                    half.mkdir(mode=0o700)
                except FileExistsError:
                    raise _taken(name) from None
                lock.enter_context(folder_lock(half, "removes a snapshot"))
            try:
                os.close(os.open(half / DUMP, os.O_CREAT | os.O_EXCL, 0o600))
                yield half / DUMP
            finally:
                shutil.rmtree(half, ignore_errors=True)

    def keep(self, manifest: Manifest) -> Snapshot:
        """Make a snapshot of a draft: number it, write the manifest, then rename the folder."""
        half, folder = self._half(manifest.name), self._folder / manifest.name
        with self._next_number() as number:
            manifest = replace(manifest, number=number)
            handle = os.open(half / MANIFEST, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  # a file of 0600
                json.dump(asdict(manifest), file, indent=2)
            _manifest(manifest.name, half / MANIFEST)  # the data may go because of it
            for path in (half / MANIFEST, half / DUMP, half):
                _sync(path)
            half.rename(folder)
        _sync(self._folder)
        return Snapshot(manifest, folder / DUMP)

    @contextlib.contextmanager
    def _next_number(self) -> Iterator[int]:
        """Yield the number of the next snapshot, to one ``inv`` at a time.

        The number is above the numbers of all snapshots, in a copy of the folder too, and above
        those of snapshots that were pruned.
        """
        with folder_lock(self._folder, "writes a snapshot"):
            numbers = [snapshot.manifest.number for snapshot in self.all()]
            number = min(max(0, self._highest(), *numbers) + 1, MOST)
            yield number
            with contextlib.suppress(OSError):  # the numbers in the manifests will do
                files.replace(self._counter, str(number))

    @property
    def _counter(self) -> Path:
        """The file with the highest number so far: beside the folder, which has snapshots alone."""
        return self._folder.with_name(f".{self._folder.name}.counter")

    def _highest(self) -> int:
        try:
            return int(files.text(self._counter, 20))
        except (OSError, ValueError):
            return 0

    def remove(self, name: str) -> None:
        """Remove a snapshot; an interrupted removal leaves a half-made snapshot."""
        folder = self._folder / name
        with folder_lock(folder, "removes a snapshot"):  # the lock stays with the folder
            _remove(folder.rename(self._half(name)))

    def remove_half_made(self) -> list[str]:
        """Remove the half-made snapshots of an ``inv`` that was killed, and return their names.

        Another stack in this folder may be making one now: a living ``inv`` has the lock of the
        folder that it makes. It makes and locks the folder in one step for all who hold the lock
        of the folder above.
        """
        removed = []
        with folder_lock(self._folder, "writes a snapshot"):
            for name in self.half_made():
                with (
                    contextlib.suppress(FileNotFoundError),  # its inv has ended in between
                    _locked_if_free(self._folder / name) as is_left,
                ):
                    if is_left:
                        _remove(self._folder / name)
                        removed.append(name)
        return removed

    def _half(self, name: str) -> Path:
        return self._folder / f".{name}{HALF_MADE}"

    def names(self) -> list[str]:
        """Return the names of all snapshots, damaged or not."""
        return [path.name for path in self._folder.glob("[!.]*") if path.is_dir()]


def _age(snapshot: Snapshot) -> tuple[int, str, str]:
    return snapshot.manifest.number, snapshot.manifest.created, snapshot.name


@contextlib.contextmanager
def _locked_if_free(folder: Path) -> Iterator[bool]:
    """Yield whether no living ``inv`` has the lock of the folder; hold the lock then.

    A thing that is no folder, or a file system without locks, counts as free.
    """
    with contextlib.ExitStack() as stack:
        free = True
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, handle)
            free = is_free(handle)
        yield free


def _remove(path: Path) -> None:
    """Remove a folder, or the thing that stands in its place: a link, not where it leads."""
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        cure = "Valid: letters, digits, '.', '_' and '-', starting with a letter or digit."
        raise ValueWrongError(f"--name is {name!r}.", cure)


def _manifest(name: str, file: Path) -> Manifest:
    try:
        values = read_object(file)
        if isinstance(number := values.get("format"), int) and number > FORMAT:
            raise _damaged(name, f"format {number} needs a newer Composed")
        return record(Manifest, values | {"name": name})
    except (OSError, ValueError) as error:
        fault = error.strerror if isinstance(error, OSError) else error
        problem = f"its manifest cannot be read ({MANIFEST}: {fault})"
        raise _damaged(name, problem) from None


def _taken(name: str) -> ValueWrongError:
    problem = f"There is a snapshot {name!r} already, and none is overwritten."
    return ValueWrongError(problem, "See all: inv db.list")


def _damaged(name: str, reason: str) -> DataError:
    return DataError(f"Snapshot {name!r} is damaged: {reason}.", "See the others: inv db.list")


def _sync(path: Path) -> None:
    """Return when the file or folder is on the disk, not only in a cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_table(store: Snapshots) -> str:
    """Return a row for each snapshot, then the names of damaged and half-made snapshots."""
    rows = [
        (
            manifest.name,
            manifest.created.replace("T", " ").removesuffix("Z"),
            size(manifest.size),
            str(sum(manifest.rows.values())),
            f"{manifest.engine} {manifest.version}",
            manifest.commit[:10] or "-",
            manifest.project,
            " ".join(filter(None, (manifest.reason, shown(manifest.database)))) or "-",
        )
        for manifest in (snapshot.manifest for snapshot in store.all())
    ]
    lines = [table([HEADINGS, *rows])] if rows else []
    lines += [f"damaged: {shown(name)}" for name in store.damaged()]
    lines += [f"half-made: {shown(name)}" for name in store.half_made()]
    return "\n".join(lines) or "There are no snapshots. Make one: inv db.snapshot"


def as_json(store: Snapshots) -> str:
    """Return the manifests, and the names of damaged and half-made snapshots, as JSON."""
    manifests = [asdict(snapshot.manifest) for snapshot in store.all()]
    for manifest in manifests:
        del manifest["roles"]  # hashes of passwords
    lists = {
        "snapshots": manifests,
        "damaged": list(store.damaged()),
        "half_made": store.half_made(),
    }
    return json.dumps(lists, indent=2)
