"""Ways to break a backend, and what `up` then has to say; the same in both modes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass, field

import pytest

from tests.real.conftest import ROOT, Copy, Done

# Holds the GIL for good, so that a worker cannot even say that it lives.
BUSY = """
import re
from django.core.signals import request_started
request_started.connect(lambda **_: re.match("(a+)+$", "a" * 40 + "b"), weak=False)
"""

# A migration that only the database knows, as of a newer version.
LATER = "insert into django_migrations (app, name, applied) values ('task_api', '0999_later', {})"


@dataclass
class Fault:
    """Text added to a file of ``server/task_api``, a setting, and the words that explain it."""

    name: str
    sentence: str
    cure: str = "inv up"
    file: str = "urls.py"
    text: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def provoke(self, copy: Copy, *options: str) -> Done:
        """Break the backend and start it; mend it again."""
        source = copy.root / "server/task_api" / self.file
        good = source.read_text()
        source.write_text(f"{good}\n{self.text}")
        kill_backend(copy)
        try:
            return copy.inv("up", "--service", "backend", *options, **self.env)
        finally:
            source.write_text(good)

    def is_explained(self, done: Done) -> bool:
        """Say whether the sentence and, in the next line, the command stand in the error."""
        return f"  {self.sentence}\n  Type: {self.cure}\n" in done.stderr


def kill_backend(copy: Copy) -> None:
    """End it at once, so that the next `up` starts it anew."""
    if copy.env.get("COMPOSED_MODE") != "local":
        copy.inv("dc", "--", "kill", "backend")
        return
    record = copy.root / ".composed" / copy.project / "backend.json"
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)


def added(file: str) -> str:
    """Return the name of a file and the number of the line that :class:`Fault` adds."""
    name = f"server/task_api/{file}"
    return f"{name}:{len((ROOT / name).read_text().splitlines()) + 2}"


FAULTS = [
    Fault(
        "setting",
        "SECRET_KEY is a placeholder: generate a random one. Correct it in .env.",
        env={"SECRET_KEY": "django-insecure-and-much-longer-than-it-has-to-be"},
    ),
    Fault(
        "syntax in urls",
        f"Correct {added('urls.py')}: SyntaxError: '(' was never closed",
        text="path(",
    ),
    Fault(
        "import in settings",
        f"Correct {added('settings.py')}: ModuleNotFoundError: No module named 'nowhere' "
        "(or add the package to server/requirements.in, and type: nox -s lock)",
        file="settings.py",
        text="import nowhere",
    ),
    Fault(
        "name in models",
        f"Correct {added('models.py')}: NameError: name 'nothing' is not defined",
        file="models.py",
        text="nothing",
    ),
    Fault(
        "error in wsgi",
        f"Correct {added('wsgi.py')}: RuntimeError: no",
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
