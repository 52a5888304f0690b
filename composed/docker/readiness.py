"""Whether a container works, asked by ourselves where no health check of the project says so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from composed.docker.containers import Container
from composed.docker.database import DatabaseService
from composed.gateway import Gateway
from composed.ports.published import url_of
from composed.stack import Service

# A program that fails at its start has ended by then, in seconds: most import something missing.
SECONDS_TO_SETTLE = 2.0


class Readiness:
    """Asks the database for a connection and the backend for an answer over HTTP.

    A service that answered once is not asked again. Of other services without a health check,
    the container has to run for a while: a program that lacks a module ends after a second.
    """

    def __init__(
        self, gateway: Gateway, database: DatabaseService, services: Sequence[Service]
    ) -> None:
        self._gateway, self._database = gateway, database
        self._urls = {
            service.container: [service.url, *map(url_of, service.ports.values())]
            for service in services
            if service.url
        }
        self._seen: set[str] = set()

    def fault(self, container: Container) -> str:
        """Return as a verb phrase why the service is not ready, "" for one that is."""
        if container.id in self._seen and container.state == "running":
            return ""
        if container.is_checked or not (container.ready or container.is_starting):
            return "" if container.ready else container.in_words(hopeless=False)
        if container.state == "running" and (fault := self._asked(container)):
            return fault
        self._seen.add(container.id)
        return ""

    def _asked(self, container: Container) -> str:
        urls = self._urls.get(container.id[:12]) or self._urls.get(container.id)
        if container.service == self._database.name:
            return "" if self._database.answers() else "takes no connections"
        if urls:
            urls = list(dict.fromkeys(urls))
            ways = [*urls, *(url.replace("http:", "https:") for url in urls)]
            works = any(self._gateway.fetch(f"{way}/")[0] for way in ways)
            return "" if works else f"gives no answer at {' and '.join(urls)}"
        if container.is_starting:
            return container.in_words(hopeless=False)
        settled = not 0 <= age(container) < SECONDS_TO_SETTLE
        return "" if settled else "has only just started"


def age(container: Container) -> float:
    """Return the seconds since the container started; -1 when the engine names no time."""
    try:
        return time.time() - datetime.fromisoformat(container.started).timestamp()
    except ValueError:
        return -1.0
