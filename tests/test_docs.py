"""README, help and ``.env.example`` say what the code does."""

from __future__ import annotations

import dataclasses
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from invoke import Collection, Task

import tasks
from composed import errors
from composed.doctor.env_uses import names_read
from composed.env.settings import declared
from composed.health.explanations import CAUSES, names_of
from composed.project import Project
from tests.samples import GENERATED, OURS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLE = declared((ROOT / ".env.example").read_text())
NAMESPACE = Collection.from_module(tasks)
VERBS: dict[str, Task[Any]] = {name: NAMESPACE[name] for name in NAMESPACE.task_names}

SERVER_SETTINGS = OURS.settings_files

# Task.get_arguments pops the help texts: it can be called once.
OPTIONS = {
    name: {
        f"--{str(argument.name).strip('_').replace('_', '-')}": argument.help
        for argument in arguments
    }
    for name, arguments in ((name, verb.get_arguments()) for name, verb in VERBS.items())
}


def table(heading: str) -> list[list[str]]:
    """Return the rows of the README's table whose first heading this is."""
    lines = README.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_a_sentence_and_help_for_each_option(name: str) -> None:
    assert re.fullmatch(r"[A-Z][^\n]+\.", str(VERBS[name].__doc__))
    assert [option for option, help_ in OPTIONS[name].items() if not help_] == []


def test_the_readme_lists_every_verb_with_its_options() -> None:
    shown = {row[0].strip("`").removeprefix("inv "): row[2] for row in table("verb")}

    assert shown.keys() == VERBS.keys()
    for name, options in shown.items():
        assert set(options.strip("`").split()) == set(OPTIONS[name])


def test_the_readme_lists_every_session() -> None:
    source = (ROOT / "noxfile.py").read_text()
    sessions = re.findall(r"@nox\.session.*\n(?:@nox.*\n)*def (\w+)", source)

    assert [row[0].strip("`") for row in table("session")] == [f"nox -s {s}" for s in sessions]


def test_inv_test_runs_every_session_but_the_one_that_writes() -> None:
    named = (*OURS.sessions, *OURS.engine_sessions)

    assert {name.split("(")[0] for name in named} == {
        row[0].strip("`").removeprefix("nox -s ") for row in table("session")
    } - {"lock"}


def test_the_readme_lists_every_setting_with_its_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in table("setting")}
    defaults = {name: "generated" if name in GENERATED else EXAMPLE[name] for name in EXAMPLE}

    assert shown == defaults


def test_the_readme_lists_every_exit_code() -> None:
    classes = vars(errors).values()
    codes = {c.exit_code for c in classes if isinstance(c, type) and hasattr(c, "exit_code")}

    assert {int(row[0]) for row in table("code")} == (codes - {1}) | {0, 130}


def test_the_readme_lists_every_key_of_a_project_with_its_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in table("key")}
    project = Project(ROOT)
    fields = [field.name for field in dataclasses.fields(project) if field.name != "root"]

    assert list(shown) == fields
    read = tomllib.loads("".join(f"{key} = {value}\n" for key, value in shown.items()))
    for key, value in read.items():
        default = getattr(project, key)
        assert value == (list(default) if isinstance(default, tuple) else default)


def test_the_readmes_example_of_a_project_is_read(tmp_path: Path) -> None:
    example = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "pyproject.toml").write_text(example)

    assert Project.at(tmp_path).backend == "web"


def test_the_readme_lists_every_cause_with_its_cure() -> None:
    shown = {row[0]: re.findall(r"`([^`]+)`", row[1]) for row in table("cause")}
    names = {**names_of(OURS), "name": "{name}"}

    assert shown == {
        cause.name: [cure.format_map(names) for cure in (cause.cure, cause.local) if cure]
        for cause in CAUSES
    }


def test_every_fault_that_is_tried_is_in_the_table_and_no_other() -> None:
    text = (ROOT / "docs/faults.md").read_text()
    files = sorted((ROOT / "tests/faults").glob("test_*.py"))
    tried = [
        f"{f.name}::{name}"
        for f in files
        for name in re.findall(r"^def (test_\w+)", f.read_text(), re.M)
    ]

    assert sorted(re.findall(r"`(test_\w+\.py::test_\w+)`", text)) == sorted(tried)


def test_commands_in_the_readme_exist() -> None:
    commands = re.findall(r"^\$ (?:\w+=\S+ )*(?:\./)?(inv|nox) (.+)$", README, re.MULTILINE)
    commands += re.findall(r"`(?:\w+=\S+ )*(?:\./)?(inv|nox) ([^`]+)`", README)
    for program, words in commands:
        verb, *rest = [w for w in shlex.split(words) if w not in ("--dry", "--echo", "-s")]
        known = {
            "inv": {*VERBS, "--list", "VERB"},
            "nox": {"lint", "unit", "integration", "package", "faults", "lock"},
        }
        assert verb in known[program], f"{program} {words}"
        before = rest[: rest.index("--")] if "--" in rest else rest
        options = {word for word in before if word.startswith("--")} - {"--help"}
        assert options <= OPTIONS.get(verb, {}).keys(), f"{program} {words}"


@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda f: f.name)
def test_compose_files_use_declared_settings_and_their_defaults(file: Path) -> None:
    code = re.sub(r"^ *#.*", "", file.read_text(), flags=re.MULTILINE)
    used = re.findall(r"\$\{([A-Z_]+)(?::-((?:\$\{\w+\}|[^}])*))?", code)
    # Production has its own; what is generated has a default for a `.env` made by hand.
    defaults = {n: d for n, d in used if d and n not in GENERATED and "production" not in file.name}

    assert {name for name, _ in used} <= EXAMPLE.keys()
    assert defaults == {name: EXAMPLE[name] for name in defaults}


def test_the_server_reads_declared_settings() -> None:
    texts = [(ROOT / f"server/{name}").read_text() for name in SERVER_SETTINGS]
    read = set().union(*map(names_read, texts))

    assert {"SECRET_KEY", "GUNICORN_THREADS"} < read
    assert read <= EXAMPLE.keys()


def test_every_setting_is_used_somewhere() -> None:
    files = [*ROOT.glob("docker-compose*.yml"), *(ROOT / "composed").rglob("*.py")]
    texts = [file.read_text() for file in files]
    texts += [(ROOT / f"server/{name}").read_text() for name in SERVER_SETTINGS]

    assert [name for name in EXAMPLE if not any(name in text for text in texts)] == []
