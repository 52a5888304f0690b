"""Django's own commands, run beside the backend."""

from __future__ import annotations

import os
import sys

from invoke import Context, task

from composed.errors import SettingError, ValueWrongError, end_with
from composed.modes import prepare_stack
from composed.verbs.arguments import after_dashes

SUPERUSER = ("DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD")


@task(
    auto_shortflags=False,  # a slip would cost data
    help={
        "app": "Only this app.",
        "name": "Up to this migration of the app; zero takes all back.",
        "plan": "Show what would be done.",
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
    """Apply the migrations, after a snapshot; what follows -- goes to Django as it is."""
    from composed.data.migrate import migrate as migrate_after_snapshot

    if name and not app:
        raise ValueWrongError(
            f"--name {name} needs its app.", f"Type: inv migrate --app APP --name {name}"
        )
    if no_snapshot and rollback_on_failure:
        raise ValueWrongError("--rollback-on-failure needs the snapshot: leave out --no-snapshot.")
    words = [app, name, "--plan" if plan else "", "--check" if check else ""]
    arguments = [*filter(None, words), *after_dashes()]
    safety, rollback = not no_snapshot, rollback_on_failure
    migrate_after_snapshot(prepare_stack(c), arguments, safety=safety, rollback=rollback)


@task(
    help={
        "app": "Only this app.",
        "check": "End with 1 when migrations are missing; write nothing.",
    }
)
def makemigrations(c: Context, app: str = "", check: bool = False) -> None:
    """Write migrations for changed models; the files belong to the tree's owner."""
    words = [app, "--check" if check else "", "--dry-run" if check else ""]
    quiet = [] if sys.stdin.isatty() else ["--noinput"]  # else its question ends in a traceback
    arguments = [*filter(None, words), *quiet, *after_dashes()]
    end_with(prepare_stack(c).inside.manage_as_owner("makemigrations", *arguments))


@task
def manage(c: Context) -> None:
    """Run any management command: inv manage -- COMMAND ARGS."""
    words = after_dashes()
    if not words:
        raise ValueWrongError("No management command.", "Type: inv manage -- help")
    if words[0] == "test":  # else it asks about the database that a killed run left
        words.insert(1, "--noinput")
    end_with(prepare_stack(c).inside.manage_as_owner(*words))


@task
def createsuperuser(c: Context) -> None:
    """Make an administrator: asks, or takes DJANGO_SUPERUSER_* without a terminal."""
    stack = prepare_stack(c)
    given = {name: os.environ[name] for name in SUPERUSER if name in os.environ}
    words = ["createsuperuser", *after_dashes()]
    if not sys.stdin.isatty():
        _need(SUPERUSER, given)
        words.append("--noinput")
    end_with(stack.inside.manage(*words, env=given))


def _need(names: tuple[str, ...], given: dict[str, str]) -> None:
    if missing := [name for name in names if not given.get(name)]:
        raise SettingError(
            f"Without a terminal, {' and '.join(missing)} must be set.",
            f"Type: {' '.join(f'{name}=…' for name in names)} inv createsuperuser",
        )
