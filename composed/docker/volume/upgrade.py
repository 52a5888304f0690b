"""Moves all databases of a volume into a new one, under a newer PostgreSQL.

Both servers run in containers of their own, which nobody else reaches: what is
copied is all there is. The old volume is only read.
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
from composed.data.postgres import PostgreSQL, identifier
from composed.docker.compose import Compose
from composed.docker.leftovers import LABEL
from composed.docker.volume import volume
from composed.docker.volume.check import VolumeCheck
from composed.docker.volume.credentials import Credentials
from composed.docker.volume.volume import Volume
from composed.env.file import with_value, write_env
from composed.env.settings import Settings, read_text
from composed.errors import (
    DataError,
    InputOutputError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    SettingError,
)
from composed.process import Answer
from composed.terminal import Progress

__all__ = ["Plan", "plan", "run", "switch"]

CHUNK = 1 << 20
SECONDS_TO_START, SECONDS_BETWEEN_LOOKS = 300, 0.1
LAST_LINES = 10

PROJECT = "${COMPOSE_PROJECT_NAME}"

DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datallowconn ORDER BY 1;\n"
SEQUENCES = """\
SELECT format('%I.%I %s', schemaname, sequencename, last_value) FROM pg_sequences ORDER BY 1;
"""

# What one psql writes for its own protection, an older one may not know.
_RESTRICTED = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
# The new server has the superuser of its settings, and what its init scripts made.
_ROLE = re.compile(r"^(CREATE ROLE .*;)$", re.MULTILINE)
_UNLESS_THERE = r"DO $do$ BEGIN \1 EXCEPTION WHEN duplicate_object THEN NULL; END $do$;"


class Plan(NamedTuple):
    """The old and the new volume, the settings that name them, and the new name as written."""

    old: Volume
    new: Volume
    settings: Volume
    name: str

    @property
    def lines(self) -> list[str]:
        """What was done, and what is left to do."""
        return [
            f"The data is in volume {self.new.name} now, for {self.new.image}.",
            "  Type: inv up",
            f"The old volume is as it was. When all is well: docker volume rm {self.old.name}",
            f"  Back to it: {self.settings.name}={self.old.name} and "
            f"{self.settings.image}={self.old.image} in .env",
        ]


# --- what to do --------------------------------------------------------------


def plan(
    dc: Compose, check: VolumeCheck, settings: Settings, service: str, old_image: str
) -> Plan | None:
    """Return what is to be done, None when the volume fits its image.

    Raises a :class:`~composed.errors.ComposedError` where it cannot be done.
    """
    now = check.volume
    if now is None or not volume.exists(dc.gateway, now.name):
        raise NotFoundError("There is no volume to upgrade.", "Type: inv up")
    config = _pulled(dc, now.image)
    found = volume.versions(dc.gateway, now)
    names = volume.settings_of(dc.model("--no-interpolate"), service)
    if not all(found):
        raise NotFoundError(
            f"{now.image} does not say which PostgreSQL it is, or volume {now.name} holds no data."
        )
    if found.server <= found.data:
        volume.check(now, found, names.image)
        return None
    before = check.image if check.image != now.image else ""
    image = old_image or before or f"postgres:{found.data}"
    old = Volume(now.name, volume.mount_for(_pulled(dc, image), now.mount), image)
    if volume.versions(dc.gateway, old).server != found.data:
        raise SettingError(
            f"{image} is not PostgreSQL {found.data}, of which the data is.",
            "Name the image it was made with: inv db.upgrade --old-image IMAGE",
        )
    raw, name = _free_name(dc, now, settings, names, found)
    new = Volume(name, volume.mount_for(config, now.mount), now.image)
    for wanted in (old, new):
        _check_settings(dc, service, names, wanted)
    return Plan(old, new, names, raw)


def _pulled(dc: Compose, image: str) -> dict[str, object]:
    """Return how an image is configured, pulled when it is not here."""
    pull = ["docker", "pull", image]
    if not (config := volume.configured(dc.gateway, image)):
        if dc.gateway.run(pull):
            raise NotFoundError(
                f"There is no image {image}.", "Name it: inv db.upgrade --old-image IMAGE"
            )
        config = volume.configured(dc.gateway, image)
    return config


def _free_name(
    dc: Compose, now: Volume, settings: Settings, names: Volume, found: volume.Versions
) -> tuple[str, str]:
    """Return a name for the new volume, as to be written down and as the engine has it.

    The project's name in it stays a variable: a copied folder gets a volume of its own.
    """
    raw = settings.values.get(names.name) or settings.defaults.get(names.name, "")
    project = settings["COMPOSE_PROJECT_NAME"]
    base = raw if raw.replace(PROJECT, project) == now.name else now.name
    base = f"{base.removesuffix(f'-{found.data}')}-{found.server}"
    for candidate in (base, *(f"{base}-{number}" for number in range(2, 99))):
        if not volume.exists(dc.gateway, name := candidate.replace(PROJECT, project)):
            return candidate, name
    raise RefusedError(f"There are too many volumes {base}.", "Remove some: docker volume rm …")


def _check_settings(dc: Compose, service: str, names: Volume, wanted: Volume) -> None:
    """Raise :class:`SettingError` where the Compose file or the environment decides otherwise."""
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


# --- how ---------------------------------------------------------------------


def run(dc: Compose, service: str, wanted: Credentials, todo: Plan, call: str) -> None:
    """Copy everything and compare it; the containers bear ``call`` and are gone in the end."""
    _check_unused(dc, todo.old.name)
    environments = [_environment(todo.settings, side) for side in (todo.old, todo.new)]
    user, database = wanted.user, wanted.database
    with (
        _server(dc, service, user, call, environments[0]) as old,
        _server(dc, service, user, call, environments[1]) as new,
    ):
        old.heal(database)
        new.sql("postgres", _roles(old.ask("pg_dumpall", "--globals-only")))
        for name in old.sql("postgres", DATABASES).splitlines():
            _copy(old, new, name)
            _compare(name, old.contents(name), new.contents(name))
            new.sql(name, "ANALYZE;")


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
    """Raise :class:`RefusedError` while a container is on the volume: two servers ruin it."""
    asked = dc.gateway.ask(["docker", "ps", "--filter", f"volume={name}", "--format", "{{.Names}}"])
    if asked.code:
        raise _failed("docker ps", asked)
    if users := asked.out.split():
        raise RefusedError(
            f"Volume {name} is in use by {', '.join(users)}.", f"Stop it: docker stop {users[0]}"
        )


class _Server:
    """A server in the container ``id``; its programs run there as the superuser ``user``."""

    def __init__(self, dc: Compose, id_: str, user: str) -> None:
        self.gateway, self._id, self._user = dc.gateway, id_, user

    def inside(self, *argv: str) -> list[str]:
        return ["docker", "exec", "--interactive", self._id, *argv]

    def program(self, name: str, *args: str) -> list[str]:
        return self.inside(name, "--username", self._user, *args)

    def ask(self, name: str, *args: str) -> str:
        answer = self.gateway.ask(self.program(name, *args))
        if answer.code:
            raise _failed(name, answer)
        return answer.out

    def sql(self, database: str, script: str) -> str:
        plain = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
        stop = ("--set", "ON_ERROR_STOP=1", "--dbname", database)
        with self.gateway.pipe(self.program("psql", *plain, *stop)) as pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.stdin.write(script.encode())
            answer = pipe.end()
        if answer.code:
            raise _failed("psql", answer)
        return answer.out

    def contents(self, database: str) -> tuple[Mapping[str, int], str]:
        """Return the rows of each table, and how far each sequence is."""
        return self._database(database).facts().rows, self.sql(database, SEQUENCES)

    def heal(self, database: str) -> None:
        """Take back what a restore that was cut off left: see :class:`PostgreSQL`."""
        self._database(database).heal()

    def _database(self, name: str) -> PostgreSQL:
        return PostgreSQL(self.gateway, self.inside, self._user, name, Calls(Path()))

    def wait(self) -> None:
        """Return when it takes connections; raise :class:`NotReadyError` when it will not."""
        end = time.monotonic() + SECONDS_TO_START
        # Over TCP: while the new volume is set up, it answers on the socket alone.
        while self.gateway.ask(self.inside("pg_isready", "--quiet", "--host", "127.0.0.1")).code:
            running = ["docker", "inspect", "--format", "{{.State.Running}}", self._id]
            if self.gateway.ask(running).out.strip() != "true" or time.monotonic() > end:
                raise self._why_not_ready()
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _why_not_ready(self) -> NotReadyError:
        logs = self.gateway.ask(["docker", "logs", "--tail", str(LAST_LINES), self._id])
        lines = (logs.out + logs.err).splitlines()
        return NotReadyError("PostgreSQL did not start. Its last lines:", *lines)

    def stop(self) -> None:
        """Shut it down in order, so that all it wrote is on the disk, and remove it."""
        for words in (("stop", "--time", "300"), ("rm", "--force", "--volumes")):
            answer = self.gateway.ask(["docker", *words, self._id])
            if answer.code:
                raise _failed(f"docker {words[0]}", answer)


@contextlib.contextmanager
def _server(
    dc: Compose, service: str, user: str, call: str, env: Mapping[str, str]
) -> Iterator[_Server]:
    """Start the service once more, without ports or its name on the network."""
    words = ("run", "--detach", "--no-deps", "--label", f"{LABEL}={call}", service)
    answer = dc.gateway.ask(dc.argv(*words), env=env)
    if answer.code:
        raise _failed("docker compose run", answer)
    server = _Server(dc, answer.out.split()[-1], user)
    server.wait()
    yield server
    server.stop()


def _roles(script: str) -> str:
    return _ROLE.sub(_UNLESS_THERE, _RESTRICTED.sub("", script))


def _copy(old: _Server, new: _Server, name: str) -> None:
    """Send a database from one server to the other, with its owner, rights and settings."""
    dump = old.program("pg_dump", "--format=custom", "--compress=0", "--dbname", name)
    restore = ["--exit-on-error", "--dbname", "postgres"]
    if name != "postgres":
        new.sql("postgres", f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE);")
        restore.append("--create")
    with (
        old.gateway.pipe(dump) as source,
        new.gateway.pipe(new.program("pg_restore", *restore)) as target,
        Progress(f"Copying {name}") as progress,
    ):
        with contextlib.suppress(BrokenPipeError):  # it says why when it ends
            while chunk := source.stdout.read1(CHUNK):
                target.stdin.write(chunk)
                progress.add(len(chunk))
        restored = target.end()
        if restored.code:
            raise _failed("pg_restore", restored)
        dumped = source.end()
    if dumped.code:
        raise _failed("pg_dump", dumped)


def _compare(
    name: str, before: tuple[Mapping[str, int], str], after: tuple[Mapping[str, int], str]
) -> None:
    if before != after:
        raise DataError(f"{name} is not the same in the new volume, so the old one stays.")


def _failed(program: str, answer: Answer) -> InputOutputError:
    lines = answer.err.strip().splitlines()[-LAST_LINES:]
    return InputOutputError(f"{program} ended with {answer.code}; the old volume stays:", *lines)
