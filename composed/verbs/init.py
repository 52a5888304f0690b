"""The verb `init` of the program `composed`: the way of a project to the verbs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from invoke import Context, task

from composed.errors import ComposedError, end_with
from composed.modes import gateway_of
from composed.project import Project
from composed.terminal import choose, say, show

if TYPE_CHECKING:
    from composed.docker.model import Model
    from composed.docker.profiles import Inactive
    from composed.gateway import Gateway
    from composed.init.report import Report

ROLES = {"backend": "runs Django", "database": "is the database of Django"}


@task(
    help={
        "check": "Write nothing; end with 1 when something would be written.",
        "yes": "Write the offered files too, and do not ask.",
    }
)
def init(c: Context, check: bool = False, yes: bool = False) -> None:
    """Write tasks.py, and show what is found in the project; run none of its code."""
    from composed.init.drafts import drafts, install_command, needs_two_lines, own_tasks
    from composed.init.facts import examine, missing
    from composed.init.report import as_text
    from composed.init.templates import TWO_LINES
    from composed.init.writing import write

    project, gateway = Project.of(c), gateway_of(c)
    is_trial, fault = check or gateway.dry, missing(project)
    if fault and not is_trial:  # the next verb would only fail
        raise fault
    model, others = model_of(project, gateway)
    report = examine(project, model, others)
    if fault:
        show(as_text(report))
        raise fault
    keys = {} if is_trial else chosen(report)
    wanted = drafts(project, gateway, keys)
    if is_trial:
        wanted = [draft for draft in wanted if yes or not draft.offered]
        for draft in wanted:
            say(f"Would write {project.relative(draft.file)}.")
    elif left_out := write(project, wanted, yes=yes):
        names = ", ".join(project.relative(draft.file) for draft in left_out)
        say(f"Left out: {names}. To write: inv init --yes")
    if needs_two_lines(project):
        say(f"There is a tasks.py already. Add two lines to it:\n\n{TWO_LINES}\n")
    if name := own_tasks(project):
        say(f"No tasks.py for inv: {name} is the project's own. Type: composed VERB")
    if keys:
        backend, database = (keys.get(key) or getattr(project, key) for key in ROLES)
        report = examine(replace(project, backend=backend, database=database), model, others)
    show(as_text(report))
    # Beside an engine, `inv up` would look for a Compose file.
    start = "inv up" if project.has_compose_file else "COMPOSED_MODE=local inv up"
    show(f"\nInstall the verbs: {install_command(project)}\nThen type: {start}")
    end_with(1 if check and wanted else 0)


def model_of(project: Project, gateway: Gateway) -> tuple[Model | ComposedError, Inactive | None]:
    """Return the model of the Compose files, and the services of profiles that are not active.

    The model is the error where Compose gives none.
    """
    from composed.compose_files import check_files
    from composed.docker.compose import Compose
    from composed.docker.profiles import inactive
    from composed.env.settings import env_files

    try:
        check_files(project.root, project.compose)
        there = [file for file in env_files(project) if os.path.lexists(file)]
        dc = Compose(gateway, there, None, project.compose)
        model = dc.model()
    except ComposedError as error:
        return error, None
    try:
        return model, inactive(project, dc, model)
    except ComposedError:
        return model, None


def chosen(report: Report) -> dict[str, str]:
    """Return the keys with the services that the user chose, where several could be meant."""
    answers = {
        key: choose(f"Which service {ROLES[key]}?", names) for key, names in report.choices.items()
    }
    return {key: answer for key, answer in answers.items() if answer}
