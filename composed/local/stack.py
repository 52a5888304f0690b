"""Local mode: Gunicorn and SQLite as ordinary processes, for a machine without an engine."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from composed.calls import Calls, alone
from composed.env.settings import Settings, load_settings
from composed.errors import (
    EngineError,
    NotFoundError,
    PortTakenError,
    ValueWrongError,
)
from composed.findings import Finding
from composed.health.readiness import settled, status
from composed.health.waiting import SERVER_ENDED, Look, not_ready, of_now, wait
from composed.local.daemon import Daemon, Start
from composed.ports.holders import listeners
from composed.ports.published import Published, free_port, in_the_way
from composed.process import Answer, Gateway
from composed.project import Project
from composed.stack import Service, Stack, UpOptions, as_json, service_rows
from composed.terminal import plain_environment, say

if TYPE_CHECKING:  # few verbs need it
    from composed.data.sqlite import SQLite

__all__ = ["LocalStack"]

UNASKED = (
    "No Docker Engine is set up here: running Gunicorn and SQLite as ordinary processes. "
    "For PostgreSQL, install Docker (https://docs.docker.com/engine/install)."
)
HOST = "127.0.0.1"
LOG_LINES = 20
ELSEWHERE = "has lost its port to another"
STARTS = 5  # of a server whose port is taken again and again
# What local mode decides itself; the rest of the settings goes to the server as it is.
FIXED = re.compile(r"POSTGRES_.+|COMPOSED?_.+|APP_[UG]ID|PORT|DB_PORT")


class Log(NamedTuple):
    """Where in the log the words of this server begin, and those since we look."""

    ours: int
    new: int


class LocalStack(Stack):
    """One service, ``backend``; the database is the file ``SQLITE_PATH``."""

    mode = "local"
    database_engine = "sqlite"

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        super().__init__(project, settings, gateway)
        self._database = project.root / settings["SQLITE_PATH"]
        self._backend = Daemon(gateway, self.folder)
        self._swaps = Calls(self.folder / "swaps")

    def clean_up(self) -> None:
        """Remove the copy that a killed restore left; commands here end with their ``inv``."""
        self._backend.rotate()
        for call in self._swaps.abandoned():
            self._sqlite().heal()
            self._swaps.forget(call)

    # --- lifecycle -----------------------------------------------------------

    def up(self, options: UpOptions) -> list[Service]:
        """Start Gunicorn, with hot reload, unless it runs."""
        self._check(options.services)
        self._need_server()
        if self.settings["COMPOSED_MODE"] == "auto" and not self._backend.last():
            say(UNASKED)
        if options.migrate:
            options.migrate()
        if self.gateway.dry:
            return []
        with alone(self.folder / "lock"):
            if self.stop_mark.exists():  # by an `inv` that was interrupted
                self._stop()
            for _ in range(STARTS):
                running = self._running()
                before = self._backend.log_size()
                # What one that has ended said last is not the new one's.
                log = Log(0 if running else before, before)
                if self._wait(running or self._start(options), options.timeout, log):
                    return self.ps()
                self._backend.stop(seconds=0)  # another was quicker to take the port
        raise PortTakenError("Each port was taken by another at once.", "Type: inv up")

    def restart(self, options: UpOptions) -> list[Service]:
        """Stop, then start with the settings as they are now."""
        self._check(options.services)
        self.down()
        return self.up(options)

    def down(self, *, volumes: bool = False) -> int:
        """Let Gunicorn finish what it answers; ``volumes`` removes the database file."""
        if self.gateway.dry:
            return 0
        with alone(self.folder / "lock"):
            self._stop()
            for suffix in ("", "-wal", "-shm", "-journal", ".migrate.lock") if volumes else ():
                self._database.with_name(self._database.name + suffix).unlink(missing_ok=True)
        return 0

    def destroy(self) -> int:
        """Remove the database file: there is nothing else that is only the stack's."""
        return self.down(volumes=True)

    def has_data(self) -> bool:
        """Look for the file."""
        return self._database.exists()

    def holdings(self) -> list[str]:
        """Name the file."""
        return [str(self._database)] if self._database.exists() else []

    @contextlib.contextmanager
    def database(self) -> Iterator[SQLite]:
        """Give SQLite, which is never down."""
        if not self.gateway.dry:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        yield self._sqlite()

    def _sqlite(self) -> SQLite:
        from composed.data.sqlite import SQLite  # noqa: PLC0415

        return SQLite(self._database, self.folder / "restored.sqlite3", self._swaps)

    def ps(self) -> list[Service]:
        """Show what was started: running, or exited by itself."""
        start = self._backend.last()
        if not start:
            return []
        if not self._backend.running():
            return [Service(self.project.backend, "exited", age=_age(start))]
        health = "healthy" if _is_well(self._status(start)) else "unhealthy"
        ports = {start.port: f"{HOST}:{start.port}"}
        return [Service(self.project.backend, "running", health, _age(start), ports, _url(start))]

    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        """Show the log with ``tail``."""
        self._check(services)
        if since:
            raise ValueWrongError("--since needs Compose.", "Type: inv logs --tail 100")
        if not self._backend.log.exists():
            raise NotFoundError(f"{self.project.backend} has no log yet.", "Type: inv up")
        lines = tail if tail.isdecimal() else "+1"
        return self.gateway.run(
            ["tail", "-n", lines, *(["-f"] if follow else []), str(self._backend.log)]
        )

    def findings(self) -> list[Finding]:
        """Return how the server's environment, its port and the server itself are."""
        from composed.ports.choice import findings as port_rows  # noqa: PLC0415

        services = self.ps()
        port = int(self.settings[self.project.backend_port])
        ours = {at for service in services for at in service.ports.values()}
        wanted = [Published(self.project.backend, HOST, port)] if port else []
        return [
            Finding.of("server", self._server_problem(), f"Gunicorn of {sys.executable}"),
            *port_rows(self.gateway, wanted, ours),
            *service_rows(services),
        ]

    def evidence(self) -> dict[str, str]:
        """Return the end of the log and what ``ps`` shows."""
        text = self._backend.log.read_text(errors="replace") if self._backend.log.exists() else ""
        lines = text.splitlines(keepends=True)[-2000:]
        return {"logs.txt": "".join(lines), "ps.json": as_json(self, self.ps())}

    def build(self, *, pull: bool, no_cache: bool) -> int:
        """Do nothing: the source is what runs."""
        say("Local mode has no images: the source is what runs.")
        return 0

    # --- commands inside -----------------------------------------------------

    def manage(
        self, *args: str, writes_source: bool = False, env: Mapping[str, str] | None = None
    ) -> int:
        """Run ``manage.py`` with the Python that runs us."""
        self._need_server()
        if not self.gateway.dry:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        argv = [*_with_our_python(self.project.manage), *args]
        return self._run(argv, env)

    def ask_manage(
        self, *args: str, beside: bool = False, env: Mapping[str, str] | None = None
    ) -> Answer:
        """Run ``manage.py`` for its answer."""
        argv = [*_with_our_python(self.project.manage), *args]
        added = self._environment() | dict(env or {})
        return self.gateway.ask(argv, cwd=self.project.tree, env=added)

    def pointed_at(self, place: str) -> dict[str, str]:
        """Name the file as the settings do."""
        return {"SQLITE_PATH": place}

    def current_url(self) -> str:
        """Return where Gunicorn answers: it runs from the source."""
        return next((service.url for service in self.ps()), "")

    def shell(self, service: str, argv: Sequence[str]) -> int:
        """Run ``argv`` in the server's folder, with its settings."""
        self._check([service])
        return self._run([*_with_our_python(argv[:1]), *argv[1:]])

    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        """Open the SQLite file with the ``sqlite3`` command, or with Python's own."""
        if not self._database.exists():
            raise NotFoundError(f"There is no {self._database}.", "Type: inv migrate")
        client = ["sqlite3"] if shutil.which("sqlite3") else [sys.executable, "-m", "sqlite3"]
        if client[0] != "sqlite3" and sys.version_info < (3, 12):
            raise NotFoundError("There is no sqlite3 command here.", "Type: inv shell --django")
        question = [command] if command else []
        return self.gateway.run([*client, *args, str(self._database), *question])

    def change_credentials(self) -> list[str]:
        """Do nothing: SQLite has none."""
        return []

    def upgrade(self, old_image: str = "") -> list[str]:
        """Do nothing: every SQLite reads the file."""
        return []

    def compose(self, args: Sequence[str]) -> int:
        """Refuse: there is no Compose in local mode."""
        raise EngineError(
            "This stack runs without Docker: local mode.",
            "Change over: inv down, then COMPOSED_MODE=docker inv up",
        )

    # --- machinery -----------------------------------------------------------

    def _run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        added = self._environment() | plain_environment() | dict(env or {})
        return self.gateway.run(argv, cwd=self.project.tree, env=added)

    def _running(self) -> Start | None:
        """Return what runs; one from before the folder was moved has lost its files, and ends."""
        start = self._backend.running()
        if start and start.folder not in ("", str(self.folder)):
            self._stop()
            return None
        return start

    def _stop(self) -> None:
        with self.stopping():
            self._backend.stop(seconds=float(self.settings["GUNICORN_GRACEFUL_TIMEOUT"]) + 5)

    def _start(self, options: UpOptions) -> Start | None:
        self._backend.stop(seconds=0)  # what a killed start left
        self._database.parent.mkdir(parents=True, exist_ok=True)
        port = self._port(strict=options.strict_ports)
        self._backend.start(
            [*_with_our_python(self.project.serve), "--bind", f"{HOST}:{port}"],
            cwd=self.project.tree,
            env=self._environment(),
            port=port,
        )
        return self._backend.last()

    def _port(self, *, strict: bool) -> int:
        """Return the port of the settings, or the one that is chosen in its place."""
        name = self.project.backend_port
        port = int(load_settings(self.project)[name])  # anew: chosen a moment ago, perhaps
        if not port:
            return free_port(HOST)
        taken = dict.fromkeys(in_the_way([Published(self.project.backend, HOST, port)]), name)
        if not taken:
            return port
        from composed.ports.choice import give_way  # noqa: PLC0415  # nearly always it is free

        return give_way(self.gateway, self.settings, taken, strict=strict).get(name, port)

    def _environment(self) -> dict[str, str]:
        chosen = {n: v for n, v in self.settings.values.items() if v and not FIXED.fullmatch(n)}
        chosen.pop(self.project.backend_port, None)
        ours = {**self.project.local_environment, "SQLITE_PATH": str(self._database)}
        return chosen | ours | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

    def _status(self, start: Start) -> int:
        return status(f"{_url(start)}{self.project.health}")

    def _wait(self, start: Start | None, timeout: int, log: Log) -> bool:
        """Return when it is ready; False when another has its port, and would answer for it."""
        if not start:
            return False
        began = time.monotonic()
        look = wait(lambda: [self._look(start, log)], began + timeout)
        if look and look.state == ELSEWHERE:
            return False
        if look:
            step = f"Waiting for {look.service} to become healthy"
            cause = self.explain(look.said) or self.explain(self._said(log))
            lines = self._backend.said(0).splitlines()[-LOG_LINES:]
            raise not_ready(f"{step}, {int(time.monotonic() - began)} s", look, lines, cause)
        return True

    def _look(self, start: Start, log: Log) -> Look:
        code, text = settled(f"{_url(start)}{self.project.health}")
        # Looked at after the answer, which may have been another's.
        those = listeners(self.gateway, start.port)
        if those and not those.keys() & self._backend.pids():
            return Look(self.project.backend, ELSEWHERE, ready=False, hopeless=True)
        runs, ready = bool(self._backend.running()), _is_well(code)
        # 500 is the traceback of an application that does not load.
        broken = not runs or code == HTTPStatus.INTERNAL_SERVER_ERROR
        state = (f"answers {code}" if code else "does not answer") if runs else "has ended"
        said = f"healthz: {code}\n{text}" if code and not ready else ""
        hopeless = not ready and (broken or self._log_is_fatal(log))
        return Look(self.project.backend, state, ready, hopeless=hopeless, said=said)

    def _log_is_fatal(self, log: Log) -> bool:
        """Say whether it has logged that it will never answer."""
        said = self._said(log)
        cause = self.explain(said)
        return bool(cause and cause.fatal) or SERVER_ENDED in said

    def _said(self, log: Log) -> str:
        return of_now(self._backend.said(log.new), self._backend.said(log.ours))

    def _check(self, services: Sequence[str]) -> None:
        for name in services:
            if name != self.project.backend:
                raise NotFoundError(
                    f"There is no service {name!r} in local mode.",
                    f"Services: {self.project.backend}.",
                )

    def _need_server(self) -> None:
        if problem := self._server_problem():
            raise problem

    def _server_problem(self) -> EngineError | None:
        if find_spec("gunicorn"):
            return None
        requirements = f"{self.project.source}/requirements.txt"
        named = (self.project.root / requirements).exists()
        return EngineError(
            f"{sys.executable} has no Gunicorn to run the server with.",
            f"Install it: pip install {f'--requirement {requirements}' if named else 'gunicorn'}",
        )


def _with_our_python(argv: Sequence[str]) -> list[str]:
    """Return the command with the Python that runs us, which has the server's packages."""
    return [sys.executable if word == "python" else word for word in argv]


def _is_well(code: int) -> bool:
    """Say whether a server answers so that it works: it may not know the path we ask for."""
    return 0 < code < HTTPStatus.INTERNAL_SERVER_ERROR


def _url(start: Start) -> str:
    return f"http://{HOST}:{start.port}"


def _age(start: Start) -> str:
    seconds = int(time.time() - start.at)
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return _count(seconds // size, unit)
    return _count(seconds, "seconds")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"
