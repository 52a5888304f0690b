"""The user, password and database of the settings, held against those in the volume."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from composed.data.postgres import identifier, literal
from composed.docker.compose import Compose
from composed.errors import ComposedError, InputOutputError, SettingError
from composed.process import Answer

__all__ = ["Credentials", "Misfit", "Server", "change", "credentials_of", "refusal", "settings_of"]

Wrong: TypeAlias = Literal["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"]
WRONG: tuple[Wrong, ...] = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")

# Nobody else's: it exists while the superuser is renamed, which it cannot be by itself.
HELPER = "composed_credentials"

DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1;"
TESTS = "SELECT datname FROM pg_database WHERE datname ^@ {prefix} ORDER BY 1;"

# What is logged by the settings of a server must not hold the password.
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
    """What the database's image is told, and Django with it."""

    user: str
    password: str
    database: str


class Misfit(NamedTuple):
    """The setting that does not fit the volume, and the databases there, where it tells them."""

    setting: Wrong
    databases: tuple[str, ...] = ()


def credentials_of(model: Mapping[str, Any], service: str) -> Credentials | None:
    """Return those of the service in a Compose model; None where it gets no password so."""
    about = (model.get("services") or {}).get(service) or {}
    given = about.get("environment") or {}
    # `docker compose config` doubles each $, so that what it prints could be read again.
    env = {name: (value or "").replace("$$", "$") for name, value in given.items()}
    user = env.get("POSTGRES_USER") or "postgres"
    password = env.get("POSTGRES_PASSWORD")
    return Credentials(user, password, env.get("POSTGRES_DB") or user) if password else None


class Server:
    """The server that runs in the database's container.

    There the socket and 127.0.0.1 let anybody in (``trust``): what a password is
    worth shows on the way that Django takes, by the service's name.
    """

    def __init__(self, dc: Compose, service: str, wanted: Credentials) -> None:
        self._dc, self._service, self.wanted = dc, service, wanted

    @property
    def settings(self) -> dict[str, str]:
        """The settings that the image's three variables come from, by variable."""
        return settings_of(self._dc.model("--no-interpolate"), self._service)

    def misfit(self) -> Misfit | None:
        """Return what does not fit; None when all does, or when nobody can tell."""
        asked = self._login()
        if asked.code == 0:
            return None
        told = self._dc.gateway.ask(self._psql(self.wanted.user, "--command", DATABASES))
        if told.code:
            return Misfit("POSTGRES_USER") if "does not exist" in told.err else None
        names = tuple(told.out.splitlines())
        if self.wanted.database not in names:
            return Misfit("POSTGRES_DB", names)
        is_refused = "authentication failed" in asked.err
        return Misfit("POSTGRES_PASSWORD", names) if is_refused else None

    def test_databases(self) -> list[str]:
        """Return the databases that test runs of Django made and left."""
        script = TESTS.format(prefix=literal(f"test_{self.wanted.database}"))
        asked = self._dc.gateway.ask(self._psql(self.wanted.user, "--command", script))
        return asked.out.splitlines() if asked.code == 0 else []

    # --- change --------------------------------------------------------------

    def set_password(self) -> None:
        """Give the role the password of the settings."""
        user, password = identifier(self.wanted.user), literal(self.wanted.password)
        self._sql(self.wanted.user, ALTER_ROLE.format(user=user, password=password))

    def rename_database(self, old: str) -> None:
        """Give a database the name of the settings; whoever uses it is sent away."""
        names = {"old": identifier(old), "new": identifier(self.wanted.database)}
        try:
            self._sql(self.wanted.user, RENAME_DATABASE.format(**names, old_text=literal(old)))
        except BaseException:
            with contextlib.suppress(ComposedError):
                self._sql(self.wanted.user, REOPEN.format(**names))
            raise

    def add_helper(self, single: list[str]) -> None:
        """Make another superuser, with ``postgres --single``: while nobody's name is known.

        ``single`` starts it; no server may run on the volume then.
        """
        script = f"DROP ROLE IF EXISTS {HELPER}\nCREATE ROLE {HELPER} SUPERUSER LOGIN\n"
        self._feed(single, script)

    def rename_user(self) -> str:
        """Give the first superuser (oid 10) the name of the settings; return its old one."""
        old = self._sql(HELPER, "SELECT rolname FROM pg_roles WHERE oid = 10;").strip()
        with self._without_helper(old):
            rename = f"ALTER ROLE {identifier(old)} RENAME TO {identifier(self.wanted.user)};"
            self._sql(HELPER, rename)
        return old

    @contextlib.contextmanager
    def _without_helper(self, old: str) -> Iterator[None]:
        """Drop the helper afterwards: by the new name, or by the old one when that failed."""
        by = old
        try:
            yield
            by = self.wanted.user
        finally:
            with contextlib.suppress(ComposedError):  # it has no password, and goes next time
                self._sql(by, f"DROP ROLE IF EXISTS {HELPER};")

    # --- programs ------------------------------------------------------------

    def _login(self) -> Answer:
        """Try what Django does; the password goes through the environment alone."""
        exec_ = ("exec", "--no-TTY", "--env", "PGPASSWORD", self._service)
        login = ("--host", self._service, "--username", self.wanted.user, "--no-password")
        database = ("--dbname", self.wanted.database, "--command", "SELECT 1")
        argv = self._dc.argv(*exec_, "psql", "--no-psqlrc", *login, *database)
        return self._dc.gateway.ask(argv, env={"PGPASSWORD": self.wanted.password})

    def _psql(self, user: str, *args: str) -> list[str]:
        plain = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
        login = ("--username", user, "--no-password", "--dbname", "postgres")
        psql = ("psql", *plain, "--set", "ON_ERROR_STOP=1", *login)
        return self._dc.argv("exec", "--no-TTY", self._service, *psql, *args)

    def _sql(self, user: str, script: str) -> str:
        return self._feed(self._psql(user), script).out

    def _feed(self, argv: list[str], script: str) -> Answer:
        with self._dc.gateway.pipe(argv) as pipe:
            with contextlib.suppress(BrokenPipeError):  # it says why when it ends
                pipe.stdin.write(script.encode())
            answer = pipe.end()
        if answer.code:
            reason = answer.err.replace(self.wanted.password, "[secret]").strip()
            raise InputOutputError("The volume's roles could not be changed:", reason)
        return answer


def change(server: Server, rename_user: Callable[[], str]) -> list[str]:
    """Make the volume fit the settings; return what was done, a line each.

    ``rename_user`` gives the superuser its new name and returns the old one.
    Raises a :class:`~composed.errors.ComposedError` when nobody can tell what to change.
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


def settings_of(raw: Mapping[str, Any], service: str) -> dict[str, str]:
    """Return the settings that the image's three variables come from, in a model as written."""
    about = (raw.get("services") or {}).get(service) or {}
    env = about.get("environment") or {}
    found = {name: re.match(r"\$\{?([A-Za-z_]\w*)", env.get(name) or "") for name in WRONG}
    return {name: match[1] if match else name for name, match in found.items()}


def refusal(
    misfit: Misfit,
    wanted: Credentials,
    volume: str,
    was: Mapping[str, str],
    settings: Mapping[str, str],
) -> SettingError:
    """Return what does not fit, then all ways out.

    ``was`` are names that fitted before; ``settings`` are what the three are called.
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
    """Return what a snapshot of the old data has to be told; "…" is what is not known."""
    if misfit.setting == "POSTGRES_PASSWORD":
        return {}
    if misfit.setting == "POSTGRES_DB":
        only = own_databases(misfit.databases)
        return {"POSTGRES_DB": was.get("POSTGRES_DB") or (only[0] if len(only) == 1 else "…")}
    return {name: was.get(name) or "…" for name in ("POSTGRES_USER", "POSTGRES_DB")}


def own_databases(names: tuple[str, ...]) -> list[str]:
    """Return those that a project may have its data in."""
    return [name for name in names if name != "postgres" and not name.startswith("test_")]
