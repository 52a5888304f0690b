"""Which mode the stack runs in, and the stack itself: where every verb begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from invoke import Context

from composed.docker import engine
from composed.env import copies
from composed.env.settings import Settings, assignments, env_files, load_settings, read_text
from composed.errors import EngineError, SettingError
from composed.gateway import Gateway
from composed.project import Project
from composed.stack import Stack
from composed.terminal import say

__all__ = [
    "choose_mode",
    "complete_settings",
    "gateway_of",
    "open_stack",
    "prepare_stack",
    "recorded_mode",
]


# By name, since a verb needs one of them and `inv ps` has to be quick.
STACKS = {"docker": "DockerStack", "local": "LocalStack"}


def prepare_stack(c: Context, *, make_env: bool = False) -> Stack:
    """Return the stack of the project whose ``tasks.py`` Invoke loaded.

    With ``make_env``, a missing or incomplete ``.env`` is made first; in a copied
    folder every verb does, so that none acts on the other's stack. Raises
    :class:`~composed.errors.SettingError` when settings are missing, and
    :class:`~composed.errors.EngineError` when there is nothing to run it on.
    """
    project, gateway = Project.of(c), gateway_of(c)
    make_env = make_env or copies.original(project) is not None
    drafts = complete_settings(project, gateway) if make_env else {}
    stack = open_stack(project, gateway, drafts)
    stack.clean_up()
    return stack


def open_stack(
    project: Project, gateway: Gateway, drafts: Mapping[Path, str] | None = None
) -> Stack:
    """Return the stack as it is, and change nothing; raises as :func:`prepare_stack` does."""
    settings = load_settings(project, drafts=drafts or {})
    settings.check()
    mode = choose_mode(settings, recorded=_reachable(project, settings, gateway))
    project = _with_services(project, settings, gateway, mode)
    stack: Stack = getattr(import_module(f"composed.{mode}.stack"), STACKS[mode])(
        project, settings, gateway
    )
    return stack


def _with_services(project: Project, settings: Settings, gateway: Gateway, mode: str) -> Project:
    """Return the project with the names of its services, from the Compose file if necessary."""
    if mode == "local" or (project.backend and project.database):
        return project.with_services()
    from composed.docker.compose import Compose  # noqa: PLC0415  # costs a question to Compose

    model = Compose(gateway, settings.files).model()
    return project.with_services(model.backend_service(), model.database_service())


def _reachable(project: Project, settings: Settings, gateway: Gateway) -> str:
    """Return the recorded mode; nothing where local mode is asked for since its engine is gone."""
    recorded = recorded_mode(project, settings)
    leaves = recorded == "docker" and settings["COMPOSED_MODE"] == "local"
    return "" if leaves and engine.problem(gateway) else recorded


def gateway_of(c: Context) -> Gateway:
    """Return the way to other processes, as ``inv --dry`` and ``inv --echo`` want it."""
    run = c.config.run
    return Gateway(Project.of(c).root, dry=bool(run.dry), echo=bool(run.echo))


def choose_mode(
    settings: Settings, *, recorded: str = "", environ: Mapping[str, str] = os.environ
) -> str:
    """Return the mode of the stack that runs; else the one that ``COMPOSED_MODE`` asks for.

    ``auto`` is Docker wherever an engine is set up, answering or not: nobody
    gets an empty SQLite file by surprise. Where none is, it is local mode, but
    not in CI, which would test something else than it says.
    """
    asked = settings["COMPOSED_MODE"]
    if recorded and asked not in ("auto", recorded):
        raise SettingError(
            f"COMPOSED_MODE is {asked!r}, but this stack runs in {recorded} mode.",
            f"End it first: COMPOSED_MODE={recorded} inv down",
        )
    if asked != "auto" or recorded:
        return recorded or asked
    if engine.is_set_up(environ):
        return "docker"
    if environ.get("CI") == "true":
        raise EngineError(
            "No Docker Engine is set up here, and CI=true takes nothing else unasked.",
            "On SQLite: COMPOSED_MODE=local inv up",
        )
    return "local"


def recorded_mode(project: Project, settings: Settings) -> str:
    """Return the mode that the last ``up`` wrote down and no ``down`` has removed."""
    try:
        mode = (project.folder(settings["COMPOSE_PROJECT_NAME"]) / "mode").read_text()
    except OSError:
        return ""
    return mode if mode in STACKS else ""


def complete_settings(project: Project, gateway: Gateway, *, talk: bool = False) -> dict[Path, str]:
    """Make or complete the first env file and say so; return the text in a dry run.

    With ``talk``, say also when there was nothing to do.
    """
    # Most verbs make nothing, and `secrets` takes a while to import.
    from composed.env.file import complete_env, generated, settle, write_env  # noqa: PLC0415

    def make() -> dict[str, str]:
        return generated(project, rootless=engine.is_rootless(gateway))

    file, there = env_files(project)[0], copies.original(project)
    before = read_text(file) if file.exists() else None
    text, names = complete_env(project, file, make)
    text, changed = settle(project, there, text, make)
    done = f"{'Made' if before is None else 'Completed'} {file.name}: {', '.join(names)}"
    if gateway.dry:
        if before is None or names:
            say(f"Not in a dry run: {done}")
        return {file: text}
    if text != before and write_env(file, text):
        if there:
            own = assignments(text)["COMPOSE_PROJECT_NAME"]
            say(f"A copy of {there}: it gets {own} as its stack ({', '.join(changed)} changed).")
        if before is None or names:
            say(done)
    elif talk:
        say(f"{file.name} is complete. Check it: inv env --check")
    return {}
