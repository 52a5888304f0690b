"""The verb that makes the settings, or checks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invoke import Context, task

from composed.errors import SettingError, ValueWrongError, end_with
from composed.findings import Finding, any_wrong, as_json, as_table
from composed.gateway import Gateway
from composed.modes import complete_settings, gateway_of
from composed.project import Project


@task(
    help={
        "check": "Compare it with .env.example, the Compose files and the server; write nothing.",
        "json": "With --check: print JSON, for programs.",
    }
)
def env(c: Context, check: bool = False, json: bool = False) -> None:
    """Make .env, or fill in what is empty or missing there; nothing is overwritten."""
    if json and not check:
        raise ValueWrongError("--json goes with --check.", "Type: inv env --check --json")
    project, gateway = Project.of(c), gateway_of(c)
    if check:
        _check(project, gateway, as_json if json else as_table)
    else:
        complete_settings(project, gateway, talk=True)


def _check(project: Project, gateway: Gateway, show: Callable[[Sequence[Finding]], str]) -> None:
    from composed.doctor.env_check import check_env

    findings = check_env(project, gateway)
    print(show(findings))
    end_with(SettingError.exit_code if any_wrong(findings) else 0)
