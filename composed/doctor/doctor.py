"""Every check of a project and its stack; nothing is changed."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from composed.compose_files import check_files
from composed.contract import PENDING, UNKNOWN
from composed.data.migrations import few, unapplied
from composed.docker import engine
from composed.doctor.env_check import check_env
from composed.env.copies import original
from composed.env.settings import env_files
from composed.errors import ComposedError
from composed.findings import Finding, State, any_wrong
from composed.gateway import Gateway
from composed.health import explanations
from composed.health.explanations import Explanation
from composed.health.waiting import names_in, settled
from composed.modes import open_stack
from composed.project import Project
from composed.stack import Stack, url_of

BYTES_NEEDED = 1 << 30


def examine(project: Project, gateway: Gateway) -> list[Finding]:
    """Return a finding for each check; works without settings, engine and server."""
    python = f"{platform.python_version()} ({sys.executable})"
    rows = [Finding("Python", "ok", python), _disk(project), *_folder(project)]
    try:
        # Everything else needs the folder of the Compose file.
        check_files(project.root, project.compose)
    except ComposedError as error:
        return [*rows, Finding.of("Compose file", error)]
    if project.owns_env and not os.path.lexists(
        env_files(project)[0]
    ):  # no fault: `inv up` makes it
        rows.append(Finding(".env", "warning", "not made yet", "inv up"))
        return rows + (engine.findings(gateway) if engine.is_set_up() else [])
    rows += check_env(project, gateway)
    try:
        stack = open_stack(project, gateway)
        rows += [Finding("mode", "ok", stack.mode), *stack.report.findings()]
        return rows if any_wrong(rows) else [*rows, *_answers(stack)]
    except ComposedError as error:
        return [*rows, Finding.of("stack", error)]


def _disk(project: Project) -> Finding:
    free = shutil.disk_usage(project.root).free
    row = Finding("disk", "ok", f"{free / 2**30:.1f} GiB free")
    return row if free > BYTES_NEEDED else row._replace(state="warning", cure="df -h .")


def _folder(project: Project) -> Iterator[Finding]:
    """Yield whether the stack's name is this folder's own; nothing for an unreadable .env."""
    try:
        origin = original(project)
    except ComposedError:  # a finding of check_env
        return
    if origin:
        cure = "inv env (gives it a name of its own)"
        yield Finding("folder", "warning", f"a copy of {origin}", cure)
    else:
        yield Finding("folder", "ok", str(project.root))


def _answers(stack: Stack) -> Iterator[Finding]:
    if url := url_of([service for service in stack.runner.ps() if service.ready]):
        for complaint in complaints(stack, url):
            state: State = "wrong" if complaint.fatal else "warning"
            yield Finding("what it answers", state, complaint.sentence, complaint.cure)


def complaints(stack: Stack, url: str) -> Iterator[Explanation]:
    """Yield the faults of the backend at ``url``; only one if the application does not load.

    Migrations can be pending (Django is asked in a project without ``ready``), or unknown to
    the project's files. The backend can refuse the host name that a browser would send.
    """
    project, path = stack.project, stack.project.ready
    code, body = settled(stack.gateway, f"{url}{path}") if path else (0, "")
    if code == HTTPStatus.INTERNAL_SERVER_ERROR:
        end = body.strip().rpartition("\n")[2]
        unknown_cause = Explanation(f"{url}{path} answers {code}: {end}", "inv logs", fatal=True)
        yield stack.explain(body, loading=True) or unknown_cause
        return
    pending = names_in(body, PENDING)
    if pending := unapplied(stack) if pending is None else pending:
        yield explanations.PENDING_MIGRATIONS.explain(project, {"names": f": {few(pending)}"})
    if unknown := names_in(body, UNKNOWN):
        words = {"names": few(unknown), "name": unknown[0].rpartition(".")[2]}
        yield explanations.UNKNOWN_MIGRATIONS.explain(project, words)
    if stack.gateway.fetch(f"{url}/")[0] == HTTPStatus.BAD_REQUEST:
        yield explanations.REFUSED_HOST.explain(project, {"host": str(urlsplit(url).hostname)})
