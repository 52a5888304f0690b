"""Data that only a container has: no verb makes that container anew or removes it unasked.

That is Django's SQLite file in no mount, and a database whose data end with its container.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from composed.data.connection import Connection, fresh, in_container, recorded
from composed.docker.compose import Compose
from composed.docker.model import ComposeService, Model, Mount, innermost
from composed.docker.volatile import ANONYMOUS, volatile
from composed.errors import RefusedError
from composed.stack import Stack

_SQLITE = re.compile(r"\.(?:sqlite3?|s3db|db3?)$")


def ends_with_container(
    found: Connection, mounts: Sequence[Mount], then: Sequence[Mount] | None = None
) -> bool:
    """Return whether Django uses a SQLite file that only the container with these mounts has.

    A volume without a name is of one container. A container that takes its place, with the mounts
    ``then``, gets that volume, unless another one is mounted there.
    """
    if found.vendor != "sqlite" or found.name[:1] != "/":
        return False
    if not (mount := innermost(mounts, found.name)):
        return True
    if mount.is_lasting:
        return False
    return then is None or _has_place(then, found.name)


def only_in_container(stack: Stack, dc: Compose, *, renewed: bool = False) -> str:
    """Return the path of a SQLite file of Django that only the container has; "" for none.

    By the last answer of Django. With ``renewed``, of a file that a container which Compose makes
    anew would not have.
    """
    kept = recorded(stack)
    if not kept or kept[0].vendor != "sqlite":
        return ""
    mounts = dc.model().service(stack.project.backend).mounts
    then = mounts if renewed else None
    return kept[0].name if ends_with_container(kept[0], mounts, then) else ""


def asked_of_container(stack: Stack, dc: Compose, *, renewed: bool = False) -> str | None:
    """Return the same as :func:`only_in_container`, asked of Django after a change.

    The container may be of a plain ``docker compose up``, of which there is no record. None where
    Django gives no answer and never gave one.
    """
    if not stack.follows_django or stack.gateway.dry:
        return only_in_container(stack, dc, renewed=renewed)
    text = dc.ask("config", "--format", "json")
    model, name = Model.resolved(text), stack.project.backend
    if name not in model.services or not (containers := _containers(dc, name)):
        return ""
    if not (found := fresh(stack, text) or in_container(stack)):
        return None
    service = model.service(name)
    then = service.mounts if renewed else None
    present = (_mounts(dc, container, service) for container in containers)
    return found.name if any(ends_with_container(found, mounts, then) for mounts in present) else ""


def at_stake(stack: Stack, dc: Compose, *, renewed: bool = False) -> str:
    """Return the same as :func:`asked_of_container`; for None, a file that looks like SQLite's.

    Else a Django that has never worked could never be corrected.
    """
    path = asked_of_container(stack, dc, renewed=renewed)
    return written_in(dc, _containers(dc, stack.project.backend)) if path is None else path


def check_not_lost(stack: Stack, dc: Compose) -> None:
    """Raise :class:`RefusedError` where only the container of the backend has the SQLite file."""
    name, path = stack.project.backend, at_stake(stack, dc)
    if path and _containers(dc, name):
        raise Loss(name, path, of_django=True).refusal("The container goes")


class Loss(NamedTuple):
    """A service whose container has data at ``path`` that a new container would not have.

    With ``of_django``, a SQLite file. ``is_mounted``: the Compose file, which has changed since,
    has a volume or folder for that place. ``saved_by`` is the command that saves the data.
    """

    service: str
    path: str
    of_django: bool = False
    is_mounted: bool = False
    saved_by: str = ""

    @property
    def words(self) -> str:
        """The data at stake, as a sentence that begins with a small letter."""
        owner = "Django's database" if self.of_django else "its data"
        return f"only the container of {self.service} has {owner}, {self.path}."

    @property
    def cures(self) -> list[str]:
        """The way to data that last, in the order of its steps."""
        name, end = self.service, f"inv dc -- rm --stop --force {self.service}"
        mount = "Then mount a folder or a volume with a name at that place in the Compose file."
        after = [] if self.is_mounted else [mount]
        if self.of_django:
            return [
                copy_of(name, self.path),
                *after,
                f"Then type: {end}",
                "Put the file into that place: inv up",
            ]
        save = self.saved_by or f"a program of its own: inv shell --service {name}"
        back = " && inv db.restore --latest" if self.saved_by else ""
        return [f"Save the data: {save}", *after, f"Then type: {end} && inv up{back}"]

    def refusal(self, deed: str) -> RefusedError:
        """Return the error for a ``deed``, a sentence without its end."""
        return RefusedError(f"{deed}, and {self.words}", *self.cures)


def copy_of(service: str, path: str) -> str:
    """Return the sentence with the command that saves a file of a container."""
    return f"Save the file: inv dc -- cp {service}:{path} ."


def losses(
    stack: Stack, dc: Compose, model: Model, database: str, services: Collection[str]
) -> list[Loss]:
    """Return the data that new containers for ``services`` of the model would not have.

    ``database`` is the service whose data the verbs save.
    """
    found, name = [], stack.project.backend
    if name in services and name in model.services and (path := at_stake(stack, dc, renewed=True)):
        is_mounted = _has_place(model.service(name).mounts, path)
        found.append(Loss(name, path, of_django=True, is_mounted=is_mounted))
    for one in volatile(stack.gateway, stack.name):
        mount = innermost(model.service(one.service).mounts, one.path)
        # An image's own volume at the place hides a mount above it.
        hides = mount is not None and (not one.volume or mount.target.rstrip("/") == one.path)
        is_mounted = bool(mount and hides and mount.is_lasting)
        if one.service in {*services} & model.services.keys() and (is_mounted or not one.volume):
            save = f"inv dc -- start {database} && inv db.snapshot"
            saved_by = save if one.service == database else ""
            found.append(Loss(one.service, one.path, is_mounted=is_mounted, saved_by=saved_by))
    return found


def _containers(dc: Compose, service: str) -> list[str]:
    return dc.ask("ps", "--all", "--quiet", service).split()


def written_in(dc: Compose, containers: Iterable[str]) -> str:
    """Return a file with an ending of SQLite's that one of the containers has written."""
    lines: list[str] = []
    for container in containers:
        lines += dc.output(["docker", "diff", container]).splitlines()
    changes = (line.partition(" ") for line in lines)  # A, C or D, and a path
    return next((path for kind, _, path in changes if kind in "AC" and _SQLITE.search(path)), "")


def _mounts(dc: Compose, container: str, service: ComposeService) -> Sequence[Mount]:
    """Return the mounts of a container, which may be older than the Compose file."""
    shown = dc.gateway.ask(["docker", "inspect", "--format", "{{json .Mounts}}", container]).out
    if not shown.strip():  # removed a moment ago
        return service.mounts
    return [
        Mount(
            type=row["Type"],
            source="" if ANONYMOUS.fullmatch(row.get("Name", "")) else row.get("Source", ""),
            target=row["Destination"],
            volume="",
        )
        for row in json.loads(shown) or ()
    ]


def _has_place(mounts: Sequence[Mount], path: str) -> bool:
    mount = innermost(mounts, path)
    return bool(mount and mount.is_lasting)
