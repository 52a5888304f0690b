"""Every verb, for a ``tasks.py`` to import."""

import contextlib
import functools
import io
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from invoke import Collection, Exit, Task


def check_python() -> None:
    """End an ``inv`` of another environment, which the shell has found in place of ``./inv``."""
    if sys.version_info >= (3, 11) and find_spec("dotenv"):
        return
    bootstrap = Path(__file__).parent.parent.parent / "inv"
    own = "./inv" if bootstrap.parent == Path.cwd() else shlex.quote(str(bootstrap))
    words = " ".join(map(shlex.quote, sys.argv[1:]))
    cure = f"{own} {words}" if bootstrap.exists() else "pip install composed, with Python 3.11"
    version = sys.version.split()[0]
    problem = f"This inv belongs to another environment ({sys.prefix}, Python {version})."
    raise Exit(f"{problem}\n  Type: {cure}", 69)


check_python()


@contextlib.contextmanager
def bytecode_kept() -> Iterator[None]:
    """Let Python write bytecode of the modules that the block imports.

    Invoke forbids bytecode (see ``--write-pyc``), so each verb would compile all modules anew:
    25 ms. PYTHONDONTWRITEBYTECODE and ``-B`` are honoured.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


with bytecode_kept():
    from composed.program import adopt

    adopt()
    from composed.errors import DryRunEnded, InputOutputError
    from composed.signals import check_terminal, signals_handled
    from composed.terminal import write_results
    from composed.verbs.checks import doctor, env, test
    from composed.verbs.data import db, destroy
    from composed.verbs.inside import (
        createsuperuser,
        dbshell,
        dc,
        makemigrations,
        manage,
        migrate,
        shell,
    )
    from composed.verbs.lifecycle import build, down, logs, open_, ps, restart, up

__all__ = ["build", "collect", "down", "logs", "open_", "ps", "restart", "up"]
__all__ += ["db", "destroy", "doctor", "env", "test"]
__all__ += ["createsuperuser", "dbshell", "dc", "makemigrations", "manage", "migrate", "shell"]


def collect(module: str) -> Collection:
    """Return the tasks of a ``tasks.py``, given its ``__name__``, and ``db.*``.

    Invoke takes only tasks from a module, and leaves out a collection like ``db``.
    """
    namespace = Collection.from_module(sys.modules[module])
    namespace.add_collection(db)
    _wrap(*namespace.tasks.values(), *db.tasks.values())
    return namespace


def with_init(namespace: Collection) -> Collection:
    """Add the verb ``init``, which only the program ``composed`` has; a task of that name stays."""
    from composed.verbs.init import init

    if "init" not in namespace.task_names:
        namespace.add_task(init)
        _wrap(init)
    return namespace


def _wrap(*verbs: Task[Any]) -> None:
    """Wrap the tasks that are verbs of Composed, each of them once."""
    for verb in verbs:
        wrapped = hasattr(verb.body, "__wrapped__")  # by an earlier call
        if verb.body.__module__.startswith(f"{__name__}.") and not wrapped:
            verb.body = _as_verb(verb.body)


def _as_verb(body: Callable[..., Any]) -> Callable[..., Any]:
    """Handle signals while the verb runs, keep bytecode, and word errors such as a full disk."""

    @functools.wraps(body)
    def verb(*args: Any, **options: Any) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold any bytes
        try:
            with signals_handled(), bytecode_kept():
                try:
                    with contextlib.suppress(DryRunEnded):  # ends this verb alone
                        body(*args, **options)
                finally:
                    write_results()
        except (OSError, Exit) as error:
            check_terminal()
            if isinstance(error, Exit):
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise InputOutputError(f"{place}{error.strerror or error}.") from None

    return verb
