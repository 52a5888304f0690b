"""The choice of the mode, and the making of the stack: every verb begins here."""

import os
import shlex
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from invoke import Context

from composed import files
from composed.docker import engine
from composed.docker.outside import Outside, outside
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
    every verb does so, since a copy must not act on the stack of the original. The env file of a
    project that does not ask for a name in ``.env.example`` is left alone. Raises
    :class:`SettingError` for a missing setting, :class:`EngineError` without an engine in CI.
    """
    project, gateway = Project.of(c), gateway_of(c)
    make_env = project.owns_env and (make_env or copies.original(project) is not None)
    drafts = complete_settings(project, gateway) if make_env else {}
    stack = open_stack(project, gateway, drafts)
    if not project.owns_env:  # else the name has a hash of the folder
        stack.check_owner()
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
    is_named, known = bool(project.database), Outside("", {})
    if mode == "docker" and not (project.backend and project.database):
        project = detected(project, settings, gateway)
    elif mode == "local" and not project.owns_env:
        known = outside(project, settings, gateway)
        project = project.with_services(known.backend)
    else:
        project = project.with_services()
    kind: type[Stack] = getattr(import_module(f"composed.{mode}.stack"), STACKS[mode])
    stack = kind(project, settings, gateway)
    stack.follows_django, stack.of_compose = not is_named, known.variables
    return stack


def detected(project: Project, settings: Settings, gateway: Gateway) -> Project:
    """Return the project with the services that its Compose model shows.

    Raises :class:`SettingError` where several services are equally likely.
    """
    from composed.docker import detection  # noqa: PLC0415  # costs a question to Compose
    from composed.docker.compose import compose_of  # noqa: PLC0415

    model = compose_of(project, settings, gateway).model()
    backends, databases = [project.backend], [project.database]
    if not project.backend:
        backends = detection.backends(model, project.base)
        _check_only(backends, "backend", "run Django")
    if not project.database:
        databases = detection.databases(model, "".join(backends))
        _check_only(databases, "database", "be the database of Django")
    return project.with_services("".join(backends), "".join(databases))


def _check_only(names: Sequence[str], key: str, role: str) -> None:
    if len(names) > 1:
        problem = f"Several services could {role}: {', '.join(names)}."
        cure = f'Name yours in pyproject.toml: [tool.composed] {key} = "{names[0]}"'
        raise SettingError(problem, cure)


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
    """Return the mode that the last ``up`` recorded and no ``down`` has removed, else "".

    Raises :class:`SettingError` for a record with another text, :class:`RefusedError` for a
    record that this user may not read.
    """
    file = project.folder(settings["COMPOSE_PROJECT_NAME"]) / "mode"
    try:
        mode = files.text(file)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except PermissionError as error:
        raise files.unusable(file, error, "read") from None
    except OSError as error:
        raise _odd_record(file, str(error.strerror)) from None
    if mode not in ("", *STACKS):  # empty after a power cut
        raise _odd_record(file, f"it has {mode[:40]!a}, which is no mode")
    return mode


def _odd_record(file: Path, fault: str) -> SettingError:
    problem = f"{file} does not record the mode of this stack: {fault}."
    return SettingError(problem, f"Type: rm -r {shlex.quote(str(file))}", "Then: inv up")


def complete_settings(project: Project, gateway: Gateway, *, talk: bool = False) -> dict[Path, str]:
    """Make or complete the first env file and say so; return the text in a dry run.

    With ``talk``, a file that is complete already is mentioned too.
    """
    # Most verbs make nothing, and `secrets` takes a while to import.
    from composed.env.file import complete_env, edit_env, generated, settle, stands  # noqa: PLC0415

    file = env_files(project)[0]
    original: Path | None = None
    added: list[str] = []
    changed: list[str] = []

    def make() -> dict[str, str]:
        return generated(project, rootless=engine.is_rootless(gateway))

    def completed(text: str | None) -> str:
        nonlocal original, added, changed
        original = copies.original(project)
        whole, added = complete_env(project, file, text, make)
        whole, changed = settle(project, original, whole, make)
        return whole

    if gateway.dry:
        before = read_text(file) if stands(file) else None
        after = completed(before)
    else:
        before, after = edit_env(file, completed)
    what = ", ".join(added) or f"a copy of {project.example.name}"
    done = f"{'Made' if before is None else 'Completed'} {file.name}: {what}"
    completes = before is None or bool(added)
    if gateway.dry:
        if completes:
            say(f"Not in a dry run: {done}")
        return {file: after}
    if changed and before != after:
        own = assignments(after)["COMPOSE_PROJECT_NAME"]
        say(f"A copy of {original}: it gets {own} as its stack ({', '.join(changed)} changed).")
    if completes:
        say(done)
    elif talk and before == after:
        say(f"{file.name} is complete. Check it: inv env --check")
    return {}
