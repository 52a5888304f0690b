"""Copies all databases of a volume into a new volume, for a newer PostgreSQL.

Both servers run in containers that no other program can reach, so no write is missed.
The old volume is only read.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from composed.calls import Calls
from composed.data.postgres import PostgreSQL
from composed.data.psql import LAST_LINES, Psql, failure, pipe_dump
from composed.database import identifier
from composed.docker.compose import Compose
from composed.docker.leftovers import LABEL
from composed.docker.volume import volume
from composed.docker.volume.check import VolumeCheck
from composed.docker.volume.credentials import Credentials
from composed.docker.volume.volume import Volume
from composed.env.file import with_value, write_env
from composed.env.settings import Settings, read_text
from composed.errors import DataError, NotFoundError, NotReadyError, RefusedError, SettingError
from composed.gateway import Gateway

__all__ = ["Plan", "plan", "run", "switch"]

NOTE = "the old volume stays"  # in every error
SECONDS_TO_START, SECONDS_BETWEEN_LOOKS = 300, 0.1

PROJECT = "${COMPOSE_PROJECT_NAME}"

DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datallowconn ORDER BY 1;\n"
SEQUENCES = """\
SELECT format('%I.%I %s', schemaname, sequencename, last_value) FROM pg_sequences ORDER BY 1;
"""

# Lines for the protection of psql, which an older psql may not know.
_RESTRICTED = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
# The new server has roles already: the superuser, and the roles of init scripts.
_ROLE = re.compile(r"^(CREATE ROLE .*;)$", re.MULTILINE)
_UNLESS_THERE = r"DO $do$ BEGIN \1 EXCEPTION WHEN duplicate_object THEN NULL; END $do$;"


class Plan(NamedTuple):
    """The old and the new volume, the settings that name a volume, the new name for the env file.

    The new name for the env file may hold ``${COMPOSE_PROJECT_NAME}``.
    """

    old: Volume
    new: Volume
    settings: Volume
    name: str

    @property
    def lines(self) -> list[str]:
        """The report for the user: the change, the next command, the way back."""
        return [
            f"The data is in volume {self.new.name} now, for {self.new.image}.",
            "  Type: inv up",
            f"The old volume is as it was. When all is well: docker volume rm {self.old.name}",
            f"  Back to it: {self.settings.name}={self.old.name} and "
            f"{self.settings.image}={self.old.image} in .env",
        ]


# --- the plan ----------------------------------------------------------------


def plan(
    dc: Compose, check: VolumeCheck, settings: Settings, service: str, old_image: str
) -> Plan | None:
    """Return the plan; None when the volume fits its image.

    Raises :class:`NotFoundError` without a volume or an image, :class:`SettingError` when
    a setting forbids the upgrade, :class:`RefusedError` when every name is taken.
    """
    current = check.volume
    if current is None or not volume.exists(dc.gateway, current.name):
        raise NotFoundError("There is no volume to upgrade.", "Type: inv up")
    config = _pulled(dc, current.image)
    versions = volume.versions(dc.gateway, current)
    names = volume.settings_of(dc.written_model(), service)
    if not all(versions):
        raise NotFoundError(
            f"{current.image} does not say which PostgreSQL it is, "
            f"or volume {current.name} holds no data."
        )
    if versions.server <= versions.data:
        volume.check(current, versions, names.image)
        return None
    before = check.image if check.image != current.image else ""
    image = old_image or before or f"postgres:{versions.data}"
    old = Volume(current.name, volume.mount_for(_pulled(dc, image), current.mount), image)
    if volume.versions(dc.gateway, old).server != versions.data:
        raise SettingError(
            f"The data is of PostgreSQL {versions.data}; {image} is another version.",
            "Name the image of the data: inv db.upgrade --old-image IMAGE",
        )
    raw, name = _free_name(dc, current, settings, names, versions)
    new = Volume(name, volume.mount_for(config, current.mount), current.image)
    for wanted in (old, new):
        _check_settings(dc, service, names, wanted)
    return Plan(old, new, names, raw)


def _pulled(dc: Compose, image: str) -> dict[str, object]:
    """Return the configuration of an image; pull an image that is missing."""
    pull = ["docker", "pull", image]
    if not (config := volume.configured(dc.gateway, image)):
        if dc.gateway.run(pull):
            raise NotFoundError(
                f"There is no image {image}.", "Name it: inv db.upgrade --old-image IMAGE"
            )
        config = volume.configured(dc.gateway, image)
    return config


def _free_name(
    dc: Compose, current: Volume, settings: Settings, names: Volume, versions: volume.Versions
) -> tuple[str, str]:
    """Return a name for the new volume, in the form of the env file and in the engine's.

    In the env file the name of the project stays a variable: a copied folder gets its own volume.
    """
    raw = settings.values.get(names.name) or settings.defaults.get(names.name, "")
    project = settings["COMPOSE_PROJECT_NAME"]
    base = raw if raw.replace(PROJECT, project) == current.name else current.name
    base = f"{base.removesuffix(f'-{versions.data}')}-{versions.server}"
    for candidate in (base, *(f"{base}-{number}" for number in range(2, 99))):
        if not volume.exists(dc.gateway, name := candidate.replace(PROJECT, project)):
            return candidate, name
    raise RefusedError(f"There are too many volumes {base}.", "Remove some: docker volume rm …")


def _check_settings(dc: Compose, service: str, names: Volume, wanted: Volume) -> None:
    """Raise :class:`SettingError` if the Compose file or the environment overrides the env file."""
    for name in (names.name, names.mount):
        if name in os.environ:
            raise SettingError(
                f"{name} is set in the environment, which wins over .env.", f"Type: unset {name}"
            )
    if volume.volume_of(dc.model(env=_environment(names, wanted)), service) != wanted:
        raise SettingError(
            f"The Compose file does not let settings choose {wanted}.",
            f"Write there, for {service}: "
            f"image: ${{{names.image or 'POSTGRES_IMAGE'}:-{wanted.image}}}, "
            f"${{{names.mount or 'POSTGRES_MOUNT'}:-{wanted.mount}}} and, for its volume, "
            f"name: ${{{names.name or 'POSTGRES_VOLUME'}:-{wanted.name}}}",
        )


def _environment(names: Volume, values: Volume) -> dict[str, str]:
    return {name: value for name, value in zip(names, values, strict=True) if name}


# --- the copy ----------------------------------------------------------------


def run(dc: Compose, service: str, wanted: Credentials, todo: Plan, call: str) -> None:
    """Copy every database and compare; the containers have the label ``call`` and are removed."""
    _check_unused(dc, todo.old.name)
    environments = [_environment(todo.settings, side) for side in (todo.old, todo.new)]
    with (
        _server(dc, service, wanted.user, call, environments[0]) as old,
        _server(dc, service, wanted.user, call, environments[1]) as new,
    ):
        old.database(wanted.database).heal()  # a killed restore may have left copies
        command = old.psql.program("pg_dumpall", "--globals-only")
        roles = _RESTRICTED.sub("", _ask(dc.gateway, "pg_dumpall", command))
        new.psql.sql(_ROLE.sub(_UNLESS_THERE, roles))
        for name in old.psql.sql(DATABASES).splitlines():
            _copy(old.psql, new.psql, name)
            if old.contents(name) != new.contents(name):
                raise DataError(f"{name} is not the same in the new volume, so {NOTE}.")
            new.psql.sql("ANALYZE;", name)


def switch(settings: Settings, todo: Plan) -> None:
    """Write the new volume into the env file."""
    values = {todo.settings.image: todo.new.image}
    if todo.new.mount != todo.old.mount:
        values[todo.settings.mount] = todo.new.mount
    texts: dict[Path, str] = {}
    for name, value in {**values, todo.settings.name: todo.name}.items():
        file = settings.file_of(name)
        texts[file] = with_value(texts.get(file) or read_text(file), name, value)
    for file, text in texts.items():
        write_env(file, text)


def _check_unused(dc: Compose, name: str) -> None:
    """Raise :class:`RefusedError` while a container uses the volume: two servers ruin the data."""
    listed = ["docker", "ps", "--quiet", "--filter", f"volume={name}"]
    if not (ids := _ask(dc.gateway, "docker ps", listed).split()):
        return
    # On a busy machine, `docker ps` lists a container for a moment after its end.
    running = "{{if .State.Running}}{{slice .Name 1}}{{end}}"
    inspected = ["docker", "inspect", "--format", running, *ids]
    if users := _ask(dc.gateway, "docker inspect", inspected).split():
        raise RefusedError(
            f"Volume {name} is in use by {', '.join(users)}.", f"Stop it: docker stop {users[0]}"
        )


class _Server:
    """A server in the container ``id_``, with the superuser ``user``."""

    def __init__(self, gateway: Gateway, id_: str, user: str) -> None:
        self._gateway, self._id = gateway, id_
        self.psql = Psql(gateway, self._inside, user, note=NOTE)

    def database(self, name: str) -> PostgreSQL:
        return PostgreSQL(self.psql, name, Calls(self.psql.gateway, Path()))

    def contents(self, database: str) -> tuple[Mapping[str, int], str]:
        """Return the rows of each table, and the last value of each sequence."""
        return self.database(database).facts().rows, self.psql.sql(SEQUENCES, database)

    def wait(self) -> None:
        """Return when the server takes connections; raise :class:`NotReadyError` otherwise."""
        end = time.monotonic() + SECONDS_TO_START
        # Over TCP: while a new volume is set up, the server answers on the socket alone.
        while self._gateway.ask(self._inside("pg_isready", "--quiet", "--host", "127.0.0.1")).code:
            running = ["docker", "inspect", "--format", "{{.State.Running}}", self._id]
            if self._gateway.ask(running).out.strip() != "true" or time.monotonic() > end:
                logs = self._gateway.ask(["docker", "logs", "--tail", str(LAST_LINES), self._id])
                lines = (logs.out + logs.err).splitlines()
                raise NotReadyError("PostgreSQL did not start. Its last lines:", *lines)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def stop(self) -> None:
        """Shut the server down in order, with every write on disk, and remove the container."""
        for words in (("stop", "--time", "300"), ("rm", "--force", "--volumes")):
            _ask(self._gateway, f"docker {words[0]}", ["docker", *words, self._id])

    def _inside(self, *argv: str) -> list[str]:
        return ["docker", "exec", "--interactive", self._id, *argv]


@contextlib.contextmanager
def _server(
    dc: Compose, service: str, user: str, call: str, env: Mapping[str, str]
) -> Iterator[_Server]:
    """Start the service once more, without ports and without a name on the network."""
    argv = dc.argv("run", "--detach", "--no-deps", "--label", f"{LABEL}={call}", service)
    started = _ask(dc.gateway, "docker compose run", argv, env)
    server = _Server(dc.gateway, started.split()[-1], user)
    server.wait()
    yield server
    server.stop()


def _ask(
    gateway: Gateway, program: str, argv: list[str], env: Mapping[str, str] | None = None
) -> str:
    """Return the stdout of a command; raise :class:`InputOutputError` when the command fails."""
    answer = gateway.ask(argv, env=env)
    if answer.code:
        raise failure(program, answer, NOTE)
    return answer.out


def _copy(old: Psql, new: Psql, name: str) -> None:
    """Copy a database from server to server, with the owner, rights and settings."""
    options = ["--exit-on-error", "--dbname", "postgres"]
    if name != "postgres":
        new.sql(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE);")
        options.append("--create")
    pipe_dump(old, name, new, new.program("pg_restore", *options), f"Copying {name}")
