"""The data of a stack in docker mode: a database service on a volume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.docker.compose import PROJECT_LABEL, Compose
from composed.docker.database import DatabaseService
from composed.docker.only_copy import at_stake, check_not_lost
from composed.docker.volatile import holds_data, nameless, volatile
from composed.errors import Interrupted, OtherDatabaseError, RefusedError
from composed.stack import Belongings, Stack, Store

if TYPE_CHECKING:  # `inv ps` has to be quick
    from composed.database import Database
    from composed.docker.model import Model

# How to list and remove each kind; containers first, since they use the rest.
KINDS = (
    (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
    (("volume", "ls", "--quiet"), ("volume", "rm")),
    (("network", "ls", "--quiet"), ("network", "rm")),
    (("image", "ls", "--quiet"), ("image", "rm", "--force")),
)

NOTE = "nothing was removed"  # in the errors of a last snapshot


class VolumeStore(Store, Belongings):
    """The volume of the database service, and everything on the engine with the stack's label."""

    def __init__(self, stack: Stack, dc: Compose, calls: Calls, database: DatabaseService) -> None:
        self._stack, self._dc, self._calls, self._database = stack, dc, calls, database

    @contextlib.contextmanager
    def database(self, name: str = "") -> Iterator[Database]:
        """Yield PostgreSQL; end the programs in the container when the block raises."""
        self._database.start()
        try:
            with self._calls.under_way(self._database.name, keep_failed=True) as call:
                yield self._database.postgresql(call, name)
        except BaseException:
            self._stack.clean_up()
            raise

    @contextlib.contextmanager
    def retired(self) -> Iterator[Mapping[str, Database]]:
        """Raise :class:`RefusedError` for a database that no dump can save."""
        from composed.docker.volume.server import temporary_server  # noqa: PLC0415

        with contextlib.suppress(OtherDatabaseError):  # of a file in the container, below
            _ = self._stack.store
        check_not_lost(self._stack, self._dc)
        _ = self._stack.store  # a kind of database that cannot be saved is refused here
        model = self._dc.model()
        for name, volume in self._unsaved(model).items():
            problem = f"{name} is another database, in {volume}, which no verb can save."
            own = f"Save it with a program of its own: inv shell --service {name}"
            raise RefusedError(problem, own, "Save the database of Django: inv db.snapshot")
        if not (self._database.name and self._exists(model)):
            yield {}
            return
        user, live = self._database.login
        self._database.volume_check().check_volume()
        mounts = self._anonymous()
        with (
            self._stopped(),
            self._calls.under_way(keep_failed=True) as call,
            temporary_server(
                *(self._dc, self._database.name, user, call, NOTE), volumes=mounts
            ) as server,
        ):
            server.database(live).heal()  # a killed restore may have left copies
            others = [name for name in server.databases() if name != live]
            yield {"": server.database(live), **{name: server.database(name) for name in others}}

    def _anonymous(self) -> list[str]:
        """Return the anonymous volume of the database as a mount: a new container gets another one.

        Raises :class:`RefusedError` where the data is in no volume at all.
        """
        found = volatile(self._stack.gateway, self._stack.name)
        own = [one for one in found if one.service == self._database.name]
        if any(not one.volume for one in own):
            problem = f"The data of {self._database.name} is in no volume, but in the container."
            raise RefusedError(problem, "Save the data: inv db.snapshot")
        return [f"{one.volume}:{one.path}" for one in own]

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        """Stop the services; start them again if the block raises."""
        running = self._dc.running()
        with self._stack.locked():
            with self._stack.stopping():
                self._dc.run_or_end("stop")
            try:
                yield
            except BaseException as error:
                self._stack.clean_up()
                # With the temporary server still there, a second one would ruin the data.
                is_alone = not self._calls.abandoned()
                if running and is_alone and not isinstance(error, Interrupted):
                    self._dc.run("start", *running)
                raise

    def has_data(self) -> bool:
        """Return whether a volume with a database exists; True where it may have no name."""
        model = self._dc.model()
        if self._exists(model) or self._unsaved(model):
            return True
        if not self._stack.follows_django:
            return False
        kept = {volume.name for volume in model.volumes.values() if not volume.external}
        # Django may have a file in a volume of any service.
        in_volume = not self._dc.volumes().keys().isdisjoint(kept)
        return in_volume or bool(at_stake(self._stack, self._dc))

    def _exists(self, model: Model) -> bool:
        """Return whether a named volume of the service exists; True without a named volume."""
        mounts = model.service(self._database.name).mounts
        names = [mount.volume for mount in mounts if mount.volume]
        return not names or not self._dc.volumes().keys().isdisjoint(names)

    def _unsaved(self, model: Model) -> dict[str, str]:
        """Return the volumes that go with the data of other databases, by service, in words."""
        from composed.docker import detection  # noqa: PLC0415  # few verbs need it

        backend = self._stack.project.backend
        no_server = {self._database.name, backend, *detection.same_image(model, backend)}
        found = {
            one.service: "a volume without a name" if one.volume else "its container"
            for one in volatile(self._stack.gateway, self._stack.name)
        }
        going = self._dc.volumes().keys() - {v.name for v in model.volumes.values() if v.external}
        for service in model.services.values():
            names = [mount.volume for mount in service.mounts if mount.volume in going]
            if names and detection.is_database(service):
                found[service.name] = f"the volume {names[0]}"
        return {name: place for name, place in found.items() if name not in no_server}

    def holdings(self) -> list[str]:
        """Return the volumes of the project, with the old volumes of upgrades."""
        return [name for name, owner in self._dc.volumes().items() if owner == self._stack.name]

    def unsaved(self, *, all_of_it: bool) -> list[str]:
        model = self._dc.model()
        going = {volume.name for volume in model.volumes.values() if not volume.external}
        service = model.service(self._database.name)
        mounts = [mount for mount in service.mounts if mount.volume]
        saved = {m.volume for m in mounts if holds_data(m, service)} or {m.volume for m in mounts}
        names = [name for name in self.holdings() if all_of_it or name in going]
        found = volatile(self._stack.gateway, self._stack.name, self._stack.project.backend)
        others = [one for one in found if one.volume and one.service != service.name]
        unnamed = [f"{one.path} of {one.service}" for one in others]
        return [*(name for name in names if name not in saved), *unnamed]

    def destroy(self) -> int:
        """Raise :class:`InputOutputError` when the engine refuses; see :class:`Store`."""
        check_owners(self._dc, self._stack.name)
        with self._stack.locked(), self._stack.stopping():
            if code := down_with_volumes(self._dc, self._stack.name, "--rmi", "local"):
                return code
            label = f"label={PROJECT_LABEL}={self._stack.name}"
            for listing, removal in KINDS:
                if ids := self._dc.output(["docker", *listing, "--filter", label]).split():
                    self._dc.output(["docker", *removal, *dict.fromkeys(ids)], effect=True)
        return 0


def down_with_volumes(dc: Compose, project: str, *options: str, strays: Sequence[str] = ()) -> int:
    """Remove containers and volumes, those without a name too; return the exit code of Compose.

    ``strays`` are services that the active profiles do not have.
    """
    left = nameless(dc.gateway, project)
    if strays:
        dc.run_or_end("rm", "--stop", "--force", *strays)
    code = dc.run("down", "--remove-orphans", "--volumes", *options)
    if left and not code:
        dc.output(["docker", "volume", "rm", "--force", *left], effect=True)
    return code


def check_owners(dc: Compose, project: str) -> None:
    """Raise :class:`RefusedError` for another project's volume: Compose removes by name."""
    from composed.docker.model import setting_of  # noqa: PLC0415  # few verbs need it

    owners = dc.volumes()
    for key, volume in dc.model().volumes.items():
        owner = owners.get(volume.name, "")
        if owner not in ("", project) and not volume.external:
            written = dc.written_model().volumes.get(key)
            setting = setting_of(written.name) if written else ""
            cure = f"Give {key} another name in the Compose file"
            cure = f"Name one of your own: {setting} in .env" if setting else cure
            problem = f"Volume {volume.name} belongs to another project, {owner}."
            raise RefusedError(problem, cure)
