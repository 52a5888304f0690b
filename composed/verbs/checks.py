"""The verbs that make or check the settings, check the stack, and run the tests."""

import os
import sys
from importlib.util import find_spec

from invoke import Context, task

from composed.docker import engine
from composed.errors import NotFoundError, NotReadyError, SettingError, ValueWrongError, end_with
from composed.findings import any_wrong, as_json, as_table
from composed.modes import complete_settings, gateway_of, open_stack
from composed.project import Project
from composed.terminal import say, show
from composed.verbs.inside import after_dashes


@task(
    help={
        "check": "Compare it with .env.example, the Compose files and the server; write nothing.",
        "json": "With --check: print JSON, for programs.",
    }
)
def env(c: Context, check: bool = False, json: bool = False) -> None:
    """Make .env, or fill in empty and missing values there; nothing is overwritten."""
    if json and not check:
        raise ValueWrongError("--json goes with --check.", "Type: inv env --check --json")
    project, gateway = Project.of(c), gateway_of(c)
    if not check:
        if not os.path.lexists(project.example):
            problem = f"There is no {project.example.name} in {project.root} to make .env from."
            raise NotFoundError(problem, "See what Compose and the server ask for: inv env --check")
        complete_settings(project, gateway, talk=True)
        return
    from composed.doctor.env_check import check_env

    findings = check_env(project, gateway)
    show((as_json if json else as_table)(findings))
    end_with(SettingError.exit_code if any_wrong(findings) else 0)


@task(
    help={
        "json": "Print JSON, for programs.",
        "bundle": "Write a bundle too: findings, logs, configuration, without secrets; words "
        "after -- describe the failure.",
    }
)
def doctor(c: Context, json: bool = False, bundle: bool = False) -> None:
    """Check all that could keep the stack from working; change nothing."""
    from composed.doctor.doctor import examine

    project, gateway = Project.of(c), gateway_of(c)
    findings = examine(project, gateway)
    show((as_json if json else as_table)(findings))
    if bundle and not gateway.dry:
        from composed.doctor.bundle import write_bundle

        happened = " ".join(after_dashes())
        say(f"Bundle: {write_bundle(open_stack(project, gateway), happened)}")
    end_with(NotReadyError.exit_code if any_wrong(findings) else 0)


@task
def test(c: Context) -> None:
    """Run every nox session that this machine can; words after -- go to nox."""
    project, gateway = Project.of(c), gateway_of(c)
    if not (project.root / "noxfile.py").exists():
        raise NotFoundError(
            f"There is no noxfile.py in {project.root}, so there are no sessions to run.",
            "Write one: https://nox.thea.codes, or leave `test` out of tasks.py",
        )
    if not find_spec("nox"):
        cure = "Install it: pip install nox"
        raise NotFoundError(f"{sys.executable} has no nox to run the sessions with.", cure)
    problem = engine.problem(gateway) if project.engine_sessions else None
    sessions = [*project.sessions, *(() if problem else project.engine_sessions)]
    chosen = ["--session", *sessions] if sessions else []
    code = gateway.run([sys.executable, "-m", "nox", *chosen, *after_dashes()])
    if problem:
        say(f"Not run: {', '.join(project.engine_sessions)}. {problem}")
    end_with(code)
