"""One start of the stack: free ports, current images, and the wait until all is ready."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from composed.contract import HEALTH_CHECK, SERVER_ENDED
from composed.docker import engine
from composed.docker.compose import OVERRIDE, Compose
from composed.docker.containers import Container, Probe, inspect
from composed.docker.database import DatabaseService
from composed.docker.detection import dangers
from composed.docker.follow import Loss, losses
from composed.docker.images import Recipe, recipe, stale
from composed.docker.model import Model
from composed.docker.names import check_names
from composed.docker.pulls import BUILD_FAILED, PULL_FAILED, pull_problem
from composed.docker.readiness import Readiness, age
from composed.env.settings import load_settings
from composed.errors import ComposedError, NotReadyError
from composed.health.waiting import (
    LINES_OF_LOG,
    SECONDS_BETWEEN_LOOKS,
    Look,
    log_of_this_start,
    not_ready,
    wait,
)
from composed.ports.published import Published, in_the_way
from composed.stack import Service, Stack, UpOptions
from composed.terminal import ERASE_LINE, say

STARTS = 5  # attempts of an `up` whose ports are taken again and again
LINES_READ = "200"
LOOKS_BETWEEN_LOGS = 10
SECONDS_OF_SILENCE = 5.0  # longer than the reload after a correction, which says something
# A server that cannot serve, as our health check, curl, wget and urllib print it.
_BROKEN = re.compile(
    rf"(?m)^{HEALTH_CHECK}500|\berror: 500\b|HTTP Error 500|HTTP/1\.\d 500|^{SERVER_ENDED}"
)


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


class Watch:
    """Looks at containers; old probes and log lines do not count: their cause may be corrected.

    Old are those of the first look, unless this ``up`` has started the container. Their times
    are the engine's, and never compared with the clock of this machine. ``began`` is the
    ``time.monotonic`` at which this ``up`` began.
    """

    def __init__(
        self,
        stack: Stack,
        dc: Compose,
        database: DatabaseService,
        services: list[Service],
        began: float,
    ) -> None:
        self._explain, self._dc, self._database = stack.explain, dc, database
        self._readiness = Readiness(dc.gateway, database, services)
        self._began, self._watched, self._looks = began, time.monotonic(), 0
        ids = [service.container for service in services]
        self._first = {container.id: container for container in inspect(dc.gateway, ids)}
        old = [container for container in self._first.values() if not self._is_new(container)]
        self._log_ends = {container.id: self._log_end(container) for container in old}

    def wait(self, timeout: int) -> None:
        """Return when all containers are ready; raise :class:`NotReadyError` when one fails.

        ``timeout`` is in seconds since the start of the first container: builds and
        downloads do not count. The database may have started before them, alone.
        """
        if not self._first:
            raise NotReadyError("The started containers are gone.", "Type: inv up")
        started = [container for container in self._first.values() if self._is_new(container)]
        others = [one for one in started if one.service != self._database.name]
        ages = [age(container) for container in others or started]
        if look := wait(self._look, time.monotonic() - max(ages, default=0.0) + timeout):
            goal = "become healthy" if look.has_health else "answer"
            raise self._error(f"Waiting for {look.service} to {goal}", look)

    def becomes_healthy(self, timeout: int) -> bool:
        """Return whether all containers are healthy within ``timeout`` seconds, as Compose asks."""
        end = time.monotonic() + timeout
        while not all(container.ready for container in inspect(self._dc.gateway, self._first)):
            if time.monotonic() > end:
                return False
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def culprit(self) -> NotReadyError | None:
        """Return the error of the container that kept Compose from starting the others."""
        containers = self._first.values()
        # An exit explains more than bad health, and bad health more than a pause.
        suspects = [container for container in containers if container.ended]
        suspects += [container for container in containers if container.health == "unhealthy"]
        suspects += [container for container in containers if container.state == "paused"]
        if not suspects:
            return None
        look = _judged(suspects[0], suspects[0].probes, hopeless=True, fault="failed")
        return self._error(f"Starting {look.service}", look)

    def _look(self) -> list[Look]:
        self._looks += 1
        current = {container.id: container for container in inspect(self._dc.gateway, self._first)}
        return [
            self._compare(first, current.get(id_) or first._replace(state="gone", health=""))
            for id_, first in self._first.items()
        ]

    def _compare(self, first: Container, current: Container) -> Look:
        old = () if self._is_new(first) else {probe.start for probe in first.probes}
        new = [probe for probe in current.probes if probe.start not in old]
        if self._answers(current):
            return Look(current.service, current.in_words(hopeless=False), ready=True)
        fault = self._readiness.fault(current)
        hopeless = bool(fault) and (
            current.ended
            or current.state in ("paused", "gone")
            or current.restarts > first.restarts
            or self._is_failing(current, new)
            # Not at every look, since Compose takes long to show a log.
            or (not self._looks % LOOKS_BETWEEN_LOGS and self._is_fatal(self._log_so_far(first)))
        )
        return _judged(current, new, hopeless=hopeless, fault=fault)

    def _answers(self, current: Container) -> bool:
        """Return whether the database takes connections, though the engine ended its last probe."""
        is_asked = current.service == self._database.name and current.state == "running"
        last = current.probes[-1:]
        return is_asked and any(probe.late for probe in last) and self._database.answers()

    def _is_failing(self, current: Container, new: Sequence[Probe]) -> bool:
        """Return whether the health check fails: twice at a start, since a reload may go on."""
        if current.health == "unhealthy" and new:
            return not new[-1].ok
        return len(new) > 1 and all(not p.ok and self._is_fatal(p.output) for p in new[-2:])

    def _is_fatal(self, text: str) -> bool:
        explanation = self._explain(text)
        return bool(explanation and explanation.fatal) or bool(_BROKEN.search(text))

    def _error(self, step: str, look: Look) -> NotReadyError:
        first = next(c for c in self._first.values() if c.service == look.service)
        ended = look.state.startswith("ended")
        log = self._new_log(first, whole=True) if ended else self._log_so_far(first)
        killed = "\nOOMKilled" if "out of memory" in look.state else ""
        cause = self._explain(look.output) or self._explain(log + killed)
        return not_ready(step, self._began, look, self._log(look.service), cause)

    def _is_new(self, first: Container) -> bool:
        """Return whether this ``up`` has started the container."""
        return 0 <= age(first) <= time.monotonic() - self._began

    def _log_so_far(self, first: Container) -> str:
        """Return the new log; of a server that stays silent, the end of the old one.

        Django's runserver waits for a correction, and says nothing, after a failure.
        """
        new = self._new_log(first)
        if new.strip() or time.monotonic() - self._watched < SECONDS_OF_SILENCE:
            return new
        return "\n".join(self._new_log(first, whole=True).splitlines()[-LINES_OF_LOG:])

    def _new_log(self, first: Container, *, whole: bool = False) -> str:
        """Return the log since this ``up`` began; with ``whole``, since the container started."""
        end = "" if whole else self._log_ends.get(first.id, "")
        new = self._log(first.service, "--since", end or first.started)
        if not end:  # of an earlier start of the container, no line counts
            return new
        return log_of_this_start(new.partition("\n")[2], self._log(first.service))

    def _log_end(self, container: Container) -> str:
        return self._log(container.service, "--timestamps", "--tail", "1").partition(" ")[0].strip()

    def _log(self, service: str, *since: str) -> str:
        options = ("--no-color", "--no-log-prefix", "--tail", LINES_READ, *since)
        return self._dc.ask("logs", *options, service).replace(ERASE_LINE, "")


def _judged(container: Container, probes: Sequence[Probe], *, hopeless: bool, fault: str) -> Look:
    output = probes[-1].output if probes and not probes[-1].ok else ""
    state, has_health = container.in_words(hopeless=hopeless), container.is_checked
    state = fault if fault and container.state == "running" and not has_health else state
    return Look(container.service, state, not fault, has_health, hopeless, output)
