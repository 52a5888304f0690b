"""What could keep the stack from working: every check there is, and nothing is changed."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator

from composed.docker import engine
from composed.doctor.complaints import complaints
from composed.doctor.env_check import check_env
from composed.env import copies
from composed.env.settings import env_files
from composed.errors import ComposedError
from composed.findings import Finding, State, any_wrong
from composed.gateway import Gateway
from composed.modes import open_stack
from composed.project import Project
from composed.stack import Stack, url_of

__all__ = ["examine"]

BYTES_NEEDED = 1 << 30


def examine(project: Project, gateway: Gateway) -> list[Finding]:
    """Return a row for each thing looked at; works without settings, engine and server."""
    found = [_python(), _disk(project), *_folder(project)]
    if not env_files(project)[0].exists():  # no fault: `inv up` makes it
        return [*found, Finding(".env", "warning", "not made yet", "inv up"), *_engine(gateway)]
    found += check_env(project, gateway)
    try:
        stack = open_stack(project, gateway)
        found += [Finding("mode", "ok", stack.mode), *stack.report.findings()]
        return found if any_wrong(found) else [*found, *_complaints(stack)]
    except ComposedError as error:
        return [*found, Finding.of("stack", error)]


def _folder(project: Project) -> list[Finding]:
    try:
        return copies.findings(project)
    except ComposedError:  # .env cannot be read, which has a row of its own
        return []


def _engine(gateway: Gateway) -> list[Finding]:
    return engine.findings(gateway) if engine.is_set_up() else []


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _disk(project: Project) -> Finding:
    free = shutil.disk_usage(project.root).free
    state: State = "ok" if free > BYTES_NEEDED else "warning"
    return Finding(
        "disk", state, f"{free / 2**30:.1f} GiB free", "" if state == "ok" else "df -h ."
    )


def _complaints(stack: Stack) -> Iterator[Finding]:
    """Yield a row for each complaint of the running backend."""
    if url := url_of([service for service in stack.runner.ps() if service.ready]):
        for complaint in complaints(stack, url):
            state: State = "wrong" if complaint.fatal else "warning"
            yield Finding("what it answers", state, complaint.sentence, complaint.cure)
