"""The folder of snapshots: each is a dump with a manifest, whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from composed.database import CHUNK, Facts
from composed.errors import DataError, NotFoundError, ValueWrongError
from composed.terminal import Progress, size, table

__all__ = ["FORMAT", "Manifest", "Snapshot", "Snapshots", "as_json", "as_table", "checksum"]

HEADINGS = ("NAME", "MADE (UTC)", "SIZE", "ROWS", "ENGINE", "COMMIT", "PROJECT", "WHY")

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"
HALF_MADE = ".half-made"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Manifest:
    """What is written down of a dump: whose, of when and why, and how to know it whole.

    ``created`` is in UTC, ``size`` in bytes, ``rows`` by table; ``reason`` is empty
    for a snapshot somebody asked for, ``commit`` and ``branch`` are without git.
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


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk, as a dump to restore from."""

    manifest: Manifest
    file: Path
    foreign: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.manifest.name

    @property
    def title(self) -> str:
        """Its name and when it was made."""
        return f"{self.name} of {self.manifest.created}"

    @property
    def rows(self) -> Mapping[str, int]:
        """How many rows each table has to have after a restore."""
        return self.manifest.rows

    @property
    def kind(self) -> str:
        """What the file is."""
        return "sqlite" if self.manifest.engine == "sqlite" else "custom"

    @property
    def summary(self) -> str:
        """Its size and contents for people."""
        facts = Facts(self.manifest.version, self.manifest.migrations, self.rows)
        return f"{size(self.manifest.size)}, {facts.count}"

    def chunks(self) -> Iterator[bytes]:
        """Give the file's contents piece by piece."""
        with self.file.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def check(self) -> None:
        """Raise :class:`DataError` when the file is not the one the manifest describes."""
        wanted = self.manifest
        found = self.file.stat().st_size if self.file.exists() else 0
        if found != wanted.size:
            raise _damaged(self.name, f"its dump has {found} bytes of {wanted.size}")
        with Progress(f"Checking {self.name}", wanted.size) as progress:
            if checksum(self.chunks(), progress) != wanted.checksum:
                raise _damaged(self.name, "the checksum of its dump is another")


class Snapshots:
    """All snapshots in a folder, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Snapshot]:
        """Return the snapshots whose manifest can be read, the oldest first."""
        found = []
        for name in self._names():
            with contextlib.suppress(DataError):
                found.append(self.get(name))
        return sorted(found, key=lambda it: (it.manifest.created, it.name))

    def damaged(self) -> list[str]:
        """Return the names of those whose manifest cannot be read."""
        return sorted(set(self._names()) - {snapshot.name for snapshot in self.all()})

    def half_made(self) -> list[str]:
        """Return what is being made, or was when its ``inv`` was killed."""
        return sorted(path.name for path in self._folder.glob(f".*{HALF_MADE}"))

    def get(self, name: str) -> Snapshot:
        """Return the one of this name.

        Raises :class:`NotFoundError` when there is none, :class:`DataError`
        when its manifest cannot be read.
        """
        check_name(name)
        folder = self._folder / name
        if not folder.is_dir():
            raise NotFoundError(f"There is no snapshot {name!r}.", "See all: inv db.list")
        return Snapshot(_manifest(name, folder / MANIFEST), folder / DUMP)

    def check_free(self, name: str) -> None:
        """Raise :class:`ValueWrongError` when the name is no name, or taken."""
        check_name(name)
        if (self._folder / name).exists():
            raise ValueWrongError(
                f"There is a snapshot {name!r} already, and none is overwritten.",
                "See all: inv db.list",
            )

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[Path]:
        """Give an empty file for a dump; what raises leaves nothing behind.

        :meth:`keep` makes a snapshot of it.
        """
        half = self._half(name)
        half.mkdir(mode=0o700, parents=True)
        try:
            os.close(os.open(half / DUMP, os.O_CREAT | os.O_EXCL, 0o600))
            yield half / DUMP
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def keep(self, manifest: Manifest) -> Snapshot:
        """Write the manifest beside the dump, then give both their name at once."""
        half, folder = self._half(manifest.name), self._folder / manifest.name
        handle = os.open(half / MANIFEST, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  # a file of 0600
            json.dump(asdict(manifest), file, indent=2)
        for path in (half / MANIFEST, half / DUMP, half):
            _sync(path)
        half.rename(folder)
        _sync(self._folder)
        return Snapshot(manifest, folder / DUMP)

    def remove(self, name: str) -> None:
        """Remove one; interrupted, it is half-made, never a snapshot without its dump."""
        half = (self._folder / name).rename(self._half(name))
        shutil.rmtree(half)

    def remove_half_made(self) -> list[str]:
        """Remove what killed ones left and return it; only for who is :func:`alone`."""
        names = self.half_made()
        for name in names:
            shutil.rmtree(self._folder / name)
        return names

    def _half(self, name: str) -> Path:
        return self._folder / f".{name}{HALF_MADE}"

    def _names(self) -> list[str]:
        return [path.name for path in self._folder.glob("[!.]*") if path.is_dir()]


def checksum(chunks: Iterator[bytes], progress: Progress) -> str:
    """Return the SHA-256 of the pieces, as ``sha256sum`` has it, with its name in front."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        progress.add(len(chunk))
    return f"sha256:{digest.hexdigest()}"


def check_name(name: str) -> None:
    """Raise :class:`ValueWrongError` when no snapshot can be called so."""
    if not _NAME.fullmatch(name):
        raise ValueWrongError(
            f"--name is {name!r}.",
            "Valid: letters, digits, '.', '_' and '-', starting with a letter or digit.",
        )


def _manifest(name: str, file: Path) -> Manifest:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise _damaged(name, f"format {values['format']} needs a newer Composed")
        wanted = {field.name: values[field.name] for field in fields(Manifest)}
        return Manifest(**wanted | {"name": name, "migrations": tuple(values["migrations"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(name, f"its manifest cannot be read ({error!r})") from None


def _damaged(name: str, reason: str) -> DataError:
    return DataError(f"Snapshot {name!r} is damaged: {reason}.", "See the others: inv db.list")


def _sync(path: Path) -> None:
    """Have it on the disk, not in a cache, before anything is told or renamed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_table(store: Snapshots) -> str:
    """Return a row for each snapshot, then the names of damaged and half-made ones."""
    snapshots = store.all()
    lines = [table([HEADINGS, *map(_row, snapshots)])] if snapshots else []
    lines += [f"damaged: {name}" for name in store.damaged()]
    lines += [f"half-made: {name}" for name in store.half_made()]
    return "\n".join(lines) or "There are no snapshots. Make one: inv db.snapshot"


def _row(snapshot: Snapshot) -> tuple[str, ...]:
    manifest = snapshot.manifest
    return (
        manifest.name,
        manifest.created.replace("T", " ").removesuffix("Z"),
        size(manifest.size),
        str(sum(manifest.rows.values())),
        f"{manifest.engine} {manifest.version}",
        manifest.commit[:10] or "-",
        manifest.project,
        manifest.reason or "-",
    )


def as_json(store: Snapshots) -> str:
    """Return the manifests, and the names of damaged and half-made snapshots, as JSON."""
    lists = {
        "snapshots": [asdict(snapshot.manifest) for snapshot in store.all()],
        "damaged": store.damaged(),
        "half_made": store.half_made(),
    }
    return json.dumps(lists, indent=2)
