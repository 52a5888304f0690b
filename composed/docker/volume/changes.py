"""Changes of the database's volume: other credentials, a newer PostgreSQL.

An upgrade copies all databases into a new volume and only reads the old volume. Both servers
run in containers that no other program can reach, so no write is missed.
"""

import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from composed.calls import Calls
from composed.data.psql import Psql, drop_database, unless_exists
from composed.data.transfer import copy
from composed.docker.compose import LABEL, Compose
from composed.docker.database import DatabaseService
from composed.docker.volume import volume
from composed.docker.volume.credentials import Credentials, Misfit, Server
from composed.docker.volume.server import TemporaryServer, output, temporary_server
from composed.docker.volume.volume import DataVolume, VolumeCheck
from composed.env.file import edit_env, with_values
from composed.errors import (
    DataError,
    InputOutputError,
    NotFoundError,
    RefusedError,
    SettingError,
)
from composed.stack import Stack, Volume

NOTE = "the old volume stays"  # in every error
PROJECT = "${COMPOSE_PROJECT_NAME}"

# Lines for the protection of psql, which an older psql may not know.
_RESTRICTED = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
# The new server has roles already: the superuser, and the roles of init scripts.
_ROLE = re.compile(r"^(CREATE ROLE .*);\n", re.MULTILINE)


class Plan(NamedTuple):
    """An upgrade; ``value`` is the name of the new volume in the form of the env file."""

    old: DataVolume
    new: DataVolume
    settings: DataVolume
    value: str


class VolumeChanges(Volume):
    """The volume of the database service, changed while no other verb uses the data."""

    def __init__(self, stack: Stack, dc: Compose, calls: Calls, database: DatabaseService) -> None:
        self._stack, self._dc, self._calls, self._database = stack, dc, calls, database
        self._gateway = stack.gateway

    def change_credentials(self) -> list[str]:
        """Raise :class:`SettingError` for an unclear name, :class:`InputOutputError` on failure."""
        server = self._database.volume_check().server
        if server is None:
            return []
        self._database.start()
        done: list[str] = []
        while (misfit := server.misfit()) and len(done) < len(Credentials._fields):
            done.append(self._correct(server, misfit))
        if misfit:
            setting = server.settings[misfit.variable]
            raise InputOutputError(f"{setting} still does not fit.", "See: inv logs")
        return done

    def _correct(self, server: Server, misfit: Misfit) -> str:
        user, _, database = server.wanted
        if misfit.variable == "POSTGRES_USER":
            return f"The user {self._rename_user(server)} is now {user}."
        if misfit.variable == "POSTGRES_PASSWORD":
            server.set_password()
            return f"The password of {user} is now the password in .env."
        if not (old := misfit.only_database):
            setting = server.settings[misfit.variable]
            raise SettingError(
                f"{setting} is {database!r}: there is no such database, "
                "and the database to rename is not clear.",
                f"There are: {', '.join(misfit.databases)}. Write one into .env: {setting}=…",
            )
        server.rename_database(old)
        return f"The database {old} is now {database}."

    def _rename_user(self, server: Server) -> str:
        """Rename the superuser, with a helper role that only a stopped server can be given."""
        with self._stack.locked():  # before the stop: two servers on a volume ruin the data
            self._database.stop()
            with self._calls.under_way(keep_failed=True) as call:
                one_off = ("run", "--rm", "--no-deps", "--no-TTY", "--label", f"{LABEL}={call}")
                single = ("postgres", "--single", "postgres")
                server.add_helper(self._dc.argv(*one_off, self._database.name, *single))
        self._database.start()
        return server.rename_user()

    def upgrade(self, old_image: str) -> list[str]:
        """Copy into a new volume, write the volume into the env file, return the report.

        Raises :class:`NotFoundError` without a volume or an image, :class:`SettingError` when
        a setting forbids the upgrade, :class:`RefusedError` when the old volume is in use.
        """
        check = self._database.volume_check()
        if check.server is None:
            return []
        with self._stack.locked():
            plan = self._plan(check, old_image)
            if plan is None:
                return []
            with self._stack.stopping():
                self._dc.run_or_end("stop")
            try:
                with (
                    self._database.upgrades.under_way(plan.new.name, keep_failed=True),
                    self._calls.under_way(keep_failed=True) as call,
                ):
                    self._copy(plan, check.server.wanted, call)
                    self._write_settings(plan)
            except BaseException:
                self._stack.clean_up()
                raise
        return [
            f"The data is now in volume {plan.new.name}, for {plan.new.image}.",
            "  Type: inv up",
            f"The old volume is unchanged. When all is well: docker volume rm {plan.old.name}",
            f"  To go back: {plan.settings.name}={plan.old.name} and "
            f"{plan.settings.image}={plan.old.image} in .env",
        ]

    def _plan(self, check: VolumeCheck, old_image: str) -> Plan | None:
        """Return the plan; None when the volume fits the image."""
        current = check.volume
        if current is None or current.name not in self._dc.volumes():
            raise NotFoundError("There is no volume to upgrade.", "Type: inv up")
        config = self._pulled(current.image)
        versions = volume.versions(self._gateway, current)
        settings = volume.settings_of(self._dc.written_model(), self._database.name)
        if not all(versions):
            problem = f"The PostgreSQL version of {current.image} is unknown"
            raise NotFoundError(f"{problem}, or volume {current.name} holds no data.")
        if versions.server <= versions.data:
            volume.check_versions(current, versions, settings.image)
            return None
        image = old_image or check.old_image or f"postgres:{versions.data}"
        old_mount = volume.mount_for(self._pulled(image), current.mount)
        old = DataVolume(current.name, old_mount, image)
        if volume.versions(self._gateway, old).server != versions.data:
            problem = f"The data is of PostgreSQL {versions.data}; {image} is another version."
            cure = "Name the image of the data: inv db.upgrade --old-image IMAGE"
            raise SettingError(problem, cure)
        value, name = self._free_name(current.name, settings.name, versions)
        new = DataVolume(name, volume.mount_for(config, current.mount), current.image)
        for wanted in (old, new):
            self._check_settings(settings, wanted)
        return Plan(old, new, settings, value)

    def _copy(self, plan: Plan, wanted: Credentials, call: str) -> None:
        """Copy every database and compare; ``call`` labels the containers of the two servers."""
        self._check_unused(plan.old.name)
        with (
            self._server(wanted.user, call, _environment(plan.settings, plan.old)) as old,
            self._server(wanted.user, call, _environment(plan.settings, plan.new)) as new,
        ):
            old.database(wanted.database).heal()  # a killed restore may have left copies
            answer = self._gateway.ask(old.psql.program("pg_dumpall", "--globals-only"))
            roles = _RESTRICTED.sub("", output("pg_dumpall", answer, NOTE))
            new.psql.sql(_ROLE.sub(lambda role: unless_exists(role[1]), roles))
            for name in old.databases():
                _copy_database(old.psql, new.psql, name)
                if old.contents(name) != new.contents(name):
                    raise DataError(f"{name} is not the same in the new volume, so {NOTE}.")
                new.psql.sql("ANALYZE;", name)

    def _write_settings(self, plan: Plan) -> None:
        image, mount, name = plan.settings.image, plan.settings.mount, plan.settings.name
        values = {image: plan.new.image, mount: plan.new.mount, name: plan.value}
        if plan.new.mount == plan.old.mount:
            del values[mount]
        of_file: dict[Path, dict[str, str]] = {}
        for name, value in values.items():
            of_file.setdefault(self._stack.settings.file_of(name), {})[name] = value
        for file, own in of_file.items():
            edit_env(file, partial(with_values, values=own))

    def _pulled(self, image: str) -> dict[str, object]:
        config = volume.configured(self._gateway, image)
        if not config and self._gateway.run(["docker", "pull", image]):
            cure = "Name the old image: inv db.upgrade --old-image IMAGE"
            raise NotFoundError(f"There is no image {image}.", cure)
        return config or volume.configured(self._gateway, image)

    def _free_name(self, current: str, setting: str, versions: volume.Versions) -> tuple[str, str]:
        """Return a name for the new volume, as the env file and as the engine writes the name.

        In the env file, the project's name stays a variable: a copied folder gets its own volume.
        """
        settings = self._stack.settings
        value = settings.values.get(setting) or settings.defaults.get(setting, "")
        project = settings["COMPOSE_PROJECT_NAME"]
        base = value if value.replace(PROJECT, project) == current else current
        base = f"{base.removesuffix(f'-{versions.data}')}-{versions.server}"
        volumes = self._dc.volumes()
        for candidate in (base, *(f"{base}-{number}" for number in range(2, 99))):
            if (name := candidate.replace(PROJECT, project)) not in volumes:
                return candidate, name
        raise RefusedError(f"There are too many volumes {base}.", "Remove some: docker volume rm …")

    def _server(
        self, user: str, call: str, env: Mapping[str, str]
    ) -> AbstractContextManager[TemporaryServer]:
        return temporary_server(self._dc, self._database.name, user, call, NOTE, env)

    def _check_settings(self, settings: DataVolume, wanted: DataVolume) -> None:
        """Raise :class:`SettingError` if the shell or the Compose file overrides the env file."""
        for name in (settings.name, settings.mount):
            if name in os.environ:
                problem = f"{name} is set in the environment, which wins over .env."
                raise SettingError(problem, f"Type: unset {name}")
        model = self._dc.model(env=_environment(settings, wanted))
        if volume.volume_of(model, self._database.name) != wanted:
            raise SettingError(
                f"The Compose file does not let settings choose {wanted}.",
                f"Write for service {self._database.name}: "
                f"image: ${{{settings.image or 'POSTGRES_IMAGE'}:-{wanted.image}}}, "
                f"${{{settings.mount or 'POSTGRES_MOUNT'}:-{wanted.mount}}} and, for its volume, "
                f"name: ${{{settings.name or 'POSTGRES_VOLUME'}:-{wanted.name}}}",
            )

    def _check_unused(self, name: str) -> None:
        """Raise :class:`RefusedError` while a container uses the volume: two servers ruin data."""
        listing = ["docker", "ps", "--quiet", "--filter", f"volume={name}"]
        ids = output("docker ps", self._gateway.ask(listing), NOTE).split()
        # On a busy machine, `docker ps` lists a container for a moment after its end.
        running = "{{if .State.Running}}{{slice .Name 1}}{{end}}"
        # The answer for a container that is gone by then is an error, beside the names.
        inspect = ["docker", "inspect", "--format", running, *ids]
        if users := ids and self._gateway.ask(inspect).out.split():
            problem = f"Volume {name} is in use by {', '.join(users)}."
            raise RefusedError(problem, f"Stop the container: docker stop {users[0]}")


def _environment(settings: DataVolume, values: DataVolume) -> dict[str, str]:
    return {name: value for name, value in zip(settings, values, strict=True) if name}


def _copy_database(old: Psql, new: Psql, name: str) -> None:
    """Copy a database from server to server, with the owner, rights and settings."""
    aside = "template1" if name == "postgres" else "postgres"
    copy(
        *(old, name, new, aside, f"Copying {name}"),
        empty=lambda: new.sql(drop_database(name), aside),
        of_restore=["--create"],
    )
