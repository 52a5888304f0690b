"""The choice of the mode, and the making of the stack: every verb begins here."""

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

# By name, since a verb imports one stack alone, and `inv ps` is quick.
STACKS = {"docker": "DockerStack", "local": "LocalStack"}


def prepare_stack(c: Context, *, make_env: bool = False) -> Stack:
    """Return the stack of the project; write the env file and remove leftovers where necessary.

    With ``make_env``, a missing or incomplete env file is completed first; in a copied folder
    every verb does so, since a copy must not act on the stack of the original. Raises
    :class:`SettingError` for a missing setting, :class:`EngineError` without an engine in CI.
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
    """Return the stack and change nothing; raises the errors of :func:`prepare_stack`.

    ``drafts`` are texts of env files that a dry run did not write.
    """
    settings = load_settings(project, drafts=drafts or {})
    settings.check()
    recorded = recorded_mode(project, settings)
    if recorded == "docker" and settings["COMPOSED_MODE"] == "local" and engine.problem(gateway):
        recorded = ""  # the way out when the engine is gone
    mode = choose_mode(settings, recorded=recorded)
    backend = database = None
    if mode == "docker" and not (project.backend and project.database):
        from composed.docker.compose import Compose  # noqa: PLC0415  # costs a question to Compose

        model = Compose(gateway, settings.files).model()
        backend, database = model.backend_service(), model.database_service()
    project = project.with_services(backend, database)
    kind: type[Stack] = getattr(import_module(f"composed.{mode}.stack"), STACKS[mode])
    return kind(project, settings, gateway)


def gateway_of(c: Context) -> Gateway:
    """Return the gateway for the project, with ``inv --dry`` and ``inv --echo`` applied."""
    run = c.config.run
    return Gateway(Project.of(c).root, dry=bool(run.dry), echo=bool(run.echo))


def choose_mode(
    settings: Settings, *, recorded: str = "", environ: Mapping[str, str] = os.environ
) -> str:
    """Return the ``recorded`` mode; else the mode that ``COMPOSED_MODE`` asks for.

    ``auto`` is docker mode wherever an engine is set up, answering or not, so that nobody gets
    an empty SQLite file by surprise; elsewhere local mode, but in CI :class:`EngineError`.
    Raises :class:`SettingError` when the setting contradicts the record.
    """
    asked = settings["COMPOSED_MODE"]
    if recorded and asked not in ("auto", recorded):
        problem = f"COMPOSED_MODE is {asked!r}, but this stack runs in {recorded} mode."
        raise SettingError(problem, f"End it first: COMPOSED_MODE={recorded} inv down")
    if asked != "auto" or recorded:
        return recorded or asked
    if engine.is_set_up(environ):
        return "docker"
    if environ.get("CI") == "true":
        problem = "No Docker Engine is set up here, and CI=true takes nothing else unasked."
        raise EngineError(problem, "On SQLite: COMPOSED_MODE=local inv up")
    return "local"


def recorded_mode(project: Project, settings: Settings) -> str:
    """Return the mode that the last ``up`` recorded and no ``down`` has removed, else ""."""
    try:
        mode = (project.folder(settings["COMPOSE_PROJECT_NAME"]) / "mode").read_text()
    except OSError:
        return ""
    return mode if mode in STACKS else ""


def complete_settings(project: Project, gateway: Gateway, *, talk: bool = False) -> dict[Path, str]:
    """Make or complete the first env file and say so; return the text in a dry run.

    With ``talk``, a file that is complete already is mentioned too.
    """
    # Most verbs make nothing, and `secrets` takes a while to import.
    from composed.env.file import complete_env, generated, settle, write_env  # noqa: PLC0415

    def make() -> dict[str, str]:
        return generated(project, rootless=engine.is_rootless(gateway))

    file, original = env_files(project)[0], copies.original(project)
    before = read_text(file) if file.exists() else None
    text, names = complete_env(project, file, make)
    text, changed = settle(project, original, text, make)
    done = f"{'Made' if before is None else 'Completed'} {file.name}: {', '.join(names)}"
    completed = before is None or bool(names)
    if gateway.dry:
        if completed:
            say(f"Not in a dry run: {done}")
        return {file: text}
    if text != before and write_env(file, text):
        if original:
            own = assignments(text)["COMPOSE_PROJECT_NAME"]
            say(f"A copy of {original}: it gets {own} as its stack ({', '.join(changed)} changed).")
        if completed:
            say(done)
    elif talk:
        say(f"{file.name} is complete. Check it: inv env --check")
    return {}
