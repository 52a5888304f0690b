"""Docker mode: the stack as Compose runs it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from composed.calls import Calls, alone
from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.leftovers import LABEL, MARK, clean_up
from composed.docker.owned import Owned
from composed.docker.services import parse_ps
from composed.env.settings import Settings
from composed.errors import ComposedError, Interrupted, NotFoundError, end_with
from composed.findings import Finding, any_wrong
from composed.process import Answer, Gateway
from composed.project import Project
from composed.stack import Service, Stack, UpOptions, service_rows
from composed.terminal import is_plain, plain_environment

if TYPE_CHECKING:  # few verbs need them
    from composed.data.postgres import PostgreSQL
    from composed.docker.volume.check import Fit
    from composed.docker.volume.credentials import Server

__all__ = ["DockerStack"]

ERASE_LINE = "\x1b[2K"  # Compose 2.26 writes it before every log line, for a terminal or not


class DockerStack(Stack):
    """Says in Compose's words what the verbs ask for."""

    mode = "docker"
    database_engine = "postgresql"

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        super().__init__(project, settings, gateway)
        keys = {project.backend: "backend", project.database: "database"}
        self.dc = Compose(gateway, settings.files, keys)
        self._calls = Calls(self.folder / "calls")
        self._swaps = Calls(self.folder / "swaps")
        self._upgrades = Calls(self.folder / "upgrades")
        self._database_runs = False  # as far as this verb has seen

    def clean_up(self) -> None:
        """Remove the containers, processes and databases of verbs that were killed."""
        clean_up(self.dc, self._calls)
        for call in self._swaps.abandoned():
            with contextlib.suppress(ComposedError):  # it does not run: later
                self._postgresql("heal").heal(call)
                self._swaps.forget(call)
        for call, name in self._upgrades.abandoned().items():
            if self._is_ours_now(name) or self._remove_volume(name):
                self._upgrades.forget(call)

    def _is_ours_now(self, volume: str) -> bool:
        """Say whether an upgrade got as far as to write its volume into the env file."""
        now = self._fit(self.dc.model()).volume
        return now is not None and now.name == volume

    def _remove_volume(self, name: str) -> bool:
        """Remove it where it was made; say whether it is gone for sure: the engine may be down."""
        self.gateway.ask(["docker", "volume", "rm", name])
        left = self.gateway.ask(["docker", "volume", "ls", "--quiet"])
        return left.code == 0 and name not in left.out.split()

    # --- lifecycle -----------------------------------------------------------

    def up(self, options: UpOptions) -> list[Service]:
        """Start with ``docker compose up --detach``, ports checked first, then wait."""
        return self._up(options)

    def restart(self, options: UpOptions) -> list[Service]:
        """Recreate the containers: ``docker compose restart`` would keep the old settings."""
        return self._up(options, "--force-recreate")

    def down(self, *, volumes: bool = False) -> int:
        """Remove containers and network, one-off containers too; data with ``volumes``."""
        if volumes:
            Owned(self.dc, self.name).check_volumes()
        with self._alone(), self._stopping():
            return self.dc.run("down", "--remove-orphans", *_flag("--volumes", volumes))

    def destroy(self) -> int:
        """Remove what Compose knows of, then what else bears the project's label."""
        owned = Owned(self.dc, self.name)
        owned.check_volumes()
        with self._alone(), self._stopping():
            code = self.dc.run("down", "--remove-orphans", "--volumes", "--rmi", "local")
            return code or owned.remove()

    def has_data(self) -> bool:
        """Look for the volume that the database is on."""
        return Owned(self.dc, self.name).has_volume(self.project.database)

    def holdings(self) -> list[str]:
        """Name the volumes: that of an upgrade leaves the old one beside it."""
        return Owned(self.dc, self.name).volumes()

    @contextlib.contextmanager
    def database(self) -> Iterator[PostgreSQL]:
        """Give PostgreSQL; when the block raises, what runs for it inside is ended."""
        if self.gateway.dry:
            yield self._postgresql("dry")
            return
        self._start_database()
        try:
            with self._calls.under_way(self.project.database, keep_failed=True) as call:
                yield self._postgresql(call)
        except BaseException:
            self.clean_up()
            raise

    def _postgresql(self, call: str) -> PostgreSQL:
        from composed.data.postgres import PostgreSQL  # noqa: PLC0415

        mark = ("exec", "--no-TTY", "--env", f"{MARK}={call}", self.project.database)
        return PostgreSQL(
            self.gateway,
            lambda *argv: self.dc.argv(*mark, *argv),
            self.settings[self.project.database_user],
            self.settings[self.project.database_name],
            self._swaps,
        )

    # --- what the volume and the settings have in common ----------------------

    def _fit(self, model: Mapping[str, Any]) -> Fit:
        from composed.docker.volume.check import Fit  # noqa: PLC0415  # few verbs need it

        return Fit(self.dc, model, self.project.database, self.folder / "volume.json")

    def _check_fit(self, model: Mapping[str, Any], services: Sequence[str]) -> None:
        """Raise :class:`SettingError` before a container starts that cannot work.

        With credentials that are new to the volume, the database starts alone first.
        """
        database = self.project.database
        if self.gateway.dry or (fit := self._fit(model)).is_known:
            return
        exists = fit.check_volume()
        if list(services) == [database]:  # for its own programs, which need no password
            return
        if exists and self.dc.run("up", "--detach", "--wait", database):
            return  # starting it all says why
        if exists:
            fit.check_credentials()
        fit.remember()

    def change_credentials(self) -> list[str]:
        """Change what the volume has; return what was done."""
        from composed.docker.volume.credentials import change  # noqa: PLC0415

        server = self._fit(self.dc.model()).server
        if self.gateway.dry or server is None:
            return []
        self._start_database()
        return change(server, lambda: self._rename_user(server))

    def _rename_user(self, server: Server) -> str:
        with self._alone():
            end_with(self.dc.run("stop", self.project.database))
            self._database_runs = False
            with self._calls.under_way(keep_failed=True) as call:
                one_off = ("run", "--rm", "--no-deps", "--no-TTY", "--label", f"{LABEL}={call}")
                single = (self.project.database, "postgres", "--single", "postgres")
                server.add_helper(self.dc.argv(*one_off, *single))
        self._start_database()
        return server.rename_user()

    def upgrade(self, old_image: str = "") -> list[str]:
        """Copy into a new volume and name that in the env file; return what was done."""
        from composed.docker.volume import upgrade  # noqa: PLC0415

        fit, service = self._fit(self.dc.model()), self.project.database
        if self.gateway.dry or fit.wanted is None:
            return []
        with self._alone():
            todo = upgrade.plan(self.dc, fit, self.settings, service, old_image)
            if todo is None:
                return []
            end_with(self.dc.run("stop"))
            try:
                with (
                    self._upgrades.under_way(todo.new.name, keep_failed=True),
                    self._calls.under_way(keep_failed=True) as call,
                ):
                    upgrade.run(self.dc, service, fit.wanted, todo, call)
                    upgrade.switch(self.settings, todo)
            except BaseException:
                self.clean_up()
                raise
        return todo.lines

    def ps(self) -> list[Service]:
        """Ask ``docker compose ps``."""
        return parse_ps(
            self.dc.ask("ps", "--all", "--orphans=false", "--format", "json"), self.project.backend
        )

    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        """Show ``docker compose logs``."""
        options = [*_flag("--follow", follow), *_value("--tail", tail), *_value("--since", since)]
        self.dc.check(services)  # Compose ends with 0 and shows nothing for a service unknown
        plain = is_plain() or not sys.stdout.isatty()
        return self.dc.run(
            "logs", *options, *services, without=ERASE_LINE.encode() if plain else b""
        )

    def findings(self) -> list[Finding]:
        """Return how the engine, the ports, the images and the services are."""
        from composed.docker.images import recipe, stale_rows  # noqa: PLC0415
        from composed.ports.choice import findings as port_rows  # noqa: PLC0415
        from composed.ports.published import published  # noqa: PLC0415

        rows = engine.findings(self.gateway)
        if any_wrong(rows):
            return rows
        model, services = self.dc.model(), self.ps()
        ours = {at for service in services for at in service.ports.values()}
        ports = port_rows(self.gateway, published(model), ours)
        images = stale_rows(self.gateway, recipe(model))
        running = any(s.service == self.project.database and s.ready for s in services)
        data = self._fit(model).findings(running=running)
        return [*rows, *ports, *images, *data, *service_rows(services)]

    def evidence(self) -> dict[str, str]:
        """Return logs, state, health and configuration; what fails is told in its place."""
        ids = self.gateway.ask(self.dc.argv("ps", "--all", "--quiet")).out.split()
        state = "{{.Name}} {{json .State}}"
        wanted = {
            "logs.txt": self.dc.argv("logs", "--no-color", "--timestamps", "--tail", "2000"),
            "ps.txt": self.dc.argv("ps", "--all"),
            "health.txt": ["docker", "inspect", "--format", state, *ids],
            "config.yml": self.dc.argv("config", "--no-interpolate"),
            "engine.txt": ["docker", "version"],
            "compose.txt": ["docker", "compose", "version"],
        }
        answers = {name: self.gateway.ask(argv) for name, argv in wanted.items()}
        return {name: answer.out + answer.err for name, answer in answers.items()}

    def secrets(self) -> list[str]:
        """Return those that the containers are told: Compose reads an env file in its own way."""
        from composed.redaction import is_secret  # noqa: PLC0415  # only a bundle needs it

        with contextlib.suppress(ComposedError):
            services = (self.dc.model().get("services") or {}).values()
            told = [pair for s in services for pair in (s.get("environment") or {}).items()]
            named = {*self.project.secrets}
            # What `config` writes could be read again: a $ is doubled.
            found = [v for name, v in told if v and (name in named or is_secret(name))]
            return [*found, *(value.replace("$$", "$") for value in found)]
        return []

    def build(self, *, pull: bool, no_cache: bool) -> int:
        """Build the images."""
        from composed.docker.images import recipe  # noqa: PLC0415  # few verbs need it

        options = [*_flag("--pull", pull), *_flag("--no-cache", no_cache)]
        return self.dc.run("build", *options, env=recipe(self.dc.model()).label)

    def _up(self, options: UpOptions, *extra: str) -> list[Service]:
        from composed.docker.start import Start  # noqa: PLC0415  # `inv ps` needs none

        start = Start(self, self.dc, options)
        with self._alone():
            self._finish_stopping()
            with self._stopping() if "--force-recreate" in extra else contextlib.nullcontext():
                code = start.run(self._check_fit, *extra)
            self._open_database()
        if code:
            raise start.why(code)
        if options.migrate:  # while the backend loads
            options.migrate()
        return start.wait()

    def _open_database(self) -> None:
        """Heal now, before ``backend`` is waited for, what a restore left closed."""
        if not self.gateway.dry:
            self.clean_up()

    def _finish_stopping(self) -> None:
        """Wait for what an interrupted ``inv`` was stopping: Compose would take it to run."""
        if self.stop_mark.exists() and not self.gateway.dry:
            end_with(self.dc.run("stop"))
            self.stop_mark.unlink()

    # --- commands inside -----------------------------------------------------

    def manage(
        self, *args: str, writes_source: bool = False, env: Mapping[str, str] | None = None
    ) -> int:
        """Run in a container of its own: a killed ``exec`` would go on inside ``backend``."""
        if self._start_database():
            self._check_fit(self.dc.model(), ())
        inside = plain_environment() | dict(env or {})
        with self._call() as call:
            return self.dc.run(
                *("run", "--rm", "--no-deps", *_no_tty(), "--label", f"{LABEL}={call}"),
                *(self._as_owner() if writes_source else ()),
                *(part for name in inside for part in ("--env", name)),
                *(self.project.backend, *self.project.manage, *args),
                env=inside,
                services=[self.project.backend],
            )

    def ask_manage(
        self, *args: str, beside: bool = False, env: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask with ``exec`` in the running ``backend``, else in a container of its own."""
        words = (self.project.backend, *self.project.manage, *args)
        if not beside:
            answer = self.gateway.ask(self.dc.argv("exec", "--no-TTY", *words))
            if answer.code == 0 or self.project.backend in self.dc.running():
                return answer
        told = (part for name in env or {} for part in ("--env", name))
        with self._call() as call:
            one_off = ("run", "--rm", "--no-deps", "--no-TTY", "--label", f"{LABEL}={call}")
            return self.gateway.ask(self.dc.argv(*one_off, *told, *words), env=env)

    def pointed_at(self, place: str) -> dict[str, str]:
        """Name the database as the Compose file's ``${…}`` does."""
        return {self.project.database_name: place}

    def current_url(self) -> str:
        """Look whether the container was made from the image as it is now."""
        backend = next((service for service in self.ps() if service.url), None)
        if not backend:
            return ""
        made = ["docker", "inspect", "--format", "{{.Image}} {{.Config.Image}}", backend.container]
        used, *name = self.gateway.ask(made).out.split() or [""]
        now = ["docker", "image", "inspect", "--format", "{{.Id}}", *name]
        return backend.url if [used] == self.gateway.ask(now).out.split() else ""

    def shell(self, service: str, argv: Sequence[str]) -> int:
        """Run ``docker compose exec``, marked so that a killed one can be found."""
        with self._call(service) as call:
            inside = {MARK: call} | plain_environment()
            told = (part for name, value in inside.items() for part in ("--env", f"{name}={value}"))
            code = self.dc.run("exec", *_no_tty(), *told, service, *argv, services=[service])
        if code and service not in self.dc.running():
            raise NotFoundError(f"{service} is not running.", "Type: inv up")
        return code

    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        """Run psql in the database's own container; a script stops at its first error."""
        user = self.settings[self.project.database_user]
        database = self.settings[self.project.database_name]
        typed = sys.stdin.isatty() and not command
        stop = () if typed else ("--set", "ON_ERROR_STOP=1")
        login = ("--username", user, "--dbname", database)
        psql = ["psql", *login, *stop, *_value("--command", command), *args]
        return self.shell(self.project.database, psql)

    def compose(self, args: Sequence[str]) -> int:
        """Run ``docker compose`` with our env files and project."""
        return self.dc.run(*args, insist=False)  # twice is an order to kill, for `up`

    def _start_database(self) -> bool:
        """Say whether it had to be started; a verb that needs it twice asks once."""
        if self.gateway.dry or self._database_runs:
            return False
        database = self.project.database
        starts = not any(s.service == database and s.ready for s in self.ps())
        if starts:
            self._up(UpOptions(services=[database]))
        self._database_runs = True
        return starts

    def _as_owner(self) -> list[str]:
        """Name the tree's owner where ``backend`` itself runs as somebody else.

        With ``APP_UID`` that is root's tree alone: there `backend` runs as 1000.
        On a rootless engine the container's 0 is the caller. Without ``APP_UID``
        nobody knows who `backend` runs as.
        """
        owner, app = self.project.owner, self.settings.values.get("APP_UID")
        if app == "0" or (app and owner.st_uid):
            return []
        if not app and engine.is_rootless(self.gateway):
            return ["--user", "0:0"]
        return ["--user", f"{owner.st_uid}:{owner.st_gid}"]

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.gateway.dry else alone(self.folder / "lock")

    def _stopping(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.gateway.dry else self.stopping()

    @contextlib.contextmanager
    def _call(self, service: str = "") -> Iterator[str]:
        """Name a call; what an interrupted one may have left inside ends before we do."""
        if self.gateway.dry:
            yield "dry"
            return
        try:
            with self._calls.under_way(service) as call:
                yield call
        except Interrupted:
            self.clean_up()
            raise


def _flag(name: str, wanted: bool) -> list[str]:
    return [name] if wanted else []


def _value(name: str, value: str) -> list[str]:
    return [name, value] if value else []


def _no_tty() -> list[str]:
    """Ask for no terminal unless stdin and stdout both are one: a pipe would get its codes."""
    return [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--no-TTY"]
