"""One start of the stack: on ports that are free, from images that fit, until all is ready."""

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
from composed.ports.published import Published, in_the_way
from composed.stack import Service, Stack, UpOptions
from composed.terminal import say

if TYPE_CHECKING:  # what is healthy needs none
    from composed.docker.watch import Watch

__all__ = ["Start"]

STARTS = 5  # of an `up` whose ports are taken again and again


class Start:
    """``docker compose up`` with what has to be looked at before and after it."""

    def __init__(self, stack: Stack, dc: Compose, options: UpOptions) -> None:
        self._stack, self._dc, self._options = stack, dc, options
        self._project, self._gateway = stack.project, stack.gateway
        self._began = time.monotonic()

    def run(self, check_fit: Callable[[Model, Sequence[str]], None], *extra: str) -> int:
        """Return how Compose ended; called again when a port was taken meanwhile.

        ``check_fit`` is given the model and the services before a container is started.
        """
        options, model = self._options, self._dc.model()
        self._give_way(model)
        check_fit(model, options.services)
        now = recipe(model)
        build = _build(options.build, now, [] if options.build else stale(self._gateway, now))
        words = ("up", "--detach", *build, *extra, *options.services)
        for _ in range(STARTS):
            code = self._dc.run(*words, services=options.services, env=now.label)
            if not code or not self._give_way(self._dc.model()):
                break
        return code

    def wait(self) -> list[Service]:
        """Return when all is ready; Compose's own ``--wait`` looks twice a second, and longer."""
        self._gateway.preview()  # a dry run has nothing to wait for
        services, names = self._stack.runner.ps(), self._options.services
        waited = [service for service in services if not names or service.service in names]
        if all(service.health == "healthy" for service in waited):
            return services
        self._watch(waited).wait(self._options.timeout)
        return self._stack.runner.ps()

    def why(self, code: int) -> ComposedError:
        """Say what kept Compose from starting."""
        from composed.docker.pulls import pull_problem  # noqa: PLC0415  # only a failure needs it

        if error := pull_problem(self._gateway, self._dc.model(), code):
            return error
        culprit = (
            engine.disk_problem(self._gateway) or self._watch(self._stack.runner.ps()).culprit()
        )
        return culprit or NotReadyError(
            f"docker compose up ended with {code}; the reason stands above."
        )

    def _give_way(self, model: Model) -> bool:
        """Say whether ports were taken and others are chosen; raises when they may not be."""
        if self._gateway.dry:
            return False
        self._dc.check([self._project.backend], model.services)
        if not (taken := self._taken(model.published(self._options.services))):
            return False
        # Imported late: nearly every start finds its ports free.
        from composed.ports.choice import give_way  # noqa: PLC0415

        # Read anew: the one that is taken may be one that was chosen a moment ago.
        values = {**load_settings(self._project).values, **os.environ}
        written = self._dc.written_model()
        named = {port: written.setting_of_port(port, values) for port in taken}
        avoid, strict = {port.port for port in model.published()}, self._options.strict_ports
        give_way(self._gateway, self._stack.settings, named, avoid=avoid, strict=strict)
        return True

    def _taken(self, wanted: Sequence[Published]) -> list[Published]:
        """Return the ports that others have; the first question to the engine, if it answers."""
        ours = {at for service in self._stack.runner.ps() for at in service.ports.values()}
        return in_the_way(
            self._gateway, [at for at in wanted if f"{at.host}:{at.port}" not in ours]
        )

    def _watch(self, services: Sequence[Service]) -> Watch:
        from composed.docker.watch import Watch  # noqa: PLC0415

        ids = [service.container for service in services]
        return Watch(self._dc, self._stack.explain, ids, self._began)


def _build(wanted: bool | None, now: Recipe, stale: Sequence[str]) -> list[str]:
    """Return what to tell Compose, which by itself builds only what is missing."""
    for service in stale:
        then = "left as it is (--no-build)" if wanted is False else "building it anew"
        say(f"The image of {service} does not fit {now}: {then}.")
    if wanted is False:
        return ["--no-build"]
    return ["--build"] if wanted or stale else []
