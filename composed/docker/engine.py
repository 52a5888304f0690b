"""The Docker Engine and Compose on this machine, and the errors where they cannot be used."""

import grp
import os
import pwd
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from composed.errors import EngineError
from composed.findings import Finding
from composed.gateway import NOT_FOUND, Answer, Gateway
from composed.records import read_object

COMPOSE_FLOOR = "2.24.4"  # the first with `!reset` in an override file
ENGINE_FLOOR = "25"  # the first with `start_interval` of a health check
# From this Compose on, a build needs that Buildx.
COMPOSE_WITH_FLOOR, BUILDX_FLOOR = "2.40.2", "0.17"
BYTES_NEEDED = 50_000_000
INSTALL_ENGINE = "Install it: https://docs.docker.com/engine/install"
INSTALL_COMPOSE = "Install it: https://docs.docker.com/compose/install"
INSTALL_BUILDX = "Install it: https://docs.docker.com/build/install-buildx"
WITHOUT = "Without it, on SQLite: COMPOSED_MODE=local inv up"
PODMAN = "Podman Engine"  # the name of a component in `docker version`
_SOCKETS = ("/var/run/docker.sock", "~/.docker/run/docker.sock", "$XDG_RUNTIME_DIR/docker.sock")


def is_set_up(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this machine is meant to have an engine, answering or not.

    The ``docker`` command alone is no sign; with a socket, ``dockerd``, ``DOCKER_HOST``
    or a context other than the default there is an engine.
    """
    if not shutil.which("docker"):
        return False
    return bool(
        environ.get("DOCKER_HOST")
        or environ.get("DOCKER_CONTEXT", "default") != "default"
        or shutil.which("dockerd")
        or any(_exists(name) for name in _SOCKETS)
        or _current_context(environ) != "default"
    )


def _exists(name: str) -> bool:
    """Return whether a socket exists; False in another user's folder, or without a home."""
    try:
        return Path(os.path.expandvars(name)).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def _current_context(environ: Mapping[str, str]) -> str:
    """Return the context that ``docker context use`` chose, from the file of the client."""
    try:
        folder = Path(environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
        config = read_object(folder / "config.json")
    except (OSError, ValueError, RuntimeError):
        return "default"
    return str(config.get("currentContext") or "default")


def is_rootless(gateway: Gateway) -> bool:
    """Return whether the engine runs rootless, so that user 0 of a container is the caller.

    The path of the socket decides for an engine that does not answer.
    """
    info = gateway.ask(["docker", "info", "--format", "{{.SecurityOptions}}"])
    if info.code == 0:
        return "name=rootless" in info.out
    context = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    host = os.environ.get("DOCKER_HOST") or gateway.ask(context).out
    return host.startswith("unix:///run/user/")


def problem(gateway: Gateway) -> EngineError | None:
    """Return the fault of the engine or of Compose, None when both answer and are new enough."""
    return _engine_problem(gateway, _engine_version(gateway)) or _compose_problem(gateway)


def findings(gateway: Gateway) -> list[Finding]:
    """Return the findings on the engine, Compose and the engine's disk."""
    engine = _engine_version(gateway)
    if error := _engine_problem(gateway, engine):
        return [Finding.of("Docker Engine", error)]
    return [
        Finding("Docker Engine", "ok", engine.out.strip()),
        Finding.of("Compose", _compose_problem(gateway), _compose_version(gateway)),
        *([Finding.of("Buildx", error)] if (error := buildx_problem(gateway)) else []),
        Finding.of("disk of the engine", disk_problem(gateway)),
    ]


def _engine_version(gateway: Gateway) -> Answer:
    return gateway.ask(["docker", "version", "--format", "{{.Server.Version}}"])


def _engine_problem(gateway: Gateway, answer: Answer) -> EngineError | None:
    if answer.code == NOT_FOUND:
        return EngineError("There is no docker command here.", WITHOUT, INSTALL_ENGINE)
    reason = (answer.err.strip().splitlines() or ["no reason given"])[-1]
    if answer.code and "permission denied" in answer.err.lower():
        return EngineError(f"The Docker Engine refuses access: {reason}", WITHOUT, _way_in())
    if answer.code:
        return EngineError(f"The Docker Engine does not answer: {reason}", WITHOUT, _way_to_start())
    version = answer.out.strip()
    if (numbers := _numbers(version)) and numbers < _numbers(ENGINE_FLOOR):
        if _is_podman(gateway):
            return EngineError(_podman_text(version), WITHOUT, _way_from_podman())
        text = f"The Docker Engine is {version}; the oldest that works is {ENGINE_FLOOR}."
        return EngineError(text, INSTALL_ENGINE)
    return None


def _is_podman(gateway: Gateway) -> bool:
    """Return whether Podman answers in place of an engine.

    Asked only of a version that is too low, as each of Podman is: Compose compares the version of
    the API, which Podman has from before Docker Engine 25.
    """
    return PODMAN in gateway.ask(["docker", "version"]).out


def _podman_text(version: str) -> str:
    return f"The engine is Podman {version}, not Docker Engine: Podman is not supported."


def _way_from_podman() -> str:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        if os.environ.get(name):
            return f"With a Docker Engine on this machine: unset {name}"
    if (context := _current_context(os.environ)) != "default":
        return f"The context is {context!r}; with a Docker Engine: docker context use default"
    return INSTALL_ENGINE


def _way_in() -> str:
    own = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere") / "docker.sock"
    if _exists(str(own)) and os.environ.get("DOCKER_HOST") != f"unix://{own}":
        return "Your own engine runs rootless; use it: docker context use rootless"
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return "No group has access: use sudo, or install a rootless engine"
    if group.gr_gid in os.getgroups():
        return "You are in its group; see who may use the socket: ls -l /var/run/docker.sock"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, as in many containers
        user = ""
    if user in group.gr_mem:
        return "You are in its group since your last login; log in again, or type: newgrp docker"
    return "Join its group, then log in again: sudo usermod -aG docker $USER"


def _way_to_start() -> str:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        if value := os.environ.get(name):
            return f"{name} is {value!r}: start that engine, or unset {name}"
    if (context := _current_context(os.environ)) != "default":
        return f"The context is {context!r}: start that engine, or: docker context use default"
    return "Start it: sudo systemctl start docker (or Docker Desktop)"


def _compose_version(gateway: Gateway) -> str:
    compose = gateway.ask(["docker", "compose", "version", "--short"])
    return "" if compose.code else compose.out.strip()


def _compose_problem(gateway: Gateway) -> EngineError | None:
    version = _compose_version(gateway)
    if version and _numbers(version) >= _numbers(COMPOSE_FLOOR):
        return None
    if version:
        text = f"Compose is {version}; the oldest that works is {COMPOSE_FLOOR}."
    elif old := gateway.ask(["docker-compose", "version", "--short"]).out.strip():
        text = f"Compose is installed only as docker-compose ({old}), not as Docker's plugin."
    else:
        text = "Docker has no Compose plugin (docker compose)."
    return EngineError(text, INSTALL_COMPOSE)


def buildx_problem(gateway: Gateway) -> EngineError | None:
    """Return the error for a Buildx with which this Compose builds no image.

    Debian 13 has such a pair beside a newer Compose: https://github.com/docker/compose/pull/13295
    """
    compose = _compose_version(gateway)
    if _numbers(compose) < _numbers(COMPOSE_WITH_FLOOR):
        return None
    version = gateway.ask(["docker", "buildx", "version"]).out
    found = re.search(r"\bv?(\d+\.\d+\.\d+)", version)
    if found and _numbers(found[1]) >= _numbers(BUILDX_FLOOR):
        return None
    seen = f"Buildx {found[1]}" if found else "no Buildx"
    problem = f"Compose {compose} builds only with Buildx {BUILDX_FLOOR} or newer; here is {seen}."
    return EngineError(problem, INSTALL_BUILDX)


def clock(gateway: Gateway) -> str:
    """Return the engine's time, as it writes times; "" where the engine does not answer."""
    return gateway.ask(["docker", "info", "--format", "{{.SystemTime}}"]).out.strip()


def disk_problem(gateway: Gateway) -> EngineError | None:
    """Return the error where the engine's disk is full; None for a disk of another machine."""
    root = gateway.ask(["docker", "info", "--format", "{{.DockerRootDir}}"]).out.strip()
    host = os.environ.get("DOCKER_HOST") or "unix://"
    context = os.environ.get("DOCKER_CONTEXT") or _current_context(os.environ)
    if not root or not host.startswith("unix://") or context not in ("default", "rootless"):
        return None
    try:
        free = shutil.disk_usage(root).free
    except OSError:  # a folder in a virtual machine, or without access
        return None
    if free >= BYTES_NEEDED:
        return None
    text = f"The disk of the Docker Engine ({root}) is full: {free // 1_000_000} MB are free."
    return EngineError(text, "See its contents: docker system df")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
