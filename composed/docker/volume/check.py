"""Whether the database's volume fits the settings: looked at when one of the two is new.

What fitted is written down, so that a start with the same settings asks nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from composed.docker.compose import Compose
from composed.docker.model import Model
from composed.docker.volume import credentials, volume
from composed.docker.volume.credentials import Credentials, Server
from composed.env.file import write_env
from composed.errors import ComposedError
from composed.findings import Finding

__all__ = ["VolumeCheck"]


class VolumeCheck:
    """The volume and the credentials in a Compose model, and what was written down before."""

    def __init__(self, dc: Compose, model: Model, service: str, file: Path) -> None:
        self._dc, self._service, self._file = dc, service, file
        self.volume = volume.volume_of(model, service)
        self.wanted = credentials.credentials_of(model, service)
        environment = model.service(service).environment
        self._given = [f"{name}={value}" for name, value in environment.items()]

    @property
    def is_known(self) -> bool:
        """Whether these settings fitted before, or there is nothing that could not."""
        return self.volume is None or self._read() == self._written()

    @property
    def image(self) -> str:
        """The image that was last seen to fit this volume; "" when none was."""
        was = self._read()
        ours = self.volume is not None and was.get("volume") == self.volume.name
        return was.get("image", "") if ours else ""

    def remember(self) -> None:
        """Write down that the volume fits."""
        write_env(self._file, json.dumps(self._written(), indent=2))

    # --- version -------------------------------------------------------------

    def check_volume(self) -> bool:
        """Say whether the volume exists; raises :class:`SettingError` when the image cannot use it.

        An image that is not here is pulled, as Compose would.
        """
        if self.volume is None:
            return False
        gateway, image = self._dc.gateway, self.volume.image
        if not (config := volume.configured(gateway, image)):
            if self._dc.run("pull", self._service):
                return False  # `up` fails on it, and says why
            config = volume.configured(gateway, image)
        config["Env"] = [*(config.get("Env") or ()), *self._given]
        names = volume.settings_of(self._dc.written_model(), self._service)
        volume.check_mount(self.volume, config, names.mount or "The mount")
        if not volume.exists(gateway, self.volume.name):
            return False
        found = volume.versions(gateway, self.volume)
        volume.check(self.volume, found, names.image or "The image")
        return True

    # --- credentials ---------------------------------------------------------

    @property
    def server(self) -> Server | None:
        """The running server; None where its image gets no password that we could see."""
        return Server(self._dc, self._service, self.wanted) if self.wanted else None

    def check_credentials(self) -> None:
        """Ask the running server; raises :class:`SettingError` with the ways out."""
        server = self.server
        misfit = server.misfit() if server else None
        if server and misfit and self.volume:
            at, names = self.volume.name, server.settings
            raise credentials.refusal(misfit, server.wanted, at, self._read(), names)

    # --- for doctor ----------------------------------------------------------

    def findings(self, *, running: bool) -> list[Finding]:
        """Return rows on the volume and, of a running server, on roles and test databases."""
        here = self.volume and volume.configured(self._dc.gateway, self.volume.image)
        rows = [self._row("volume", self.check_volume)] if here else []
        if not (running and self.server and self.wanted):
            return rows
        left = self.server.test_databases()
        return [
            *rows,
            self._row("credentials", self.check_credentials),
            *(_left_behind(name) for name in left),
        ]

    def _row(self, what: str, check: Callable[[], object]) -> Finding:
        try:
            check()
        except ComposedError as error:
            return Finding.of(what, error)
        return Finding(what, "ok", self.volume.name if self.volume else "")

    # --- record --------------------------------------------------------------

    def _read(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def _written(self) -> dict[str, str]:
        at = self.volume or volume.Volume("", "", "")
        user, password, database = self.wanted or Credentials("", "", "")
        secret = f"{at.name}\0{user}\0{password}".encode()
        return {
            "volume": at.name,
            "mount": at.mount,
            "image": at.image,
            "POSTGRES_USER": user,
            "POSTGRES_DB": database,
            "hash": hashlib.sha256(secret).hexdigest(),
        }


def _left_behind(name: str) -> Finding:
    drop = f"""inv dbshell --command 'DROP DATABASE "{name}"'"""
    return Finding("test database", "warning", name, drop)
