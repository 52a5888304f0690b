"""Ways to break a backend, and the explanation that `up` then gives; the same in both modes."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field

import pytest

from tests.stacks.copies import ROOT, Copy, Done
from tests.stacks.sqlite import leader

# Holds the GIL for good, so that a worker cannot even give a sign of life.
BUSY = """
import re
from django.core.signals import request_started
request_started.connect(lambda **_: re.match("(a+)+$", "a" * 40 + "b"), weak=False)
"""

# A migration that only the database knows, as of a newer version.
LATER = "insert into django_migrations (app, name, applied) values ('task_api', '0999_later', {})"


@dataclass
class Fault:
    """Text added to a file of ``server/task_api``, settings, and the explanation.

    ``{line}`` in the sentence is the line of the added text.
    """

    name: str
    sentence: str
    cure: str = "inv up"
    file: str = "urls.py"
    text: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def provoke(self, copy: Copy, *options: str) -> Done:
        """Break and start the backend; mend the backend in the end."""
        source = copy.root / "server/task_api" / self.file
        good = source.read_text()
        source.write_text(f"{good}\n{self.text}")
        kill_backend(copy)
        try:
            return copy.inv("up", "--service", "backend", *options, **self.env)
        finally:
            source.write_text(good)

    def is_explained(self, done: Done) -> bool:
        """Say whether the error has the sentence and, in the next line, the command."""
        lines = (ROOT / "server/task_api" / self.file).read_text().count("\n")
        sentence = self.sentence.format(line=lines + 2)
        return f"  {sentence}\n  Type: {self.cure}\n" in done.stderr


def kill_backend(copy: Copy) -> None:
    """End the backend at once, so that the next `up` starts the backend anew."""
    if copy.env.get("COMPOSED_MODE") != "local":
        copy.docker("kill", f"{copy.project}-backend-1")
        return
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.killpg(leader(copy), signal.SIGKILL)


FAULTS = [
    Fault(
        "setting",
        "SECRET_KEY is a placeholder: generate a random one. Correct it in .env.",
        env={"SECRET_KEY": "django-insecure-and-much-longer-than-it-has-to-be"},
    ),
    Fault(
        "syntax in urls",
        "Correct server/task_api/urls.py:{line}: SyntaxError: '(' was never closed",
        text="path(",
    ),
    Fault(
        "import in settings",
        "Correct server/task_api/settings.py:{line}: ModuleNotFoundError: No module named "
        "'nowhere' (or add the package to server/requirements.in, and type: nox -s lock)",
        file="settings.py",
        text="import nowhere",
    ),
    Fault(
        "name in models",
        "Correct server/task_api/models.py:{line}: NameError: name 'nothing' is not defined",
        file="models.py",
        text="nothing",
    ),
    Fault(
        "error in wsgi",
        "Correct server/task_api/wsgi.py:{line}: RuntimeError: no",
        file="wsgi.py",
        text="raise RuntimeError('no')",
    ),
    Fault(
        "worker time-out",
        "A worker took longer than GUNICORN_TIMEOUT seconds to load or to answer.",
        cure="GUNICORN_TIMEOUT=120 inv up",
        text=BUSY,
        env={"GUNICORN_TIMEOUT": "1"},
    ),
    Fault(
        "worker boot failure",
        "A worker ended while it loaded the application, without a Python error.",
        cure="inv manage -- check",
        text="import os; os._exit(3)",
    ),
    Fault(
        "worker killed",
        "A process was killed from outside, probably because memory ran out.",
        cure="WEB_CONCURRENCY=1 inv up",
        text="import os; os.kill(os.getpid(), 9)",
    ),
]

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
