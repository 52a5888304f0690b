"""Local mode: Gunicorn and SQLite as ordinary processes, for a machine without an engine."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.env.settings import Settings
from composed.errors import ComposedError, Interrupted
from composed.findings import Finding
from composed.gateway import Gateway
from composed.local.daemon import LOG_BYTES, Daemon
from composed.local.inside import HOST, LocalInside
from composed.local.port import wanted
from composed.local.runner import LocalRunner
from composed.ports.published import Published
from composed.project import Project
from composed.stack import Belongings, Report, Stack, Store, UpOptions, as_json, service_rows
from composed.terminal import say

if TYPE_CHECKING:  # few verbs need the data
    from composed.data.sqlite import SQLite

LOG_LINES = 2000  # in a bundle


class LocalStack(Stack):
    """A stack with a single service, the backend; the database is a SQLite file."""

    mode = "local"
    database_engine = "sqlite"
    runner: LocalRunner
    inside: LocalInside
    store: FileStore

    def __init__(self, project: Project, settings: Settings, gateway: Gateway) -> None:
        super().__init__(project, settings, gateway)
        self.daemon = Daemon(gateway, self.folder)
        self.inside = LocalInside(self)
        self.runner = LocalRunner(self, self.inside, self.daemon)
        self.store = self.belongings = FileStore(self)

    @property
    def report(self) -> Report:
        return LocalReport(self)

    def clean_up(self) -> None:
        if not self.gateway.dry:
            self.daemon.rotate()
            self.store.clean_up()


class FileStore(Store, Belongings):
    """The data of local mode: the file ``SQLITE_PATH``, and half-made copies beside the file."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._restores = Calls(stack.gateway, stack.folder / "swaps")

    @property
    def _file(self) -> Path:
        return self._stack.inside.database

    @contextlib.contextmanager
    def database(self, name: str = "") -> Iterator[SQLite]:  # noqa: ARG002  # a file has no other
        self._stack.gateway.make_folder(self._file.parent)
        self._stack.inside.check_files()  # SQLite would write to a device
        yield self._sqlite()

    @contextlib.contextmanager
    def retired(self) -> Iterator[Mapping[str, SQLite]]:
        remove = self._stack.runner.remove_data
        with self.database() as database, self._server_stopped(), database.given_up(remove):
            yield {"": database}

    @contextlib.contextmanager
    def _server_stopped(self, *, for_good: bool = True) -> Iterator[None]:
        """Stop the server; start the server again if the block raises, or is not ``for_good``.

        What clients ask meanwhile waits for the new server: see :meth:`LocalRunner.restart`.
        """
        runner, runs = self._stack.runner, bool(self._stack.daemon.running())
        with self._stack.locked(), runner.kept_socket() as listener:
            runner.down()
            try:
                yield
            except Interrupted:
                say("The server is stopped. Type: inv up")
                raise
            except BaseException:
                try:
                    self._start_again(listener, "The server is stopped", runs=runs)
                except ComposedError as error:
                    say(str(error))  # the fault that ended the block is raised
                raise
            deed = "The data is replaced, but the server is stopped"
            self._start_again(listener, deed, runs=runs and not for_good)

    def _start_again(self, listener: socket.socket | None, deed: str, *, runs: bool) -> None:
        """Start the server if it ran; a start that fails undoes nothing, and is an error."""
        try:
            if runs:
                self._stack.runner.up_on(listener, UpOptions())
        except ComposedError as error:
            hints = dict.fromkeys((*error.hints, "Type: inv up"))
            raise type(error)(f"{deed}: {error.problem}", *hints) from None

    def has_data(self) -> bool:
        return bool(self.holdings())

    def holdings(self) -> list[str]:
        return [str(self._file)] if self._file.exists() else []

    def destroy(self) -> int:
        """Remove the file: nothing else belongs to the stack alone."""
        return self._stack.runner.down(volumes=True)

    def clean_up(self) -> None:
        """Remove the copy that a killed restore left."""
        for call in self._restores.abandoned():
            self._sqlite().heal()
            self._restores.forget(call)

    def _sqlite(self) -> SQLite:
        from composed.data.sqlite import SQLite  # noqa: PLC0415

        scratch = self._stack.folder / "restored.sqlite3"
        stopped = partial(self._server_stopped, for_good=False)
        return SQLite(self._file, scratch, self._restores, stopped)


class LocalReport(Report):
    """The facts about the server's packages, the port, the process and the log."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack

    def findings(self) -> list[Finding]:
        from composed.ports.choice import findings as port_rows  # noqa: PLC0415

        project, services = self._stack.project, self._stack.runner.ps()
        port = wanted(self._stack, self._stack.settings)
        ours = {host for service in services for host in service.ports.values()}
        published = [Published(project.backend, HOST, port)] if port else []
        inside = self._stack.inside
        problem = inside.database_problem()
        return [
            Finding.of("server", inside.problem(), f"{inside.server_name} of {sys.executable}"),
            *([Finding.of("database", problem)] if problem else []),
            *port_rows(self._stack.gateway, published, ours),
            *service_rows(services),
        ]

    def evidence(self) -> dict[str, str]:
        lines = self._stack.daemon.log_after(0, LOG_BYTES).splitlines(keepends=True)
        services = as_json(self._stack, self._stack.runner.ps())
        return {"logs.txt": "".join(lines[-LOG_LINES:]), "ps.json": services}
