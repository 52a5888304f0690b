"""One start of the stack: free ports, current images, and the wait until all is ready."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from composed.docker import engine
from composed.docker.compose import Compose
from composed.docker.images import Recipe, recipe, stale
from composed.docker.model import Model
from composed.env.settings import load_settings
from composed.errors import ComposedError, NotReadyError
from composed.ports.published import in_the_way
from composed.stack import Service, Stack, UpOptions
from composed.terminal import say

if TYPE_CHECKING:  # a start that finds all healthy needs no watch
    from composed.docker.watch import Watch

STARTS = 5  # attempts of an `up` whose ports are taken again and again


class Start:
    """``docker compose up``, with the checks before and the wait after."""

    def __init__(self, stack: Stack, dc: Compose, options: UpOptions) -> None:
        self._stack, self._dc, self._options = stack, dc, options
        self._gateway = stack.gateway
        self._began = time.monotonic()

    def run(self, check: Callable[[Model, Sequence[str]], None], *recreate: str) -> int:
        """Return the exit code of Compose; start again when a port was taken meanwhile.

        ``check`` gets the model and the services before a container is started.
        """
        model, services = self._dc.model(), self._options.services
        self._give_way(model)
        check(model, services)
        current = recipe(model)
        words = ("up", "--detach", *self._build(current), *recreate, *services)
        for _ in range(STARTS):
            code = self._dc.run(*words, services=services, env=current.label)
            if not code or not self._give_way(self._dc.model()):
                break
        return code

    def wait(self) -> list[Service]:
        """Return the services when all are ready; Compose's own ``--wait`` is slower."""
        self._gateway.preview()  # a dry run has nothing to wait for
        services, names = self._stack.runner.ps(), self._options.services
        awaited = [service for service in services if not names or service.service in names]
        if all(service.health == "healthy" for service in awaited):
            return services
        self._watch(awaited).wait(self._options.timeout)
        return self._stack.runner.ps()

    def error(self, code: int) -> ComposedError:
        """Return the reason why Compose ended with this exit code."""
        from composed.docker.pulls import pull_problem  # noqa: PLC0415  # only a failure needs it

        return (
            pull_problem(self._gateway, self._dc.model(), code)
            or engine.disk_problem(self._gateway)
            or self._watch(self._stack.runner.ps()).culprit()
            or NotReadyError(f"docker compose up ended with {code}; the reason stands above.")
        )

    def _give_way(self, model: Model) -> bool:
        """Return whether ports were taken and replaced; raise when a port may not change."""
        if self._gateway.dry:
            return False
        self._dc.check([self._stack.project.backend], model.services)
        ours = {host for service in self._stack.runner.ps() for host in service.ports.values()}
        wanted = model.published(self._options.services)
        foreign = [port for port in wanted if f"{port.host}:{port.port}" not in ours]
        if not (taken := in_the_way(self._gateway, foreign)):
            return False
        from composed.ports.choice import give_way  # noqa: PLC0415  # nearly always ports are free

        # Read anew, since a taken port may have been chosen a moment ago.
        values = {**load_settings(self._stack.project).values, **os.environ}
        written = self._dc.written_model()
        named = {port: written.setting_of_port(port, values) for port in taken}
        avoid, strict = {port.port for port in model.published()}, self._options.strict_ports
        give_way(self._gateway, self._stack.settings, named, avoid=avoid, strict=strict)
        return True

    def _watch(self, services: Sequence[Service]) -> Watch:
        from composed.docker.watch import Watch  # noqa: PLC0415

        ids = [service.container for service in services]
        return Watch(self._dc, self._stack.explain, ids, self._began)

    def _build(self, current: Recipe) -> list[str]:
        """Return the option of Compose, which alone would build only missing images."""
        build = self._options.build
        old = [] if build else stale(self._gateway, current)
        for service in old:
            then = "left as it is (--no-build)" if build is False else "building it anew"
            say(f"The image of {service} does not fit {current}: {then}.")
        if build is False:
            return ["--no-build"]
        return ["--build"] if build or old else []
