"""Services of profiles that are not active: which these are, and what to type to start them."""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from composed.docker import detection
from composed.docker.compose import EVERY_PROFILE, Compose
from composed.docker.model import Model
from composed.env.settings import assignments, env_files
from composed.errors import ComposedError
from composed.project import Project, text_of

SETTING = "COMPOSE_PROFILES"


class Inactive(NamedTuple):
    """The services that no active profile has; ``model`` is of every profile, None if unknown."""

    names: tuple[str, ...] = ()
    model: Model | None = None
    active: tuple[str, ...] = ()
    copy: str = ""

    def cures(self, *services: str) -> list[str]:
        """Return what to type to start these services, beside the active ones."""
        if self.copy:
            return [f"Type: {self.copy}", "Then: inv up"]
        needed = self.model.with_dependencies([*self.active, *services]) if self.model else []
        chosen = dict.fromkeys(service.profiles[0] for service in needed if service.profiles)
        if not chosen:
            return [f"Type: {SETTING}=NAME inv up", "See the names: inv dc -- config --profiles"]
        return [f"Type: {SETTING}={shlex.quote(','.join(chosen))} inv up"]


def inactive(project: Project, dc: Compose, model: Model) -> Inactive:
    """Return the services that are not in ``model``, the one of the active profiles."""
    names = tuple(sorted({*dc.services(EVERY_PROFILE)}.difference(model.services)))
    if not names:
        return Inactive()
    return Inactive(names, _every(dc), tuple(model.services), _copy_of_example(project))


def _every(dc: Compose) -> Model | None:
    """Return the model of every profile; None where it needs files that are not there."""
    try:
        return dc.model(EVERY_PROFILE)
    except ComposedError:
        return None


def problem(project: Project, found: Inactive, name: str = "") -> tuple[str, list[str]]:
    """Return the fault of a service, or of all where none is active, and what to type."""
    if name in found.names:
        return f"Service {name!r} belongs to a profile that is not active", found.cures(name)
    backends = detection.backends(found.model, project.base) if found.model else []
    names = ", ".join(found.names)
    return f"Each service belongs to a profile that is not active: {names}", found.cures(*backends)


def _copy_of_example(project: Project) -> str:
    """Return the command that makes the missing env file, if the example names the profiles."""
    files = env_files(project)
    if project.owns_env or any(map(os.path.lexists, files)):
        return ""
    if not assignments(text_of(project.example)).get(SETTING):
        return ""
    return shlex.join(["cp", project.relative(project.example), project.relative(files[0])])
