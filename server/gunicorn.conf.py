"""Gunicorn's configuration, from environment variables; their defaults suit two cores.

Gunicorn itself reads PORT (listen on 0.0.0.0:$PORT; without it on 127.0.0.1:8000) and
FORWARDED_ALLOW_IPS (addresses of proxies; Gunicorn believes X-Forwarded-Proto from them).

This file never imports the application: each worker must load the files of the moment.
Libraries are imported here, once for all workers: a reload then takes a quarter of the time.
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
from one_line import OneLine

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
    """A threaded worker that stops without waiting for clients that have sent no request."""

    def init_signals(self) -> None:
        """Install the handlers, then accept stop signals, which `spawn_worker` has blocked."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Close idle connections at once, not a second later."""
        super().handle_exit(sig, frame)
        self.method_queue.defer(self.murder_pending)

    def murder_pending(self) -> None:
        """Close expired connections; when stopping, also each connection without a request."""
        if not self.alive:
            for connection in self.pending_conns:
                connection.timeout = 0
        super().murder_pending()


class Log(Logger):  # type: ignore[misc]
    """A log without the probes: Compose probes every few seconds and keeps the results."""

    def setup(self, cfg: Any) -> None:
        """Escape what clients send: paths and headers may hold escape sequences."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(OneLine(self.error_fmt, self.datefmt))
        for handler in self.access_log.handlers:
            handler.setFormatter(OneLine(self.access_fmt))

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log every request but the probes."""
        if environ.get("PATH_INFO") not in PROBES:
            super().access(resp, req, environ, request_time)


def on_starting(arbiter: Arbiter) -> None:
    """Block stop signals around each fork, so that a new worker gets them once it has handlers.

    Otherwise a stop signal to a worker that is still booting is lost: Python clears pending
    signals in a forked child, and until `init_signals` the handlers are the arbiter's, which
    only fill a queue. The arbiter signals each worker once. The worker would go on serving,
    and after graceful_timeout the arbiter would kill all workers and the requests under way.
    """
    spawn_worker = arbiter.spawn_worker

    def blocked() -> Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    arbiter.spawn_worker = blocked


_development = os.environ.get("DEBUG", "").lower() in {"1", "true", "yes", "on"}

# Seconds that a stopping worker waits for another request on a kept-alive connection, 2 in
# Gunicorn 27. At a reload, too: a client that sends at the moment of the close gets no answer.
gthread.STOP_KEEPALIVE_LINGER = 0.25
# Seconds that a thread waits for the first byte on a new connection, 5 in Gunicorn 27.
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
# Never from the core count: a container sees the host's. Gunicorn refuses all but numbers.
workers = _number("WEB_CONCURRENCY", 2, 256)
threads = _number("GUNICORN_THREADS", 4, 256)
timeout = _number("GUNICORN_TIMEOUT", 30)
graceful_timeout = _number("GUNICORN_GRACEFUL_TIMEOUT", 20)
keepalive = 5
max_requests = 0 if _development else 10_000
max_requests_jitter = max_requests // 10

forwarder_headers = ""  # no proxy may set SCRIPT_NAME or PATH_INFO
logger_class = Log
accesslog = "-"
errorlog = "-"
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108
    worker_tmp_dir = "/dev/shm"  # noqa: S108  # on a disk, the heartbeat can block
