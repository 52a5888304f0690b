"""The data of a stack in docker mode: a database service on a volume."""

import contextlib
from collections.abc import Iterator, Sequence

from composed.calls import Calls
from composed.database import Database
from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.database import DatabaseService
from composed.docker.model import setting_of
from composed.errors import InputOutputError, RefusedError
from composed.gateway import Answer, Gateway
from composed.stack import Stack, Store

LABEL = "com.docker.compose.project"

# How to list and remove each kind; containers first, since they use the rest.
KINDS = (
    (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
    (("volume", "ls", "--quiet"), ("volume", "rm")),
    (("network", "ls", "--quiet"), ("network", "rm")),
    (("image", "ls", "--quiet"), ("image", "rm", "--force")),
)


class VolumeStore(Store):
    """The volume of the database service, and everything on the engine with the stack's label."""

    def __init__(self, stack: Stack, dc: Compose, calls: Calls, database: DatabaseService) -> None:
        self._stack, self._dc, self._calls, self._database = stack, dc, calls, database

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """Yield PostgreSQL; when the block raises, its programs inside are ended."""
        self._database.start()
        try:
            with self._calls.under_way(self._database.name, keep_failed=True) as call:
                yield self._database.postgresql(call)
        except BaseException:
            self._stack.clean_up()
            raise

    def pointed_at(self, place: str) -> dict[str, str]:
        """Return the setting that the Compose file's ``${…}`` takes the name from."""
        return {self._stack.project.database_name: place}

    def has_data(self) -> bool:
        """Return whether a named volume of the service exists; True where it mounts none."""
        mounts = self._dc.model().service(self._database.name).mounts
        names = [mount.volume for mount in mounts if mount.volume]
        return not names or not _owners(self._dc.gateway).keys().isdisjoint(names)

    def holdings(self) -> list[str]:
        """Return the volumes of the project, with the old volumes of upgrades."""
        owners = _owners(self._dc.gateway).items()
        return [name for name, owner in owners if owner == self._stack.name]

    def destroy(self) -> int:
        """Remove everything that Compose knows, then everything with the project's label.

        Raises :class:`InputOutputError` when the engine refuses.
        """
        check_owners(self._dc, self._stack.name)
        with self._stack.locked(), self._stack.stopping():
            if code := self._dc.run("down", "--remove-orphans", "--volumes", "--rmi", "local"):
                return code
            gateway, label = self._dc.gateway, f"label={LABEL}={self._stack.name}"
            for listing, removal in KINDS:
                if names := _ask(gateway, *listing, "--filter", label).split():
                    argv = ["docker", *removal, *dict.fromkeys(names)]
                    _output(gateway, argv, gateway.do(argv))
        return 0


def check_owners(dc: Compose, project: str) -> None:
    """Raise :class:`RefusedError` when a volume of the model belongs to another project.

    Compose removes a volume by its name, whatever the label.
    """
    owners = _owners(dc.gateway)
    for key, volume in dc.model().volumes.items():
        owner = owners.get(volume.name, "")
        if owner not in ("", project) and not volume.external:
            written = dc.written_model().volumes.get(key)
            setting = setting_of(written.name) if written else ""
            raise RefusedError(
                f"Volume {volume.name} belongs to another project, {owner}.",
                f"Name one of your own: {setting} in .env"
                if setting
                else f"Give {key} another name in the Compose file",
            )


def _owners(gateway: Gateway) -> dict[str, str]:
    """Return the project of every volume on the engine; "" for none."""
    form = f'{{{{.Name}}}} {{{{.Label "{LABEL}"}}}}'
    lines = _ask(gateway, "volume", "ls", "--format", form).splitlines()
    return {name: owner for name, _, owner in (line.partition(" ") for line in lines)}


def _ask(gateway: Gateway, *args: str) -> str:
    argv = ["docker", *args]
    return _output(gateway, argv, gateway.ask(argv))


def _output(gateway: Gateway, argv: Sequence[str], answer: Answer) -> str:
    if answer.code == 0:
        return answer.out
    problem = f"{' '.join(argv)} failed: {answer.err.strip()}"
    raise engine.problem(gateway) or InputOutputError(problem)
