"""The reason why an image cannot be pulled, from a second try after Compose has failed."""

import re

from composed.docker.model import Model
from composed.errors import EngineError
from composed.gateway import Gateway

BUILD_FAILED, PULL_FAILED = 17, 18  # exit codes of Compose

# A pattern for Docker's reason, our words, and the cure; the first match counts.
_REASONS = (
    (
        r"toomanyrequests|rate limit|429",
        "its registry's limit is reached",
        "Raise it: docker login, then inv up; or wait for an hour",
    ),
    (
        r"denied|unauthorized|authentication required|403|401",
        "its registry refuses access, or has no such image",
        "Check the name, or log in: docker login",
    ),
    (
        r"manifest unknown|not found|no such manifest|404|invalid reference",
        "there is no such image",
        "Correct its name, then type: inv up",
    ),
    (r"no space left", "the disk is full", "See its contents: docker system df"),
    (
        r"no such host|dial tcp|timeout|TLS handshake|connection|network|EOF|lookup",
        "its registry cannot be reached",
        "Check the network, then type: inv up",
    ),
)


def pull_problem(gateway: Gateway, model: Model, code: int) -> EngineError | None:
    """Return an error for the first image of the model that is missing and cannot be pulled.

    ``code`` is the exit code of Compose. After a failed pull the images are pulled again;
    after a failed build the registry is only asked for the base images.
    """
    services = model.services.values()
    if code == PULL_FAILED:
        names = [service.image for service in services if service.image and not service.build]
        command = ["docker", "pull", "--quiet"]
    elif code == BUILD_FAILED and not _has_mirror(gateway):
        bases = [
            base for service in services if service.build for base in service.build.read().images
        ]
        names = [base for base in bases if "$" not in base]
        command = ["docker", "manifest", "inspect"]
    else:
        return None
    for name in dict.fromkeys(names):
        if gateway.ask(["docker", "image", "inspect", "--format", "{{.Id}}", name]).code:
            answer = gateway.ask([*command, name])
            if answer.code:
                return _error(name, answer.err.strip().removeprefix("Error response from "))
    return None


def _error(name: str, reason: str) -> EngineError:
    for pattern, words, cure in _REASONS:
        if re.search(pattern, reason, re.IGNORECASE):
            return EngineError(f"The image {name} cannot be pulled: {words}.", reason, cure)
    return EngineError(f"The image {name} cannot be pulled.", reason)


def _has_mirror(gateway: Gateway) -> bool:
    """Return whether the engine reaches registries by a mirror or a proxy of its own."""
    ways = "{{.RegistryConfig.Mirrors}}{{.HTTPProxy}}{{.HTTPSProxy}}"
    return gateway.ask(["docker", "info", "--format", ways]).out.strip() not in ("", "[]")
