"""How Compose reads the env files, compared with how python-dotenv does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dotenv.parser import Binding

from composed.docker.compose import Compose, refuses_env_file
from composed.docker.model import Model
from composed.doctor.env_form import is_usable
from composed.findings import Finding
from composed.gateway import Gateway

__all__ = ["check_readings"]

# What the two treat differently, the likeliest first.
_FAULTS = {"$": "a $", "\\": "a backslash", '"': "a quote", "'": "a quote", "#": "a #"}


def check_readings(
    gateway: Gateway,
    files: Sequence[Path],
    assigned: Mapping[str, Binding],
    environ: Mapping[str, str],
) -> list[Finding]:
    """Return a row for each value that the two read differently, or one that none is.

    ``assigned`` are the lines that count, by name. What is in ``environ`` too is
    left out: it beats both. Without Docker there is nothing to compare.
    """
    names = [name for name in assigned if is_usable(name) and name not in environ]
    values = _values(gateway, files, names)
    if values is None:
        return _refused(gateway, assigned)
    differ = [n for n in names if n in values and values[n] != assigned[n].value]
    rows = [_row(name, assigned[name]) for name in differ]
    return rows or [Finding("readings", "ok", f"alike in {len(values)} values")] * bool(values)


def _values(gateway: Gateway, files: Sequence[Path], names: Sequence[str]) -> dict[str, str] | None:
    """Return the values as Compose reads them; None when it refuses the files.

    Compose resolves a model that names each setting, and needs no engine for that.
    """
    # The project's name is ours here: the one in the settings may be wrong.
    asked = {name: f"${{{name}-}}" for name in names if name != "COMPOSE_PROJECT_NAME"}
    model = json.dumps({"services": {"check": {"image": "check", "environment": asked}}})
    words = ("--project-name", "check", "--file", "-", "config", "--format", "json")
    answer = gateway.ask(Compose(gateway, files).argv(*words), text=model)
    if refuses_env_file(answer.err):
        return None
    if answer.code:  # no Docker, no Compose: nobody else reads the files
        return {}
    return dict(Model.resolved(answer.out).service("check").environment)


def _row(name: str, line: Binding) -> Finding:
    raw = line.original.string.partition("=")[2]
    fault = next((words for sign, words in _FAULTS.items() if sign in raw), "a line break")
    seen = f"read differently by Compose and python-dotenv: {fault} in its value"
    return Finding(name, "warning", seen, _cure(name, line))


def _cure(name: str, line: Binding) -> str:
    """Return how to write the value so that both read it as it stands."""
    if "'" in (line.value or ""):
        return "Use letters, digits, - and _ alone"
    return f"Put it in single quotes: {name}='…'"


def _refused(gateway: Gateway, assigned: Mapping[str, Binding]) -> list[Finding]:
    """Ask about each line alone that may be why: Compose quotes values instead of names.

    Where python-dotenv finds nothing wrong that is a ``$``: ``${`` without an end,
    or ``${NAME:?}`` without a value.
    """
    words = ["--env-file", "/dev/stdin", "--project-name", "check", "--file", "/dev/null", "config"]
    lines = {name: line.original.string for name, line in assigned.items()}
    refused = [
        name
        for name, line in lines.items()
        if "$" in line
        and refuses_env_file(gateway.ask(["docker", "compose", *words], text=line).err)
    ]
    seen = "malformed: Compose refuses the $ in its value"
    rows = [Finding(name, "wrong", seen, _cure(name, assigned[name])) for name in refused]
    cure = "docker compose config --quiet"
    return rows or [Finding("readings", "wrong", "malformed: Compose refuses the files", cure)]
