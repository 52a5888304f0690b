"""All that is known about a failure, in one folder without secrets, for whoever looks into it."""

from __future__ import annotations

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
from composed.errors import ComposedError, EngineError, Interrupted, NotReadyError
from composed.redaction import Redaction, is_secret
from composed.stack import Stack

__all__ = ["kept", "write_bundle"]

KEPT = 10


@contextlib.contextmanager
def kept(stack: Stack) -> Iterator[None]:
    """Keep what is known when the block fails, and end the error with where that is.

    Not where the error says all there is: what was named, asked for or taken.
    """
    try:
        yield
    except Exit as error:
        if stack.gateway.dry:
            raise
        whole = isinstance(error, Interrupted | ComposedError)
        if whole and not isinstance(error, EngineError | NotReadyError):
            raise
        said = str(error.message or f"The command inside ended with {error.code}.")
        with contextlib.suppress(OSError, ComposedError):  # a full disk: the error matters more
            folder = write_bundle(stack, said)
            at = os.path.relpath(folder, stack.project.root)
            error.message = f"{said}\n  All that is known about it: {at}"
        raise


def _doctors_report(stack: Stack) -> str:
    from composed.doctor.doctor import examine  # noqa: PLC0415  # which needs what needs us
    from composed.findings import as_table  # noqa: PLC0415

    return as_table(examine(stack.project, stack.gateway))


def write_bundle(stack: Stack, happened: str = "") -> Path:
    """Write what ``happened``, what the stack knows of itself and the doctor's report.

    Returns the folder, whose files are the owner's alone; the newest ten stay.
    Raises OSError.
    """
    texts = {"what-happened.txt": f"{_typed()}\n\n{happened}\n", "versions.txt": _versions()}
    texts |= {"doctor.txt": _doctors_report(stack)}
    texts |= stack.report.evidence()
    named = [stack.settings.values.get(name, "") for name in stack.project.secrets]
    named += [*_secret_files(stack), *stack.report.secrets()]
    redact = Redaction({**os.environ, **stack.settings.values}, named)
    for text in texts.values():
        redact.learn(text)
    folder = _new_folder(stack.folder / "failures")
    for name, text in texts.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(redact(text), encoding="utf-8", errors="replace")
    return folder


def _new_folder(failures: Path) -> Path:
    """Make a folder named by the time, and drop the oldest ones."""
    failures.mkdir(parents=True, exist_ok=True)
    now = utc_now()
    for number in range(1, 100):
        folder = failures / (now if number == 1 else f"{now}-{number}")
        try:
            folder.mkdir(mode=0o700)
            break
        except FileExistsError:
            continue
    for old in sorted(failures.iterdir())[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def utc_now() -> str:
    """Return the time as a file may be called, in the order of time."""
    return time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())


def _typed() -> str:
    """Return the command line; what was typed after ``--`` may be anything."""
    return f"$ {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"


def _versions() -> str:
    return f"composed {__version__}\nPython {sys.version}\n{platform.platform()}\n"


def _secret_files(stack: Stack) -> list[str]:
    """Return what the files hold that a setting ``X_FILE`` names."""
    files = [
        stack.project.root / value
        for name, value in stack.settings.values.items()
        if value and name.endswith("_FILE") and is_secret(name.removesuffix("_FILE"))
    ]
    readable = [file for file in files if file.is_file() and os.access(file, os.R_OK)]
    return [file.read_text(errors="replace").strip() for file in readable]
