"""Gunicorn's configuration, from environment variables; their defaults suit two cores.

Gunicorn itself reads PORT (listen on 0.0.0.0:$PORT; without it on 127.0.0.1:8000) and
FORWARDED_ALLOW_IPS (proxies whose X-Forwarded-Proto is believed).

This file never imports the application: workers must find it as it is on the disk.
Libraries it does import, once for all workers: a reload then takes a quarter of the time.
"""

import os
import signal
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.workers import gthread  # type: ignore[import-untyped]

PROBES = ("/healthz", "/readyz")
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def _number(name: str, default: int, maximum: int = 65535) -> int:
    value = os.environ.get(name) or str(default)
    if value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= maximum:
        return int(value)
    message = f"{name}: {value!r} is not valid, set it to a whole number from 1 to {maximum}."
    print(message, file=sys.stderr)  # noqa: T201
    raise SystemExit(os.EX_CONFIG)


class Worker(gthread.ThreadWorker):  # type: ignore[misc]
    """A threaded worker that stops without waiting for clients that have asked nothing."""

    def init_signals(self) -> None:
        """Install the handlers, and obey a stop signal that came before they were there.

        A worker is forked with the handlers of Gunicorn's arbiter, which put a signal into a
        queue that only the arbiter reads. The arbiter signals each worker once. Without this
        method, a worker that is stopped while it boots goes on serving, and after
        graceful_timeout the arbiter kills all workers, with the requests under way.
        """
        # Blocked, because Gunicorn resets every handler to the default (die) for a moment.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        while not self.early_signals.empty():
            if self.early_signals.get() in STOP_SIGNALS:
                self.alive = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Look at once, not a second later, for what can be closed."""
        super().handle_exit(sig, frame)
        self.method_queue.defer(self.murder_pending)

    def murder_pending(self) -> None:
        """Once stopping, also close connections on which no request has begun."""
        if not self.alive:
            for connection in self.pending_conns:
                connection.timeout = 0
        super().murder_pending()


class Log(Logger):  # type: ignore[misc]
    """A log without the probes: Compose asks every few seconds and keeps a log of its own."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log a request, unless it is a probe."""
        if environ.get("PATH_INFO") not in PROBES:
            super().access(resp, req, environ, request_time)


def post_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Give a new worker its copy of the arbiter's queue of signals."""
    worker.early_signals = arbiter.SIG_QUEUE


_development = os.environ.get("DEBUG", "").lower() in {"1", "true", "yes", "on"}

# How long a stopping worker waits for one more request on a kept-alive connection, 2 s in
# Gunicorn 27. In development not at all: old code would answer it.
gthread.STOP_KEEPALIVE_LINGER = 0 if _development else 0.25
# How long a thread waits for the first byte on a new connection, 5 s in Gunicorn 27.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.5

for _library in (
    "django.contrib.admin",
    "django.core.wsgi",
    "django.db.backends.postgresql.base",
    "pydantic.types",
    "whitenoise.middleware",
):
    import_module(_library)

_number("PORT", 8000)
worker_class = Worker
# Never from the core count: it is the host's. Gunicorn itself refuses what is no number.
workers = _number("WEB_CONCURRENCY", 2, 256)
threads = _number("GUNICORN_THREADS", 4, 256)
timeout = _number("GUNICORN_TIMEOUT", 30)
graceful_timeout = _number("GUNICORN_GRACEFUL_TIMEOUT", 20)
keepalive = 5
max_requests = 0 if _development else 10_000
max_requests_jitter = max_requests // 10

logger_class = Log
accesslog = "-"
errorlog = "-"
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108
    worker_tmp_dir = "/dev/shm"  # noqa: S108  # on a disk, the heartbeat can block
