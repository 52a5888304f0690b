"""Why an image cannot be pulled: asked again after Compose has failed to."""

from __future__ import annotations

import re

from composed.docker.model import Model
from composed.errors import EngineError
from composed.gateway import Gateway

__all__ = ["BUILD_FAILED", "PULL_FAILED", "pull_problem"]

BUILD_FAILED, PULL_FAILED = 17, 18  # what Compose's exit codes mean

# Docker's words, ours and what to do; the first that matches.
_REASONS = (
    (
        r"toomanyrequests|rate limit|429",
        "its registry's limit is reached",
        "Raise it: docker login, then inv up; or wait for an hour",
    ),
    (
        r"denied|unauthorized|authentication required|403|401",
        "its registry refuses you, or has no such image",
        "Check the name, or show who you are: docker login",
    ),
    (
        r"manifest unknown|not found|no such manifest|404|invalid reference",
        "there is no such image",
        "Correct its name, then type: inv up",
    ),
    (r"no space left", "the disk is full", "See what takes it: docker system df"),
    (
        r"no such host|dial tcp|timeout|TLS handshake|connection|network|EOF|lookup",
        "its registry cannot be reached",
        "Check the network, then type: inv up",
    ),
)


def pull_problem(gateway: Gateway, model: Model, code: int) -> EngineError | None:
    """Return an error for the first image of the model that is missing and cannot be pulled.

    ``code`` is Compose's: what a failed pull wanted is pulled again, of what a
    failed build starts from the registry is asked alone. None when nothing is
    wrong with the images.
    """
    if code == PULL_FAILED:
        names = [s.image for s in model.services.values() if s.image and not s.build]
        return _first(gateway, names, ["docker", "pull", "--quiet"])
    if code == BUILD_FAILED and not _goes_round(gateway):
        builds = [service.build for service in model.services.values() if service.build]
        names = [name for build in builds for name in build.bases() if "$" not in name]
        return _first(gateway, names, ["docker", "manifest", "inspect"])
    return None


def _first(gateway: Gateway, names: list[str], command: list[str]) -> EngineError | None:
    for name in dict.fromkeys(names):
        if gateway.ask(["docker", "image", "inspect", "--format", "{{.Id}}", name]).code:
            answer = gateway.ask([*command, name])
            if answer.code:
                return _explained(name, answer.err.strip().removeprefix("Error response from "))
    return None


def _explained(name: str, reason: str) -> EngineError:
    for pattern, words, cure in _REASONS:
        if re.search(pattern, reason, re.IGNORECASE):
            return EngineError(f"The image {name} cannot be pulled: {words}.", reason, cure)
    return EngineError(f"The image {name} cannot be pulled.", reason)


def _goes_round(gateway: Gateway) -> bool:
    """Say whether the engine reaches registries by ways that the client does not know."""
    ways = "{{.RegistryConfig.Mirrors}}{{.HTTPProxy}}{{.HTTPSProxy}}"
    return gateway.ask(["docker", "info", "--format", ways]).out.strip() not in ("", "[]")
