"""The verbs that save, restore, migrate on trial and remove data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke import Collection, Context, task

from composed import terminal
from composed.errors import ValueWrongError, end_with
from composed.modes import prepare_stack
from composed.stack import Stack

if TYPE_CHECKING:
    from composed.database import Dump

YES = "Do not ask; needed where there is no terminal."
NO_SNAPSHOT = "Take no snapshot first: the data is lost for good."
NO_VERIFY = "Do not restore that snapshot on trial, which takes as long as a restore."


@task(help={"name": "The name of the snapshot; by default the time."})
def snapshot(c: Context, name: str = "") -> None:
    """Write all data to data/snapshots/, whole or not at all."""
    from composed.data import actions as data

    if taken := data.snapshot(prepare_stack(c), name):
        print(f"{taken.name}: {taken.summary}")


@task(name="list", help={"json": "Print JSON, for programs."})
def list_(c: Context, json: bool = False) -> None:
    """List the snapshots, the oldest first."""
    from composed.data.snapshots import Snapshots, as_json, as_table

    store = Snapshots(prepare_stack(c).project.snapshots)
    terminal.show((as_json if json else as_table)(store))
    for problem in store.damaged().values():
        terminal.say(problem)


@task(
    auto_shortflags=False,  # a slip would cost data
    help={
        "name": "The snapshot of this name.",
        "latest": "The newest snapshot of this stack.",
        "from": "A file or folder of pg_dump, or SQL, perhaps packed; in local mode, of SQLite.",
        "no-snapshot": NO_SNAPSHOT,
        "no-verify": NO_VERIFY,
        "yes": YES,
    },
)
def restore(
    c: Context,
    name: str = "",
    latest: bool = False,
    from_: str = "",
    no_snapshot: bool = False,
    no_verify: bool = False,
    yes: bool = False,
) -> None:
    """Put a snapshot in place of the live data. Asks, and takes a snapshot first."""
    from composed.data import actions as data
    from composed.data.migrations import differences

    stack = prepare_stack(c)
    dump, words = _chosen(stack, name, latest, from_)
    question = f"Replace all data of {stack.name} with {dump.title}?"
    confirm(stack, question, f"db.restore {words}", yes, no_snapshot, no_verify)
    facts = data.restore(stack, dump, safety=not no_snapshot, verify=not no_verify)
    lines = [] if dump.database else differences(stack, facts.migrations)
    terminal.show("\n".join([f"Restored: {facts.count}.", *lines]))


@task(help={"keep": "How many of this stack's snapshots stay: the newest.", "yes": YES})
def prune(c: Context, keep: str = "", yes: bool = False) -> None:
    """Remove this stack's oldest snapshots. Asks first."""
    from composed.data import actions as data

    if not (keep.isascii() and keep.isdecimal()):
        raise ValueWrongError(f"--keep is {keep!r}.", "Type how many stay: inv db.prune --keep 5")
    stack = prepare_stack(c)
    names = data.oldest(stack, keep=int(keep))
    if not names:
        print(f"{stack.name} has no more than {keep} snapshots: none removed.")
        return
    confirm(stack, f"Remove {', '.join(names)}?", f"db.prune --keep {keep}", yes)
    data.prune(stack, names)
    print("\n".join(f"Removed {name}." for name in names))


@task(
    auto_shortflags=False,
    help={"no-snapshot": NO_SNAPSHOT, "no-verify": NO_VERIFY, "yes": YES},
)
def reset(
    c: Context, no_snapshot: bool = False, no_verify: bool = False, yes: bool = False
) -> None:
    """Put an empty database in place of the live database. Asks, and takes a snapshot first."""
    from composed.data import actions as data

    stack = prepare_stack(c)
    confirm(stack, f"Remove all data of {stack.name}?", "db.reset", yes, no_snapshot, no_verify)
    data.reset(stack, safety=not no_snapshot, verify=not no_verify)
    terminal.show("The database is empty. Fill it: inv migrate")


@task
def credentials(c: Context) -> None:
    """Give the volume the user, password and database name that .env has."""
    from composed.data import actions as data

    done = data.change_credentials(prepare_stack(c))
    lines = [*done, "  Type: inv up"] if done else ["They fit: nothing was changed."]
    terminal.show("\n".join(lines))


@task(help={"old-image": "The image the volume was made with, where it is not postgres:MAJOR."})
def upgrade(c: Context, old_image: str = "") -> None:
    """Move the data into a new volume, for the newer PostgreSQL of the database's image."""
    from composed.data import actions as data

    done = data.upgrade(prepare_stack(c), old_image)
    terminal.show("\n".join(done or ["The data is of this version: nothing was changed."]))


@task(
    auto_shortflags=False,
    help={"no-snapshot": NO_SNAPSHOT, "no-verify": NO_VERIFY, "yes": YES},
)
def destroy(
    c: Context, no_snapshot: bool = False, no_verify: bool = False, yes: bool = False
) -> None:
    """Remove all the stack has but .env and snapshots. Asks, and takes a snapshot first."""
    from composed.data import actions as data

    stack = prepare_stack(c)
    names = ", ".join(stack.belongings.holdings())
    question = f"Remove {stack.name}, with all its data{names and f' ({names})'} and images?"
    unsaved = stack.belongings.unsaved(all_of_it=True)
    confirm(stack, question, "destroy", yes, no_snapshot, no_verify, unsaved)
    end_with(data.destroy(stack, safety=not no_snapshot, verify=not no_verify))


@task
def rehearse(c: Context) -> None:
    """Run the pending migrations on a copy: the time, rows and locks of each."""
    from composed.data import rehearsal

    code, tried = rehearsal.rehearse(prepare_stack(c))
    if tried or not code:
        print(rehearsal.as_table(tried))
    end_with(code)


db = Collection("db", snapshot, list_, restore, prune, reset, rehearse, credentials, upgrade)


def _chosen(stack: Stack, name: str, latest: bool, file: str) -> tuple[Dump, str]:
    """Return the dump that the single option names, checked, and the option as typed."""
    from composed.data import actions as data

    if sum(map(bool, (name, latest, file))) != 1:
        problem = "A restore takes exactly one of --name, --latest and --from."
        raise ValueWrongError(problem, "See all: inv db.list")
    if name:
        return data.find(stack, name), f"--name {shlex.quote(name)}"
    if latest:
        return data.latest(stack), "--latest"
    return data.open_file(stack, file), f"--from {shlex.quote(file)}"


def confirm(
    stack: Stack,
    question: str,
    again: str,
    yes: bool,
    no_snapshot: bool = False,
    no_verify: bool = False,
    unsaved: Sequence[str] = (),
) -> None:
    """Ask the user; the error without a terminal names ``again``, the verb with its options.

    Who does not want to be asked is told as well what is ``unsaved``: nothing brings that back.
    """
    if unsaved:
        told = f"In no snapshot: {', '.join(unsaved)}"
        question = f"{told}. {question}"
        if yes:
            terminal.say(told)
    omitted = f"{' --no-snapshot' * no_snapshot}{' --no-verify' * no_verify}"
    again = f"inv {again}{omitted} --yes"
    terminal.ask(question, yes=yes or stack.gateway.dry, again=again)
