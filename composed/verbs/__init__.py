"""Every verb: a ``tasks.py`` imports from here the ones it wants."""

import sys

from invoke import Collection

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
    return namespace
