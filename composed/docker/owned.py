"""What the engine keeps under a Compose project's own label, and what only looks like it."""

from __future__ import annotations

from collections.abc import Sequence

from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.model import setting_of
from composed.errors import InputOutputError, RefusedError
from composed.gateway import Answer

__all__ = ["Owned"]

LABEL = "com.docker.compose.project"

# How each kind is listed and removed; containers first, since they hold the others.
KINDS = (
    (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
    (("volume", "ls", "--quiet"), ("volume", "rm")),
    (("network", "ls", "--quiet"), ("network", "rm")),
    (("image", "ls", "--quiet"), ("image", "rm", "--force")),
)


class Owned:
    """Containers, volumes, networks and images of the project ``name``."""

    def __init__(self, dc: Compose, name: str) -> None:
        self._dc, self._name = dc, name

    def has_volume(self, service: str) -> bool:
        """Say whether a named volume of the service exists; True where it mounts none."""
        mounts = self._dc.model().service(service).mounts
        names = [mount.volume for mount in mounts if mount.volume]
        return not names or any(name in self._volumes() for name in names)

    def volumes(self) -> list[str]:
        """Return the names of the volumes that bear the label."""
        return [name for name, owner in self._volumes().items() if owner == self._name]

    def check_volumes(self) -> None:
        """Raise :class:`RefusedError` when a volume of ours belongs to another project.

        Compose would remove it by its name.
        """
        owners = self._volumes()
        for key, volume in self._dc.model().volumes.items():
            owner = owners.get(volume.name, "")
            if owner not in ("", self._name) and not volume.external:
                written = self._dc.written_model().volumes.get(key)
                setting = setting_of(written.name) if written else ""
                way = f"Name one of your own: {setting} in .env"
                raise RefusedError(
                    f"Volume {volume.name} belongs to another project, {owner}.",
                    way if setting else f"Give {key} another name in the Compose file",
                )

    def remove(self) -> int:
        """Remove what bears the label; raises :class:`InputOutputError` when the engine refuses."""
        for listing, removal in KINDS:
            found = self._ask(*listing, "--filter", f"label={LABEL}={self._name}").split()
            if found:
                removed = ["docker", *removal, *dict.fromkeys(found)]
                self._check(removed, self._dc.gateway.do(removed))
        return 0

    def _volumes(self) -> dict[str, str]:
        """Return every volume's name and project."""
        form = f'{{{{.Name}}}} {{{{.Label "{LABEL}"}}}}'
        lines = self._ask("volume", "ls", "--format", form).splitlines()
        return {name: owner for name, _, owner in (line.partition(" ") for line in lines)}

    def _ask(self, *args: str) -> str:
        argv = ["docker", *args]
        return self._check(argv, self._dc.gateway.ask(argv))

    def _check(self, argv: Sequence[str], answer: Answer) -> str:
        if answer.code == 0:
            return answer.out
        raise engine.problem(self._dc.gateway) or InputOutputError(
            f"{' '.join(argv)} failed: {answer.err.strip()}"
        )
