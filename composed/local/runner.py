"""The services of local mode: Gunicorn in the background, with hot reload."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from composed import files
from composed.contract import SERVER_ENDED
from composed.env.settings import load_settings
from composed.errors import NotFoundError, PortTakenError, ValueWrongError
from composed.health.waiting import Look, log_of_this_start, not_ready, settled, wait
from composed.local.daemon import Daemon, Start
from composed.local.inside import HOST, LocalInside
from composed.local.port import keep, wanted
from composed.machine import free_port
from composed.ports.published import Published, in_the_way
from composed.stack import BuildOptions, Runner, Service, Stack, UpOptions
from composed.terminal import say

UNASKED = (
    "No Docker Engine is set up here: running Gunicorn and SQLite as ordinary processes. "
    "For PostgreSQL, install Docker (https://docs.docker.com/engine/install)."
)
PORT_LOST = "has lost its port to another process"
STARTS = 5  # while other processes take the port


class Log(NamedTuple):
    """Two offsets in the log, in bytes: of this server's first line, and of this ``up``'s."""

    server: int
    up: int


class LocalRunner(Runner):
    """Starts, shows and stops Gunicorn."""

    def __init__(self, stack: Stack, inside: LocalInside, daemon: Daemon) -> None:
        self._stack, self._inside, self._daemon = stack, inside, daemon
        self._project, self._gateway = stack.project, stack.gateway
        self._is_removed = False  # the data, by this verb

    def up(self, options: UpOptions) -> list[Service]:
        return self.up_on(None, options)

    def up_on(self, listener: socket.socket | None, options: UpOptions) -> list[Service]:
        """Start on a socket of :meth:`kept_socket`, which this closes; see :meth:`Runner.up`."""
        self._inside.check_services(options.services)
        if problem := self._inside.problem():
            raise problem
        self._inside.check_files()
        is_first = not listener and not self._daemon.last()
        if is_first and self._stack.settings["COMPOSED_MODE"] == "auto":
            say(UNASKED)
        if options.migrate:
            if not (listener or self._gateway.dry or self._daemon.running()):
                self._port(strict=options.strict_ports)  # a taken port migrates nothing
            options.migrate()
        self._gateway.end_dry_run()
        with self._stack.locked():
            if self._stack.stop_mark.exists():  # an interrupted `inv` was stopping the server
                self._stop()
            for _ in range(STARTS):
                running, size = self._running(), self._daemon.log_size()
                log = Log(0 if running else size, size)
                started, listener = running or self._start(options, listener), None
                if self._wait(started, options.timeout, log):
                    return self.ps()
                self._daemon.stop(seconds=0)  # another process was quicker to take the port
        raise PortTakenError("Each port was taken by another process at once.", "Type: inv up")

    def restart(self, options: UpOptions) -> list[Service]:
        """Start again on the same socket: what clients ask meanwhile waits there."""
        self._inside.check_services(options.services)
        self._inside.check_files()  # before the server is stopped
        self._gateway.end_dry_run()
        with self._stack.locked(), self.kept_socket() as listener:
            running = self._daemon.running()
            if running and not self._keeps_port(running):
                self._port(strict=options.strict_ports)  # a taken port stops nothing
            self.down()
            return self.up_on(listener, options)

    @contextlib.contextmanager
    def kept_socket(self) -> Iterator[socket.socket | None]:
        """Keep the socket of the running server open in the block, None where that cannot be."""
        listener = self._listener()
        with listener or contextlib.nullcontext():
            yield listener

    def _listener(self) -> socket.socket | None:
        """Return the socket of the running server, if it has the port of the settings."""
        start = self._daemon.running()
        if not any(Path(word).name == "gunicorn" for word in self._inside.server(0)):
            return None  # another program would not know the socket
        if not start or not self._keeps_port(start):
            return None
        return self._gateway.listening_socket(self._daemon.pids(), start.port)

    def _keeps_port(self, start: Start) -> bool:
        return wanted(self._stack, self._stack.settings) in (0, start.port)

    def down(self, *, volumes: bool = False) -> int:
        self._gateway.end_dry_run()
        with self._stack.locked():
            self._stop()
            if volumes:
                self.remove_data()
        return 0

    def remove_data(self) -> None:
        """Remove the database; a second call leaves what another program has made since.

        The database goes last: files that are left beside it would be taken for those of the next.
        """
        if self._is_removed:
            return
        self._inside.check_files()  # all of them go, or none
        for file in self._inside.files:
            self._gateway.remove(file)
        self._is_removed = True

    def ps(self) -> list[Service]:
        """Return the backend, running or exited by itself; nothing before the first start."""
        start = self._daemon.last()
        if not start:
            return []
        name, age = self._project.backend, _age(time.time() - start.at)
        if not self._daemon.running():
            return [Service(name, "exited", age=age)]
        health = (
            "healthy" if self._works(self._gateway.fetch(self._health(start))[0]) else "unhealthy"
        )
        address = f"{HOST}:{start.port}"
        return [Service(name, "running", health, age, {start.port: address}, f"http://{address}")]

    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        self._inside.check_services(services)
        if since:
            raise ValueWrongError("--since needs Compose.", "Type: inv logs --tail 100")
        log = self._daemon.log
        try:
            os.close(files.opened(log))
        except FileNotFoundError:
            problem = f"{self._project.backend} has no log yet."
            raise NotFoundError(problem, "Type: inv up") from None
        except OSError as error:
            raise files.unusable(log, error, "read") from None
        lines = tail if tail.isdecimal() else "+1"
        return self._gateway.run(["tail", "-n", lines, *(["-f"] if follow else []), str(log)])

    def build(self, _: BuildOptions, /) -> int:
        say("Local mode has no images: the source is what runs.")
        return 0

    def _running(self) -> Start | None:
        """Return the running server; stop a server from before the folder was moved."""
        start = self._daemon.running()
        if start and start.folder not in ("", str(self._stack.folder)):
            self._stop()
            return None
        return start

    def _stop(self) -> None:
        grace = float(self._stack.settings["GUNICORN_GRACEFUL_TIMEOUT"])
        with self._stack.stopping():
            self._daemon.stop(seconds=grace + 5)

    def _start(self, options: UpOptions, listener: socket.socket | None) -> Start | None:
        self._daemon.stop(seconds=0)  # a leftover of a killed start
        self._inside.make_database_private()
        port = listener.getsockname()[1] if listener else self._port(strict=options.strict_ports)
        argv = self._inside.server(port)
        environment = self._inside.environment
        if listener:  # as Gunicorn gives a socket to its own successor
            environment |= {"GUNICORN_FD": str(listener.fileno()), "GUNICORN_PID": str(os.getpid())}
        self._daemon.start(
            argv, cwd=self._project.tree, env=environment, port=port, listener=listener
        )
        if listener:
            listener.close()
        return self._daemon.last()

    def _port(self, *, strict: bool) -> int:
        name, settings = self._project.backend_port, load_settings(self._project)
        port = wanted(self._stack, settings)  # read anew: perhaps just chosen
        if not port:
            return free_port(HOST)
        published = Published(self._project.backend, HOST, port)
        taken = dict.fromkeys(in_the_way(self._gateway, [published]), name)
        if not taken:
            return port
        from composed.ports.choice import give_way  # noqa: PLC0415  # rarely taken

        chosen = give_way(
            *(self._gateway, settings, taken),
            strict=strict,
            override=lambda ports: keep(self._stack, ports.values()),
            writes_env=self._project.owns_env,
        )
        return chosen.get(name, port)

    def _wait(self, start: Start | None, timeout: int, log: Log) -> bool:
        """Return True when the server is ready, False when another process has the port."""
        if not start:
            return False
        began = time.monotonic()
        look = wait(lambda: [self._look(start, log)], began + timeout)
        if look and look.state != PORT_LOST:
            step = f"Waiting for {look.service} to become healthy"
            explain = self._stack.explain
            cause = explain(look.output, loading=True)
            cause = cause or explain(self._words(log), ended=not self._daemon.running())
            raise not_ready(step, began, look, self._daemon.log_after(0), cause)
        return not look

    def _look(self, start: Start, log: Log) -> Look:
        code, text = settled(self._gateway, self._health(start))
        # Asked after the answer, which may be of another process.
        pids = self._gateway.listeners(start.port).keys()
        if pids and not pids & self._daemon.pids():
            return Look(self._project.backend, PORT_LOST, ready=False, hopeless=True)
        runs, ready = bool(self._daemon.running()), self._works(code)
        # A 500 holds the traceback of an application that does not load.
        broken = not runs or code == HTTPStatus.INTERNAL_SERVER_ERROR
        state = (f"answers {code}" if code else "does not answer") if runs else "has ended"
        output = text if code and not ready else ""
        words = self._words(log)
        cause = self._stack.explain(words)
        fatal = broken or SERVER_ENDED in words or bool(cause and cause.fatal)
        hopeless = fatal and not ready
        return Look(self._project.backend, state, ready, hopeless=hopeless, output=output)

    def _works(self, code: int) -> bool:
        """Return whether the status is good: a page may fail before the first migration."""
        # The path of a health check may be missing: 404.
        return 0 < code < (HTTPStatus.INTERNAL_SERVER_ERROR if self._project.health else 600)

    def _words(self, log: Log) -> str:
        return log_of_this_start(self._daemon.log_after(log.up), self._daemon.log_after(log.server))

    def _health(self, start: Start) -> str:
        return f"http://{HOST}:{start.port}{self._project.health}"


def _age(seconds: float) -> str:
    units = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((pair for pair in units if seconds >= pair[0]), units[-1])
    count = int(seconds) // size
    return f"{count} {unit}{'' if count == 1 else 's'}"
