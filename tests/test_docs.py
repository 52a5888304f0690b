"""README, the pages of ``docs/``, help and ``.env.example`` agree with the code."""

import dataclasses
import importlib.util
import re
import shlex
import sys
import tomllib
from html import escape
from pathlib import Path
from typing import Any

import pytest
from invoke import Collection, Task

import tasks
from composed import errors
from composed.doctor.env_check import names_read
from composed.env.settings import declared
from composed.health.explanations import CAUSES, names_of
from composed.project import Project
from tests.samples import GENERATED, OURS, ROOT, MonkeyPatch

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
EXAMPLE = declared((ROOT / ".env.example").read_text())
NAMESPACE = Collection.from_module(tasks)
VERBS: dict[str, Task[Any]] = {name: NAMESPACE[name] for name in NAMESPACE.task_names}

SERVER_SETTINGS = [(ROOT / f"server/{name}").read_text() for name in OURS.settings_files]

# Task.get_arguments pops the help texts: a second call has none.
OPTIONS = {
    name: {
        f"--{str(argument.name).strip('_').replace('_', '-')}": argument.help
        for argument in verb.get_arguments()
    }
    for name, verb in VERBS.items()
}


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the table under this first heading, from a page of ``docs/``."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


SESSIONS = [row[0].strip("`").removeprefix("nox -s ") for row in table("verbs.md", "session")]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_a_sentence_and_help_for_each_option(name: str) -> None:
    assert re.fullmatch(r"[A-Z][^\n]+\.", str(VERBS[name].__doc__))
    assert [option for option, help_ in OPTIONS[name].items() if not help_] == []


def test_the_docs_list_every_verb_and_option() -> None:
    shown = {row[0].strip("`").removeprefix("inv "): row[2] for row in table("verbs.md", "verb")}

    assert shown.keys() == VERBS.keys()
    for name, options in shown.items():
        assert set(options.strip("`").split()) == set(OPTIONS[name])


def test_the_docs_list_every_session() -> None:
    source = (ROOT / "noxfile.py").read_text()

    assert re.findall(r"@nox\.session.*\n(?:@nox.*\n)*def (\w+)", source) == SESSIONS


def test_inv_test_runs_every_session_that_checks_the_whole() -> None:
    named = (*OURS.sessions, *OURS.engine_sessions)

    assert {name.split("(")[0] for name in named} == {*SESSIONS} - {"one", "lock"}


def test_the_docs_list_every_setting_and_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in table("settings.md", "setting")}
    defaults = {name: "generated" if name in GENERATED else EXAMPLE[name] for name in EXAMPLE}

    assert shown == defaults


def test_the_docs_list_every_exit_code() -> None:
    classes = vars(errors).values()
    codes = {c.exit_code for c in classes if isinstance(c, type) and hasattr(c, "exit_code")}

    assert {int(row[0]) for row in table("troubleshooting.md", "code")} == (codes - {1}) | {0, 130}


def test_the_docs_list_every_key_of_a_project_and_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in table("adopt.md", "key")}
    project = Project(ROOT)
    fields = [field.name for field in dataclasses.fields(project) if field.name != "root"]

    assert list(shown) == fields
    read = tomllib.loads("".join(f"{key} = {value}\n" for key, value in shown.items()))
    for key, value in read.items():
        default = getattr(project, key)
        assert value == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("page", ["docs/adopt.md", "docs/package.md"])
def test_the_example_of_another_project_is_read(page: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(example_in(page, "toml"))

    project = Project.at(tmp_path)
    assert (project.backend, project.database, project.source) == ("web", "postgres", ".")


@pytest.mark.parametrize("page", ["docs/adopt.md", "docs/package.md"])
def test_the_example_gives_every_verb(page: str, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    (tmp_path / "tasks.py").write_text(example_in(page, "python"))
    spec = importlib.util.spec_from_file_location("example_tasks", tmp_path / "tasks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "example_tasks", module)

    spec.loader.exec_module(module)

    assert set(module.namespace.task_names) == set(VERBS)


def example_in(page: str, language: str) -> str:
    """Return the first block of code in this language, without the indentation of a list."""
    block = rf"^( *)```{language}\n(.*?)^ *```"
    indent, code = re.findall(block, (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)[0]
    return re.sub(f"^{indent}", "", code, flags=re.MULTILINE)


def test_the_docs_list_every_cause_and_cure() -> None:
    shown = {
        row[0]: re.findall(r"`([^`]+)`", row[1]) for row in table("troubleshooting.md", "cause")
    }
    names = {**names_of(OURS), "name": "{name}"}

    assert shown == {
        cause.name: [cure.format_map(names) for cure in (cause.cure, cause.local) if cure]
        for cause in CAUSES
    }


def test_the_table_of_faults_has_the_tests_of_faults() -> None:
    text = (ROOT / "docs/faults.md").read_text()
    tried = [
        f"{file.name}::{name}"
        for file in (ROOT / "tests/faults").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    ]

    assert sorted(re.findall(r"`(test_\w+\.py::test_\w+)`", text)) == sorted(tried)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_page_exist(page: Path) -> None:
    known = {"inv": {*VERBS, "--list", "--version", "VERB"}, "nox": {*SESSIONS}}
    for program, words in commands_on(page.read_text()):
        verb, *rest = [w for w in shlex.split(words) if w not in ("--dry", "--echo", "-s")]
        assert verb in known[program], f"{program} {words}"
        before = rest[: rest.index("--")] if "--" in rest else rest
        options = {word for word in before if word.startswith("--")} - {"--help"}
        assert options <= OPTIONS.get(verb, {}).keys(), f"{program} {words}"


def commands_on(text: str) -> list[tuple[str, str]]:
    """Return program and words of each command: after a prompt, or in code within a line."""
    after_prompt = re.findall(r"^\$ (?:\w+=\S+ )*(?:\./)?(inv|nox) (.+)$", text, re.MULTILINE)
    within_line = re.findall(r"`(?:\w+=\S+ )*(?:\./)?(inv|nox)\s([^`]+)`", text)
    return after_prompt + within_line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text())

    for name, anchor in targets:
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target.read_text()), f"{name}#{anchor}"


def test_the_page_of_the_index_needs_nothing_beside_it() -> None:
    readme = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"]
    page = (ROOT / readme).read_text()

    assert re.findall(r"\]\((?!https://)[^)]*\)|^\[.*\]:|<(?!https://)[^>]*>", page) == []
    for name in re.findall(r"`([\w/-]+\.md)`", page):
        assert (ROOT / name).exists(), name


def test_the_recording_shows_the_first_session_of_the_readme() -> None:
    session = re.findall(r"^\$ (.+)$", example_in("README.md", "console"), re.MULTILINE)
    recording = (ROOT / "docs/pictures/first-session.svg").read_text()

    assert session
    assert [c for c in session if escape(f"$ {c}", quote=False) not in recording] == []


def anchors(text: str) -> set[str]:
    """Return the anchor that GitHub gives each heading: ``Local mode`` has ``local-mode``."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda f: f.name)
def test_compose_files_use_declared_settings_and_their_defaults(file: Path) -> None:
    code = re.sub(r"^ *#.*", "", file.read_text(), flags=re.MULTILINE)
    used = re.findall(r"\$\{([A-Z_]+)(?::-((?:\$\{\w+\}|[^}])*))?", code)
    # Production has defaults apart; a generated setting has a default for a `.env` made by hand.
    defaults = {n: d for n, d in used if d and n not in GENERATED and "production" not in file.name}

    assert {name for name, _ in used} <= EXAMPLE.keys()
    assert defaults == {name: EXAMPLE[name] for name in defaults}


def test_the_server_reads_declared_settings() -> None:
    read = set().union(*map(names_read, SERVER_SETTINGS))

    assert {"SECRET_KEY", "GUNICORN_THREADS"} < read
    assert read <= EXAMPLE.keys()


def test_every_setting_is_used_somewhere() -> None:
    files = [*ROOT.glob("docker-compose*.yml"), *(ROOT / "composed").rglob("*.py")]
    texts = [*SERVER_SETTINGS, *(file.read_text() for file in files)]

    assert [name for name in EXAMPLE if not any(name in text for text in texts)] == []
