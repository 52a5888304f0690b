"""One start of the stack: free ports, current images, and the wait until all is ready."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from composed.docker import engine
from composed.docker.compose import OVERRIDE, Compose
from composed.docker.containers import inspect
from composed.docker.database import DatabaseService
from composed.docker.detection import dangers
from composed.docker.images import Recipe, recipe, stale
from composed.docker.model import Model
from composed.docker.names import check_names
from composed.docker.only_copy import Loss, losses
from composed.docker.pulls import BUILD_FAILED, PULL_FAILED, pull_problem
from composed.docker.watch import Watch
from composed.env.settings import load_settings
from composed.errors import ComposedError, NotReadyError
from composed.ports.published import Published, in_the_way
from composed.stack import Service, Stack, UpOptions
from composed.terminal import say

STARTS = 5  # attempts of an `up` whose ports are taken again and again


class Start:
    """``docker compose up``, with the checks before and the wait after."""

    def __init__(
        self, stack: Stack, dc: Compose, database: DatabaseService, options: UpOptions
    ) -> None:
        self._stack, self._dc, self._database, self._options = stack, dc, database, options
        self._gateway, self._model = stack.gateway, Model({})
        self._began = time.monotonic()

    @property
    def migrates(self) -> bool:
        """Whether the backend applies the migrations by itself at each start."""
        project = self._stack.project
        found = dangers(self._model.service(project.backend), project)
        return any("migrate" in danger.command for danger in found)

    def run(self, *recreate: str) -> int:
        """Return the exit code of Compose; start again when a port was taken meanwhile.

        The volume is compared with the settings before a container is started.
        """
        self._model, services = self._dc.model(), self._options.services
        check_names(self._dc, self._model, self._stack.name, self._stack.project.compose.folder)
        before = self._seen()
        self._give_way(self._model, before)
        how = recreate or self._keep()  # first: the check may start the database
        self._database.check(self._model, services)
        current = recipe(self._model)
        if self._start_database_first(current, how):  # and now all others
            services = sorted({*(services or self._model.services)} - {self._database.name})
            how = (*how, "--no-deps")
            if not services:
                return 0
        words = ("up", "--detach", *self._build(current), *how, *services)
        for _ in range(STARTS):
            code = self._dc.run(*words, services=services, env=current.label)
            if not code:
                break
            now = self._seen()
            again = self._give_way(self._dc.model(), now) or self._is_healthy_again(before, now)
            if not again:
                break
            before = now
        return code

    def check_renewal(self) -> None:
        """Raise :class:`RefusedError` where a new container would not have data of the old one."""
        self._model = self._dc.model()
        for loss in self._losses(self._options.services or self._model.services):
            raise loss.refusal("A restart makes new containers")

    def _keep(self) -> tuple[str, ...]:
        """Return the option that lets Compose make no new container where data would be lost."""
        started = self._model.with_dependencies(self._options.services or self._model.services)
        found = self._losses({service.name for service in started})
        for loss in found:
            if loss.is_mounted:  # else the old container would go on without the mount
                raise loss.refusal("The Compose file has another place for the data")
            say("\n  ".join((f"No container is made anew: {loss.words}", *loss.cures)))
        return ("--no-recreate",) if found else ()

    def _losses(self, services: Collection[str]) -> list[Loss]:
        return losses(self._stack, self._dc, self._model, self._database.name, services)

    def _start_database_first(self, current: Recipe, how: Sequence[str]) -> bool:
        """Start a database that nobody waits for: servers end where they find no database.

        Where the model has ``condition: service_healthy``, Compose itself waits. Returns whether
        the container was made anew, as the options ``how`` may ask.
        """
        name, chosen = self._database.name, self._options.services or self._model.services
        started = self._model.with_dependencies(chosen)
        awaited = any(name in service.awaits for service in started)
        needed = any(service.name == name for service in started)
        anew = name in chosen and "--force-recreate" in how
        if self._gateway.dry or awaited or not needed or (not anew and self._database.answers()):
            return False
        if self._dc.run("up", "--detach", *self._build(current), *how, name, env=current.label):
            return False  # the start of all services explains the failure
        found = [service for service in self._stack.runner.ps() if service.service == name]
        self._watch(found).wait(self._options.timeout)
        return anew

    def migrate(self, migrate: Callable[[], None], code: int) -> int:
        """Apply the migrations, then start again each program that failed without the tables.

        ``code`` is that of :meth:`run`, and so is the result: Compose fails where one service
        waits for the health of another, whose health check may need a table.
        """
        if code in (BUILD_FAILED, PULL_FAILED) or (code and not self._failed()):
            return code
        migrate()
        self._began = time.monotonic()  # what a container said without the tables does not count
        if not (failed := self._failed()):
            return code
        with self._stack.locked():
            self._dc.run_or_end("restart", *failed)
            return self.run() if code else 0

    def _failed(self) -> list[str]:
        """Return the services, without the database, that have ended or are unhealthy."""
        ids = [service.container for service in self._seen()]
        found = inspect(self._gateway, ids) if ids else []
        failed = {one.service for one in found if one.ended or one.health == "unhealthy"}
        return sorted(failed - {self._database.name})

    def wait(self) -> list[Service]:
        """Return the services when all are ready; Compose's own ``--wait`` is slower."""
        self._gateway.end_dry_run()  # a dry run has nothing to wait for
        services, names = self._stack.runner.ps(), self._options.services
        ours = self._ours(services)
        awaited = [service for service in ours if not names or service.service in names]
        if all(service.health == "healthy" for service in awaited):
            return services
        self._watch(awaited).wait(self._options.timeout)
        return self._stack.runner.ps()

    def error(self, code: int) -> ComposedError:
        """Return the reason why Compose ended with this exit code."""
        return (
            pull_problem(self._gateway, self._dc.model(), code)
            or engine.disk_problem(self._gateway)
            or self._watch(self._ours(self._stack.runner.ps())).culprit()
            or (engine.buildx_problem(self._gateway) if self._builds() else None)
            or NotReadyError(f"docker compose up ended with {code}; the reason stands above.")
        )

    def _builds(self) -> bool:
        return any(service.build for service in self._model.services.values())

    def _ours(self, services: Sequence[Service]) -> list[Service]:
        """Return the services of this start; others are left of another profile or file."""
        names = {*self._model.services, *self._options.services}
        return [service for service in services if service.service in names]

    def _seen(self) -> list[Service]:
        return [] if self._gateway.dry else self._ours(self._stack.runner.ps())

    def _watch(self, services: list[Service]) -> Watch:
        return Watch(self._stack, self._dc, self._database, services, self._began)

    def _is_healthy_again(self, before: Sequence[Service], now: Sequence[Service]) -> bool:
        """Return whether a database that answers became healthy: Compose trusts the old status."""
        name = self._database.name
        was = [service.health for service in before if service.service == name]
        found = [service for service in now if service.service == name]
        if any(service.health == "healthy" for service in found):  # since Compose looked
            return "unhealthy" in was
        if not any(s.health == "unhealthy" and self._database.answers() for s in found):
            return False
        return self._watch(found).becomes_healthy(self._options.timeout)

    def _give_way(self, model: Model, services: Sequence[Service]) -> bool:
        """Return whether ports were taken and replaced; raise when a port may not change."""
        if self._gateway.dry:
            return False
        self._dc.check([self._stack.project.backend], model.services)
        ours = {host for service in services for host in service.ports.values()}
        wanted = model.published(self._options.services)
        foreign = [port for port in wanted if f"{port.host}:{port.port}" not in ours]
        if not (taken := in_the_way(self._gateway, foreign)):
            return False
        # Nearly always ports are free.
        from composed.docker.override import write_ports  # noqa: PLC0415
        from composed.ports.choice import give_way  # noqa: PLC0415

        # Read anew, since a taken port may have been chosen a moment ago.
        values = {**load_settings(self._stack.project).values, **os.environ}
        written = self._dc.written_model()
        for loss in self._losses({port.service for port in taken}):
            number = next(port.port for port in taken if port.service == loss.service)
            raise loss.refusal(f"Port {number} is taken, another port needs a new container")
        is_ours = self._stack.project.owns_env  # else no setting may be written
        named = {port: written.setting_of_port(port, values) if is_ours else "" for port in taken}
        avoid, strict = {port.port for port in model.published()}, self._options.strict_ports

        def override(chosen: Mapping[Published, int]) -> str:
            file = self._stack.folder / OVERRIDE
            write_ports(self._gateway, file, model, chosen, self._dc.state())
            return f"in {self._stack.project.relative(file)}"

        give_way(
            *(self._gateway, self._stack.settings, named),
            avoid=avoid,
            strict=strict,
            override=override,
        )
        return True

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
