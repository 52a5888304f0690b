"""The Docker Engine as this machine has it: set up, answering, new enough, with room."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from composed.errors import EngineError
from composed.findings import Finding
from composed.gateway import NOT_FOUND, Answer, Gateway

__all__ = [
    "COMPOSE_FLOOR",
    "ENGINE_FLOOR",
    "disk_problem",
    "findings",
    "is_rootless",
    "is_set_up",
    "problem",
]

# `!reset` in an override file works from here on.
COMPOSE_FLOOR = (2, 24, 4)
# `start_interval` of a health check does.
ENGINE_FLOOR = (25,)
BYTES_NEEDED = 50_000_000

INSTALL_ENGINE = "Install it: https://docs.docker.com/engine/install"
INSTALL_COMPOSE = "Install it: https://docs.docker.com/compose/install"

WITHOUT = "Without it, on SQLite: COMPOSED_MODE=local inv up"

_SOCKETS = ("/var/run/docker.sock", "~/.docker/run/docker.sock", "$XDG_RUNTIME_DIR/docker.sock")


def is_set_up(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether this machine means to have an engine, answering or not.

    A lone ``docker`` client says nothing; a socket, ``dockerd``, ``DOCKER_HOST``
    or a context other than the default does.
    """
    if not shutil.which("docker"):
        return False
    return bool(
        environ.get("DOCKER_HOST")
        or environ.get("DOCKER_CONTEXT", "default") != "default"
        or shutil.which("dockerd")
        or any(_is_there(name) for name in _SOCKETS)
        or _current_context(environ) != "default"
    )


def _is_there(name: str) -> bool:
    """Say whether a socket is; not in another user's folder, or without a home."""
    try:
        return Path(os.path.expandvars(name)).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def _current_context(environ: Mapping[str, str]) -> str:
    """Return the context that ``docker context use`` chose, from the client's own file."""
    try:
        folder = Path(environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return "default"
    return str(config.get("currentContext") or "default")


def is_rootless(gateway: Gateway) -> bool:
    """Say whether the engine runs rootless, so that a container's 0 is the caller.

    One that does not answer now is told by where its socket is.
    """
    info = gateway.ask(["docker", "info", "--format", "{{.SecurityOptions}}"])
    if info.code == 0:
        return "name=rootless" in info.out
    context = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    host = os.environ.get("DOCKER_HOST") or gateway.ask(context).out
    return host.startswith("unix:///run/user/")


def problem(gateway: Gateway) -> EngineError | None:
    """Return what is wrong with the engine or Compose, or None when both answer.

    Asked after a failure, so that a verb that works pays nothing for it.
    """
    engine = gateway.ask(["docker", "version", "--format", "{{.Server.Version}}"])
    return _engine_problem(engine) or _compose_problem(gateway)


def findings(gateway: Gateway) -> list[Finding]:
    """Return how the engine, Compose and the engine's disk are, for ``inv doctor``."""
    engine = gateway.ask(["docker", "version", "--format", "{{.Server.Version}}"])
    if error := _engine_problem(engine):
        return [Finding.of("Docker Engine", error)]
    compose = _compose_version(gateway)
    return [
        Finding("Docker Engine", "ok", engine.out.strip()),
        Finding.of("Compose", _compose_problem(gateway), compose),
        Finding.of("disk of the engine", disk_problem(gateway)),
    ]


def _engine_problem(answer: Answer) -> EngineError | None:
    if answer.code == NOT_FOUND:
        return EngineError("There is no docker command here.", WITHOUT, INSTALL_ENGINE)
    if answer.code:
        return _silent(answer.err)
    if _numbers(answer.out) < ENGINE_FLOOR and _numbers(answer.out):
        floor = _dotted(ENGINE_FLOOR)
        said = f"The Docker Engine is {answer.out.strip()}; {floor} is the oldest."
        return EngineError(said, INSTALL_ENGINE)
    return None


def _silent(err: str) -> EngineError:
    reason = (err.strip().splitlines() or ["no reason given"])[-1]
    if "permission denied" in err.lower():
        return EngineError(f"The Docker Engine refuses you: {reason}", WITHOUT, _permit(os.environ))
    return EngineError(f"The Docker Engine does not answer: {reason}", WITHOUT, _cure(os.environ))


def _permit(environ: Mapping[str, str]) -> str:
    """Return how to be let in: your own engine, the group, or a new login."""
    own = Path(environ.get("XDG_RUNTIME_DIR") or "/nowhere") / "docker.sock"
    if _is_there(str(own)) and environ.get("DOCKER_HOST") != f"unix://{own}":
        return "Your own engine runs rootless; take it: docker context use rootless"
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return "No group may use it: ask root, with sudo, or install it rootless"
    if group.gr_gid in os.getgroups():
        return "You are in its group; see who may use the socket: ls -l /var/run/docker.sock"
    if _user() in group.gr_mem:
        return "You are in its group since your last login; log in again, or type: newgrp docker"
    return "Join its group, then log in again: sudo usermod -aG docker $USER"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, as in many containers
        return ""


def _cure(environ: Mapping[str, str]) -> str:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        if value := environ.get(name):
            return f"{name} is {value!r}: start that engine, or unset {name}"
    if (context := _current_context(environ)) != "default":
        return f"The context is {context!r}: start that engine, or: docker context use default"
    return "Start it: sudo systemctl start docker (or Docker Desktop)"


def _compose_version(gateway: Gateway) -> str:
    compose = gateway.ask(["docker", "compose", "version", "--short"])
    return "" if compose.code else compose.out.strip()


def _compose_problem(gateway: Gateway) -> EngineError | None:
    found = _compose_version(gateway)
    if not found and (alone := gateway.ask(["docker-compose", "version", "--short"]).out.strip()):
        said = f"Compose is here as docker-compose alone ({alone}); it has to be Docker's plugin."
        return EngineError(said, INSTALL_COMPOSE)
    if not found:
        return EngineError("Docker has no Compose plugin (docker compose).", INSTALL_COMPOSE)
    if _numbers(found) < COMPOSE_FLOOR:
        return EngineError(
            f"Compose is {found}; {_dotted(COMPOSE_FLOOR)} is the oldest.", INSTALL_COMPOSE
        )
    return None


def disk_problem(gateway: Gateway) -> EngineError | None:
    """Return that the engine's disk is full, where it is one of this machine's."""
    root = gateway.ask(["docker", "info", "--format", "{{.DockerRootDir}}"]).out.strip()
    if not root or not _is_here(os.environ):
        return None
    try:
        free = shutil.disk_usage(root).free
    except OSError:  # in a virtual machine, or not ours to look at
        return None
    if free >= BYTES_NEEDED:
        return None
    said = f"The disk of the Docker Engine ({root}) is full: {free // 1_000_000} MB are free."
    return EngineError(said, "See what takes it: docker system df")


def _is_here(environ: Mapping[str, str]) -> bool:
    """Say whether the engine is asked through a socket of this machine."""
    host = environ.get("DOCKER_HOST") or "unix://"
    context = environ.get("DOCKER_CONTEXT") or _current_context(environ)
    return host.startswith("unix://") and context in ("default", "rootless")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
