"""The bundle: a folder with everything known about a failure, without secrets."""

import contextlib
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from invoke.exceptions import Exit

from composed import __version__
from composed.doctor.doctor import examine
from composed.errors import ComposedError, EngineError, Interrupted, NotReadyError
from composed.findings import as_table
from composed.project import text_of
from composed.redaction import Redaction, is_secret
from composed.stack import Stack

KEPT = 10


@contextlib.contextmanager
def bundle_on_failure(stack: Stack) -> Iterator[None]:
    """Write a bundle when the block fails, add the path to the error; not for usage errors."""
    try:
        yield
    except Exit as error:
        complete = isinstance(error, Interrupted | ComposedError)
        if stack.gateway.dry or (complete and not isinstance(error, EngineError | NotReadyError)):
            raise
        message = str(error.message or f"The command inside ended with {error.code}.")
        with contextlib.suppress(OSError, ComposedError):  # a full disk must not hide the error
            folder = os.path.relpath(write_bundle(stack, message), stack.project.root)
            error.message = f"{message}\n  All that is known about it: {folder}"
        raise


def write_bundle(stack: Stack, happened: str = "") -> Path:
    """Write ``happened``, the stack's own evidence and the doctor's findings.

    Returns the folder, which only the owner can read; the newest ten stay. Raises OSError.
    """
    typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    texts = {
        "what-happened.txt": f"$ {typed}\n\n{happened}\n",
        "versions.txt": f"composed {__version__}\nPython {sys.version}\n{platform.platform()}\n",
        "doctor.txt": as_table(examine(stack.project, stack.gateway)),
        **stack.report.evidence(),
    }
    settings = stack.settings.values
    secrets = [settings.get(name, "") for name in stack.project.secrets]
    secrets += [*_secret_files(stack), *stack.report.secrets()]
    redact = Redaction({**os.environ, **settings}, secrets)
    for text in texts.values():
        redact.learn(text)
    folder = _new_folder(stack.folder / "failures")
    for name, text in texts.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(redact(text), encoding="utf-8", errors="replace")
    return folder


def _new_folder(failures: Path) -> Path:
    """Make a folder named by the time, and remove the oldest folders."""
    failures.mkdir(parents=True, exist_ok=True)
    name = utc_now()
    for number in range(1, 100):
        folder = failures / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            break
    for old in sorted(failures.iterdir())[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def utc_now() -> str:
    """Return the time as a file name; the names sort by time."""
    return time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())


def _secret_files(stack: Stack) -> list[str]:
    """Return the content of each file that a setting like ``SECRET_KEY_FILE`` names."""
    files = [
        stack.project.root / value
        for name, value in stack.settings.values.items()
        if value and name.endswith("_FILE") and is_secret(name.removesuffix("_FILE"))
    ]
    return [text_of(file).strip() for file in files]
