"""Every verb: a ``tasks.py`` imports from here the ones it wants."""

import functools
import sys
from collections.abc import Callable
from typing import Any

from invoke import Collection

from composed.errors import InputOutputError
from composed.verbs.checks import doctor, test
from composed.verbs.configuration import env
from composed.verbs.data import db, destroy
from composed.verbs.django import createsuperuser, makemigrations, manage, migrate
from composed.verbs.inside import dbshell, dc, shell
from composed.verbs.lifecycle import build, down, logs, open_, ps, restart, up

__all__ = [
    "build",
    "collect",
    "createsuperuser",
    "db",
    "dbshell",
    "dc",
    "destroy",
    "doctor",
    "down",
    "env",
    "logs",
    "makemigrations",
    "manage",
    "migrate",
    "open_",
    "ps",
    "restart",
    "shell",
    "test",
    "up",
]


def collect(module: str) -> Collection:
    """Return the verbs and own tasks of a ``tasks.py``, by its ``__name__``, and ``db.*``.

    Invoke alone takes tasks from a module, and leaves a collection like ``db`` out.
    """
    namespace = Collection.from_module(sys.modules[module])
    namespace.add_collection(db)
    for verb in (*namespace.tasks.values(), *db.tasks.values()):
        if verb.body.__module__.startswith(f"{__name__}."):
            verb.body = _in_our_words(verb.body)
    return namespace


def _in_our_words(body: Callable[..., Any]) -> Callable[..., Any]:
    """Say what the system refuses where nobody did: a full disk, another user's folder."""

    @functools.wraps(body)
    def verb(*args: Any, **options: Any) -> Any:
        try:
            return body(*args, **options)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise InputOutputError(f"{where}{error.strerror or error}.") from None

    return verb if not hasattr(body, "__wrapped__") else body
