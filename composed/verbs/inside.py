"""The verbs that run commands inside the stack: of Django, a shell, a database client."""

import os
import re
import sys

from invoke import Context, task

from composed.errors import EngineError, SettingError, ValueWrongError, end_with
from composed.modes import prepare_stack
from composed.stack import Stack

SUPERUSER = ("DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD")
NO_INPUT = {"--noinput", "--no-input"}


@task(
    auto_shortflags=False,  # a slip would cost data
    help={
        "app": "Only this app.",
        "name": "Up to this migration of the app; zero takes all back.",
        "plan": "Show the plan; apply nothing.",
        "check": "End with 1 when migrations are pending; change nothing.",
        "no-snapshot": "Take no snapshot first.",
        "rollback-on-failure": "Restore that snapshot when a migration fails.",
    },
)
def migrate(
    c: Context,
    app: str = "",
    name: str = "",
    plan: bool = False,
    check: bool = False,
    no_snapshot: bool = False,
    rollback_on_failure: bool = False,
) -> None:
    """Apply the migrations, after a snapshot; words after -- go to Django unchanged."""
    from composed.data import migrate as data

    if name and not app:
        problem = f"--name {name} needs its app."
        raise ValueWrongError(problem, f"Type: inv migrate --app APP --name {name}")
    if no_snapshot and rollback_on_failure:
        raise ValueWrongError("--rollback-on-failure needs the snapshot: leave out --no-snapshot.")
    words = [app, name, "--plan" if plan else "", "--check" if check else ""]
    arguments = [*filter(None, words), *after_dashes()]
    stack = prepare_stack(c)
    data.migrate(stack, arguments, safety=not no_snapshot, rollback=rollback_on_failure)


@task(
    help={
        "app": "Only this app.",
        "check": "End with 1 when migrations are missing; write nothing.",
    }
)
def makemigrations(c: Context, app: str = "", check: bool = False) -> None:
    """Write migrations for changed models; the files belong to the tree's owner."""
    words = [app] if app else []
    words += ["--check", "--dry-run"] if check else []
    if not sys.stdin.isatty():
        words.append("--noinput")  # else a question of Django ends in a traceback
    end_with(prepare_stack(c).inside.manage_as_owner("makemigrations", *words, *after_dashes()))


@task
def manage(c: Context) -> None:
    """Run the management command after --, with its arguments."""
    words = after_dashes()
    if not words:
        raise ValueWrongError("No management command.", "Type: inv manage -- help")
    if words[0] == "test":  # else Django asks about the database that a killed run left
        words.insert(1, "--noinput")
    end_with(prepare_stack(c).inside.manage_as_owner(*words))


@task
def createsuperuser(c: Context) -> None:
    """Make an administrator: asks, or takes DJANGO_SUPERUSER_* without a terminal."""
    stack = prepare_stack(c)
    given = {name: os.environ[name] for name in SUPERUSER if name in os.environ}
    own = after_dashes()
    words = ["createsuperuser", *own]
    if not sys.stdin.isatty() and not NO_INPUT.intersection(own):
        options = {word.partition("=")[0] for word in own}
        missing = [name for name in SUPERUSER if not given.get(name)]
        if missing := [name for name in missing if _option(name) not in options]:
            cure = f"Type: {' '.join(f'{name}=…' for name in SUPERUSER)} inv createsuperuser"
            raise SettingError(f"Without a terminal, {' and '.join(missing)} must be set.", cure)
        # A command of the project's own may not ask, nor know the option.
        words += _noinput(stack) if stack.follows_django else ["--noinput"]
    end_with(stack.inside.manage(*words, env=given))


@task(
    help={
        "service": "Another service than the backend.",
        "django": "Django's Python shell instead of bash.",
    }
)
def shell(c: Context, service: str = "", django: bool = False) -> None:
    """Open bash in the running backend, or run the words after --."""
    stack = prepare_stack(c)
    words = after_dashes()
    if django:
        code = stack.inside.django_shell(words)
    else:
        code = stack.inside.shell(service or stack.project.backend, words or ["bash"])
    end_with(code)


@task(help={"command": "Run this SQL and end."})
def dbshell(c: Context, command: str = "") -> None:
    """Open psql at the stack's database; words after -- go to psql."""
    end_with(prepare_stack(c).inside.dbshell(after_dashes(), command))


@task
def dc(c: Context) -> None:
    """Run Compose itself on this stack, with the words after --."""
    words = after_dashes()
    if not words:
        raise ValueWrongError("No Compose command.", "Type: inv dc -- help")
    compose = prepare_stack(c).compose
    if compose is None:
        problem = "This stack runs without Docker: local mode."
        raise EngineError(problem, "Change over: inv down, then COMPOSED_MODE=docker inv up")
    end_with(compose(words))


def _option(variable: str) -> str:
    """Return the option of `createsuperuser` that takes the place of a variable."""
    return "--" + variable.rpartition("_")[2].lower()


def _noinput(stack: Stack) -> list[str]:
    """Return the option of `createsuperuser` that forbids questions, as its help writes it."""
    shown = stack.inside.ask_one_off("createsuperuser", "--help").out
    return re.findall(r"--no-?input\b", shown)[:1]  # every command has --no-color


def after_dashes() -> list[str]:
    """Return the words after the first ``--``; Invoke's own remainder loses their quotes."""
    words = sys.argv
    return words[words.index("--") + 1 :] if "--" in words else []
