"""The services in docker mode, run by Compose."""

import contextlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from composed.data.connection import recorded
from composed.docker import engine
from composed.docker.compose import EVERY_PROFILE, Compose
from composed.docker.database import DatabaseService
from composed.docker.only_copy import asked_of_container, written_in
from composed.docker.store import check_owners, down_with_volumes
from composed.docker.volatile import volatile
from composed.ports.published import url_of
from composed.stack import BuildOptions, Runner, Service, Stack, UpOptions
from composed.terminal import ERASE_LINE, is_plain, say


class ComposeRunner(Runner):
    """Starts, shows and stops services with ``docker compose``."""

    def __init__(self, stack: Stack, dc: Compose, database: DatabaseService) -> None:
        self._stack, self._dc, self._database = stack, dc, database

    def up(self, options: UpOptions) -> list[Service]:
        return self._up(options)

    def restart(self, options: UpOptions) -> list[Service]:
        """Recreate the containers: ``docker compose restart`` would keep the old settings."""
        if not options.services and (strays := self._strays()):
            options = replace(options, services=[*self._dc.services(), *strays])
        return self._up(options, "--force-recreate")

    def down(self, *, volumes: bool = False) -> int:
        """Only stop a database whose data would end with the container."""
        if volumes:
            check_owners(self._dc, self._stack.name)
        elif any(found := self._with_data()):
            return self._down_without(*found)
        with self._stack.locked(), self._stack.stopping():
            if volumes:
                return down_with_volumes(self._dc, self._stack.name, strays=self._strays())
            if strays := self._strays():
                self._dc.run_or_end("rm", "--stop", "--force", *strays)
            return self._dc.run("down", "--remove-orphans")

    def _with_data(self) -> tuple[set[str], set[str]]:
        """Return the services whose containers have data that nothing else has, and that may."""
        backend = self._stack.project.backend
        found = volatile(self._stack.gateway, self._stack.name, backend)
        if any(one.service == backend for one in found):  # a volume of the file may have no name
            own = {mount.target for mount in self._dc.model().service(backend).mounts}
            found = [one for one in found if one.service != backend or one.path not in own]
        kept, path = {one.service for one in found}, asked_of_container(self._stack, self._dc)
        kept |= {one.service for one in self._orphans() if written_in(self._dc, [one.container])}
        if path is None:
            return kept, {backend} - kept
        return kept | ({backend} if path else set()), set()

    def _orphans(self) -> list[Service]:
        """Return the services that have left the Compose file."""
        found, active = self.ps(), self._dc.model().services
        if all(service.service in active for service in found):
            return []
        known = {*self._dc.services(EVERY_PROFILE)}
        return [service for service in found if service.service not in known]

    def _down_without(self, kept: set[str], unknown: set[str]) -> int:
        lasting, gone = kept | unknown, self._orphans()
        known = {service.service for service in self.ps()} - {service.service for service in gone}
        others = sorted(known - lasting)
        with self._stack.locked(), self._stack.stopping():
            if others:
                self._dc.run_or_end("rm", "--stop", "--force", *others)
            if stopped := sorted(lasting & known):
                self._dc.run_or_end("stop", *stopped)
            self._end_orphans(gone, lasting)
        if kept:
            say(
                f"Stopped, but not removed: {', '.join(sorted(kept))}. The Compose file names no "
                "volume for the data, which would end with the container.\n"
                "  To remove the data too: inv down --volumes"
            )
        for name in unknown:
            say(
                f"Stopped, but not removed: {name}. Django gives no answer, so its database may be "
                "a SQLite file that only this container has.\n"
                f"  To remove the container too: inv dc -- rm --force {name}"
            )
        return 0

    def _end_orphans(self, orphans: Sequence[Service], kept: set[str]) -> None:
        """Stop the containers of services that have left the file, and remove all but the kept.

        By their ids: Compose knows no such service.
        """
        if ids := [service.container for service in orphans]:
            self._dc.output(["docker", "stop", *ids], effect=True)
        if ids := [service.container for service in orphans if service.service not in kept]:
            self._dc.output(["docker", "rm", *ids], effect=True)

    def ps(self) -> list[Service]:
        lines = self._dc.ask("ps", "--all", "--format", "json")
        kept = recorded(self._stack)
        return parse_ps(lines, self._stack.project.backend, kept[0].hosts if kept else ())

    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        self._dc.check(services)  # Compose ends with 0 and shows nothing for an unknown service
        if not services and (strays := self._strays()):
            services = [*self._dc.services(), *strays]
        options = ["--follow"] if follow else []
        options += ["--tail", tail] if tail else []
        options += ["--since", since] if since else []
        # Compose 2.26 writes the code before every line, for a terminal or not.
        plain = is_plain() or not sys.stdout.isatty()
        without = ERASE_LINE.encode() if plain else b""
        return self._dc.run("logs", *options, *services, without=without)

    def build(self, options: BuildOptions, /) -> int:
        from composed.docker.images import recipe  # noqa: PLC0415  # few verbs need it

        words = ["--pull"] if options.pull else []
        words += ["--no-cache"] if options.no_cache else []
        code = self._dc.run("build", *words, env=recipe(self._dc.model()).label)
        if code and (error := engine.buildx_problem(self._stack.gateway)):
            raise error
        return code

    def _strays(self) -> list[str]:
        return self._dc.strays(service.service for service in self.ps())

    def _up(self, options: UpOptions, *recreate: str) -> list[Service]:
        from composed.docker.start import Start  # noqa: PLC0415  # `inv ps` does not need it

        start = Start(self._stack, self._dc, self._database, options)
        if recreate:
            start.check_renewal()
        with self._stack.locked():
            if self._stack.stop_mark.exists():  # the services still seem to run
                self._dc.run_or_end("stop")
                self._stack.gateway.remove(self._stack.stop_mark)
            with self._stack.stopping() if recreate else contextlib.nullcontext():
                code = start.run(*recreate)
            self._stack.clean_up()  # a killed restore may have left the database closed
        # While the backend loads; a server that migrates at its start would be in the way.
        first = options.migrate and not start.migrates
        if options.migrate and first:
            code = start.migrate(options.migrate, code)
        if code:
            raise start.error(code)
        services = start.wait()
        if options.migrate and not first:
            options.migrate()
        self._stack.clean_up()  # of a database that has only now recovered from a power cut
        return services


def parse_ps(lines: str, backend: str, hosts: Collection[str] = ()) -> list[Service]:
    """Return the services of ``docker compose ps --format json``; ``backend`` gets a URL.

    For ``hosts`` see :func:`url_of`.
    """
    rows = (json.loads(line) for line in lines.splitlines() if line.strip())
    lasting = [_service(row, backend, hosts) for row in rows if "oneoff=True" not in row["Labels"]]
    return sorted(lasting, key=lambda service: service.service)


def _service(row: Mapping[str, object], backend: str, hosts: Collection[str]) -> Service:
    publishers = row.get("Publishers")
    rows = publishers if isinstance(publishers, list) else []
    # IPv4 last: a port on every address has a row for IPv6 too, which must not win.
    ports = {
        port["TargetPort"]: f"{port['URL']}:{port['PublishedPort']}"
        for port in sorted(rows, key=lambda port: ":" not in port["URL"])
        if port["PublishedPort"]
    }
    tcp = {port["TargetPort"] for port in rows if port.get("Protocol", "tcp") == "tcp"}
    web = sorted(tcp & ports.keys(), key=_of_no_server)
    name = str(row["Service"])
    return Service(
        service=name,
        state=str(row["State"]),
        health=str(row["Health"]),
        age=str(row["RunningFor"]).removesuffix(" ago"),
        ports=ports,
        url=url_of(ports[web[0]], hosts) if name == backend and web else "",
        container=str(row.get("ID", "")),
    )


def _of_no_server(port: int) -> tuple[bool, bool, int]:
    """Order ports: first those that are usual for Django, last the one of debugpy."""
    return port not in (8000, 80, 8080), port == 5678, port
