"""The credentials of the settings, compared with the credentials in the volume."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from composed.data.psql import Psql
from composed.database import identifier, literal
from composed.docker.compose import Compose
from composed.docker.model import Model, setting_of
from composed.errors import ComposedError, InputOutputError, SettingError
from composed.gateway import Answer

__all__ = ["Credentials", "Misfit", "Server", "change", "credentials_of", "refusal"]

Wrong: TypeAlias = Literal["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"]
WRONG: tuple[Wrong, ...] = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")

# A superuser for the time in which the superuser of the volume is renamed: no role renames itself.
HELPER = "composed_credentials"

DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1;"
TESTS = "SELECT datname FROM pg_database WHERE datname ^@ {prefix} ORDER BY 1;"

# A server may log statements: no log may hold the password.
ALTER_ROLE = """\
BEGIN;
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';
ALTER ROLE {user} WITH LOGIN PASSWORD {password};
COMMIT;
"""

RENAME_DATABASE = """\
ALTER DATABASE {old} WITH ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {old_text};
ALTER DATABASE {old} RENAME TO {new};
ALTER DATABASE {new} WITH ALLOW_CONNECTIONS true;
"""
REOPEN = "ALTER DATABASE {old} WITH ALLOW_CONNECTIONS true;"


class Credentials(NamedTuple):
    """The settings that the image of the database and Django get."""

    user: str
    password: str
    database: str


class Misfit(NamedTuple):
    """The setting that does not fit the volume, and the databases in the volume if known."""

    setting: Wrong
    databases: tuple[str, ...] = ()


def credentials_of(model: Model, service: str) -> Credentials | None:
    """Return the credentials of the service; None where the model gives no password."""
    env = model.service(service).environment
    user = env.get("POSTGRES_USER") or "postgres"
    password = env.get("POSTGRES_PASSWORD")
    return Credentials(user, password, env.get("POSTGRES_DB") or user) if password else None


class Server:
    """The server in the database container.

    In the container, the socket and 127.0.0.1 let every user in (``trust``): only a login by
    the name of the service, the way of Django, tries the password.
    """

    def __init__(self, dc: Compose, service: str, wanted: Credentials) -> None:
        self._dc, self._service, self.wanted = dc, service, wanted

    @property
    def settings(self) -> dict[str, str]:
        """The setting of each credential in the Compose file; the credential's own name if none."""
        env = self._dc.written_model().service(self._service).environment
        return {name: setting_of(env.get(name, "")) or name for name in WRONG}

    def misfit(self) -> Misfit | None:
        """Return the first setting that does not fit; None when all fit or the server is mute."""
        login = self._login()
        if login.code == 0:
            return None
        answer = self._ask(DATABASES)
        if answer.code:
            return Misfit("POSTGRES_USER") if "does not exist" in answer.err else None
        names = tuple(answer.out.splitlines())
        if self.wanted.database not in names:
            return Misfit("POSTGRES_DB", names)
        is_refused = "authentication failed" in login.err
        return Misfit("POSTGRES_PASSWORD", names) if is_refused else None

    def test_databases(self) -> list[str]:
        """Return the databases that test runs of Django left."""
        answer = self._ask(TESTS.format(prefix=literal(f"test_{self.wanted.database}")))
        return answer.out.splitlines() if answer.code == 0 else []

    # --- change --------------------------------------------------------------

    def set_password(self) -> None:
        """Give the role the password of the settings."""
        user, password = identifier(self.wanted.user), literal(self.wanted.password)
        self._psql(self.wanted.user).sql(ALTER_ROLE.format(user=user, password=password))

    def rename_database(self, old: str) -> None:
        """Give a database the name of the settings; the connections to the database end."""
        names = {"old": identifier(old), "new": identifier(self.wanted.database)}
        psql = self._psql(self.wanted.user)
        try:
            psql.sql(RENAME_DATABASE.format(**names, old_text=literal(old)))
        except BaseException:
            with contextlib.suppress(ComposedError):
                psql.sql(REOPEN.format(**names))
            raise

    def add_helper(self, single: list[str]) -> None:
        """Make another superuser, since the name of the superuser is not known.

        ``single`` is a command of ``postgres --single``; the caller must have stopped the server.
        """
        script = f"DROP ROLE IF EXISTS {HELPER}\nCREATE ROLE {HELPER} SUPERUSER LOGIN\n"
        psql = self._psql(HELPER)
        psql.checked("postgres", psql.feed(single, [script.encode()]))

    def rename_user(self) -> str:
        """Give the first superuser (oid 10) the name of the settings; return the old name."""
        helper = self._psql(HELPER)
        old = helper.sql("SELECT rolname FROM pg_roles WHERE oid = 10;").strip()
        with self._without_helper(old):
            helper.sql(f"ALTER ROLE {identifier(old)} RENAME TO {identifier(self.wanted.user)};")
        return old

    @contextlib.contextmanager
    def _without_helper(self, old: str) -> Iterator[None]:
        """Drop the helper afterwards: as the new user, or as the old user when the block raised."""
        user = old
        try:
            yield
            user = self.wanted.user
        finally:
            with contextlib.suppress(ComposedError):  # a helper without password, for the next run
                self._psql(user).sql(f"DROP ROLE IF EXISTS {HELPER};")

    # --- programs ------------------------------------------------------------

    def _login(self) -> Answer:
        """Log in as Django does; the password goes through the environment alone."""
        exec_ = ("exec", "--no-TTY", "--env", "PGPASSWORD", self._service)
        login = ("--host", self._service, "--username", self.wanted.user, "--no-password")
        database = ("--dbname", self.wanted.database, "--command", "SELECT 1")
        argv = self._dc.argv(*exec_, "psql", "--no-psqlrc", *login, *database)
        return self._dc.gateway.ask(argv, env={"PGPASSWORD": self.wanted.password})

    def _ask(self, query: str) -> Answer:
        command = self._psql(self.wanted.user).command("postgres", "--command", query)
        return self._dc.gateway.ask(command)

    def _psql(self, user: str) -> Psql:
        return Psql(
            self._dc.gateway,
            lambda *argv: self._dc.argv("exec", "--no-TTY", self._service, *argv),
            user,
            note="the volume does not fit .env yet",
            secret=self.wanted.password,
        )


def change(server: Server, rename_user: Callable[[], str]) -> list[str]:
    """Make the volume fit the settings; return a line on each change.

    ``rename_user`` renames the superuser and returns the old name. Raises
    :class:`SettingError` when several databases could be meant,
    :class:`InputOutputError` when a change fails or does not help.
    """
    done: list[str] = []
    for _ in range(len(Credentials._fields)):
        if (misfit := server.misfit()) is None:
            return done
        if misfit.setting == "POSTGRES_USER":
            done.append(f"The user {rename_user()} is {server.wanted.user} now.")
        elif misfit.setting == "POSTGRES_DB":
            old = _only(misfit, server.wanted.database, server.settings[misfit.setting])
            server.rename_database(old)
            done.append(f"The database {old} is {server.wanted.database} now.")
        else:
            server.set_password()
            done.append(f"The password of {server.wanted.user} is the one in .env now.")
    if misfit := server.misfit():
        setting = server.settings[misfit.setting]
        raise InputOutputError(f"{setting} still does not fit.", "See: inv logs")
    return done


def _only(misfit: Misfit, wanted: str, setting: str) -> str:
    names = own_databases(misfit.databases)
    if len(names) == 1:
        return names[0]
    raise SettingError(
        f"{setting} is {wanted!r}: there is no such database, and which to rename is not clear.",
        f"There are: {', '.join(misfit.databases)}. Write one into .env: {setting}=…",
    )


def refusal(
    misfit: Misfit,
    wanted: Credentials,
    volume: str,
    was: Mapping[str, str],
    settings: Mapping[str, str],
) -> SettingError:
    """Return the error that names the misfit and all cures.

    ``was`` are the names that fitted before; ``settings`` are the project's own names of the
    three variables.
    """
    setting, old = settings[misfit.setting], _old_names(misfit, was)
    before = "".join(f"{settings[name]}={value} " for name, value in old.items())
    again = "inv down --volumes && inv up && inv db.restore --latest"
    return SettingError(
        _problem(misfit, wanted, volume, setting),
        f"Write the old one into .env: {setting}={old.get(misfit.setting, '…')}",
        "Or change the volume's to the one in .env: inv db.credentials",
        f"Or make the volume anew, and bring the data back: {before}{again}",
    )


def _problem(misfit: Misfit, wanted: Credentials, volume: str, setting: str) -> str:
    if misfit.setting == "POSTGRES_PASSWORD":
        return f"{setting} is not the one of {wanted.user} in volume {volume}."
    names = {"POSTGRES_USER": ("user", wanted.user), "POSTGRES_DB": ("database", wanted.database)}
    what, name = names[misfit.setting]
    return f"{setting} is {name!r}: there is no such {what} in volume {volume}."


def _old_names(misfit: Misfit, was: Mapping[str, str]) -> dict[str, str]:
    """Return the settings under which the old data is restored; an unknown value is "…"."""
    if misfit.setting == "POSTGRES_PASSWORD":
        return {}
    if misfit.setting == "POSTGRES_DB":
        only = own_databases(misfit.databases)
        return {"POSTGRES_DB": was.get("POSTGRES_DB") or (only[0] if len(only) == 1 else "…")}
    return {name: was.get(name) or "…" for name in ("POSTGRES_USER", "POSTGRES_DB")}


def own_databases(names: tuple[str, ...]) -> list[str]:
    """Return the databases that may hold the data of a project."""
    return [name for name in names if name != "postgres" and not name.startswith("test_")]
