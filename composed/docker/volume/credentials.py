"""The credentials of the settings, compared with the credentials in the volume."""

import contextlib
import json
from collections.abc import Mapping
from typing import Literal, NamedTuple, Self, TypeAlias

from composed.data.psql import Psql
from composed.database import identifier, literal
from composed.docker.compose import Compose
from composed.docker.model import setting_of
from composed.errors import ComposedError, SettingError
from composed.gateway import Answer

Variable: TypeAlias = Literal["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"]
VARIABLES: tuple[Variable, ...] = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")

# A superuser that exists while the superuser of the volume is renamed: no role renames itself.
HELPER = "composed_credentials"

# In JSON, for a name may hold any character.
NAMES = "SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database"
DATABASES = f"{NAMES} WHERE NOT datistemplate;"
TESTS = f"{NAMES} WHERE datname ^@ {{prefix}};"

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
    """The credentials for the database image and Django."""

    user: str
    password: str
    database: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the credentials that the database image takes from these variables.

        The defaults are of the image: https://hub.docker.com/_/postgres
        """
        user = environment.get("POSTGRES_USER") or "postgres"
        password = environment.get("POSTGRES_PASSWORD", "")
        return cls(user, password, environment.get("POSTGRES_DB") or user)


class Misfit(NamedTuple):
    """The credential that does not fit the volume, and the databases in the volume if known."""

    variable: Variable
    databases: tuple[str, ...] = ()

    @property
    def only_database(self) -> str:
        """The database that holds the project's data; "" if several databases could."""
        own = [n for n in self.databases if n != "postgres" and not n.startswith("test_")]
        return own[0] if len(own) == 1 else ""


class Server:
    """The server in the database container, and the credentials ``wanted`` by the settings.

    In the container, the socket and 127.0.0.1 let every user in (``trust``): only a login by
    the name of the service, the way of Django, tries the password.
    """

    def __init__(self, dc: Compose, service: str, wanted: Credentials) -> None:
        self._dc, self._service, self.wanted = dc, service, wanted

    @property
    def settings(self) -> dict[str, str]:
        """The setting of each variable in the Compose file; the variable's own name if none."""
        env = self._dc.written_model().service(self._service).environment
        return {name: setting_of(env.get(name, "")) or name for name in VARIABLES}

    def misfit(self) -> Misfit | None:
        """Return the first misfit; None when all fit or the server gives no answer."""
        login = self._login()
        if login.code == 0:
            return None
        answer = self._ask(DATABASES)
        if answer.code:
            return Misfit("POSTGRES_USER") if "does not exist" in answer.err else None
        names = tuple(json.loads(answer.out))
        if self.wanted.database not in names:
            return Misfit("POSTGRES_DB", names)
        is_refused = "authentication failed" in login.err
        return Misfit("POSTGRES_PASSWORD", names) if is_refused else None

    def refusal(self, misfit: Misfit, volume: str, before: Mapping[str, str]) -> SettingError:
        """Return the error with all cures; ``before`` are variables that fitted the volume."""
        settings, (user, _, database) = self.settings, self.wanted
        setting = settings[misfit.variable]
        problem, needed = {
            "POSTGRES_USER": (f"{user!r}: there is no such user", ("POSTGRES_USER", "POSTGRES_DB")),
            "POSTGRES_PASSWORD": (f"not the password of {user}", ()),
            "POSTGRES_DB": (f"{database!r}: there is no such database", ("POSTGRES_DB",)),
        }[misfit.variable]
        old = {"POSTGRES_DB": misfit.only_database} | {n: v for n, v in before.items() if v}
        again = "".join(f"{settings[name]}={old.get(name) or '…'} " for name in needed)
        return SettingError(
            f"{setting} is {problem} in volume {volume}.",
            f"Write the old value into .env: {setting}={old.get(misfit.variable) or '…'}",
            "Or change the volume to the value in .env: inv db.credentials",
            "Or make a new volume and bring the data back: "
            f"{again}inv down --volumes && inv up && inv db.restore --latest",
        )

    def test_databases(self) -> list[str]:
        """Return the databases that test runs of Django left."""
        answer = self._ask(TESTS.format(prefix=literal(f"test_{self.wanted.database}")))
        return list(json.loads(answer.out)) if answer.code == 0 else []

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
        old = user = helper.sql("SELECT rolname FROM pg_roles WHERE oid = 10;").strip()
        try:
            helper.sql(f"ALTER ROLE {identifier(old)} RENAME TO {identifier(self.wanted.user)};")
            user = self.wanted.user
        finally:
            with contextlib.suppress(ComposedError):  # a helper without password, for the next run
                self._psql(user).sql(f"DROP ROLE IF EXISTS {HELPER};")
        return old

    def _login(self) -> Answer:
        """Log in as Django does; the password goes through the environment alone."""
        login = ("--host", self._service, "--username", self.wanted.user, "--no-password")
        database = ("--dbname", self.wanted.database, "--command", "SELECT 1")
        psql = (self._service, "psql", "--no-psqlrc", *login, *database)
        argv = self._dc.argv("exec", "--no-TTY", "--env", "PGPASSWORD", *psql)
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
