"""The files that `composed init` would write into a project, with their whole new content."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import NamedTuple

from composed import files
from composed.errors import SettingError
from composed.gateway import NOT_FOUND, Gateway
from composed.init import templates
from composed.init.places import settings_code
from composed.project import (
    MOST,
    Project,
    folders_of_clone,
    has_tasks,
    has_verbs,
    text_of,
)
from composed.terminal import say

_TASKS = ("tasks.py", "tasks")  # with either of them, there is no room for a tasks.py
# Found beside manage.py or in the root; a developer's packages before the server's.
_REQUIREMENTS = (
    "requirements/local.txt",
    "requirements/dev.txt",
    "requirements-dev.txt",
    "requirements.txt",
)
_PYTEST = {
    "pytest.ini": "",
    "pyproject.toml": r"^\[tool\.pytest",
    "setup.cfg": r"^\[tool:pytest",
    "tox.ini": r"^\[pytest",
}
# Linters that may refuse `import *`, which they allow by themselves or not, by their version.
_LINTERS = {
    "ruff.toml": "",
    ".ruff.toml": "",
    ".flake8": "",
    "pyproject.toml": r"^\[tool\.ruff",
    "setup.cfg": r"^\[flake8",
    "tox.ini": r"^\[flake8",
}
# What verbs write into a project, for this machine alone.
_LEFT_OUT = (".composed/", "data/snapshots/", "data/.snapshots.*")
# Files of other services that run checks.
_OTHER_CI = (".gitlab-ci.yml", ".circleci", "bitbucket-pipelines.yml", "azure-pipelines.yml")


class Draft(NamedTuple):
    """A file with its new content; ``offered`` files are written only on consent."""

    file: Path
    content: str
    offered: bool = False
    purpose: str = ""


def drafts(project: Project, gateway: Gateway, keys: Mapping[str, str]) -> list[Draft]:
    """Return the files that differ from what stands there; ``keys`` are of ``[tool.composed]``.

    Raises :class:`ComposedError` for a file that can be neither read nor replaced.
    """
    found = [_tasks(project), _pyproject(project, keys), _exclude(project, gateway)]
    found += [_noxfile(project), _workflow(project)]
    return [draft for draft in found if draft]


def needs_two_lines(project: Project) -> bool:
    """Return whether there are tasks of Invoke that have no verbs of Composed yet."""
    return has_tasks(project.root) and not has_verbs(project.root)


def own_tasks(project: Project) -> str:
    """Return the file or folder that has the name ``tasks`` and is none of Invoke; "" for none.

    A ``tasks.py`` of ours would take the place of that file, or of that package.
    """
    names = [name for name in _TASKS if os.path.lexists(project.root / name)]
    return "" if has_tasks(project.root) else "".join(names[:1])


def _tasks(project: Project) -> Draft | None:
    if any(os.path.lexists(project.root / name) for name in _TASKS):
        return None
    rules = ("  # noqa: F403", "  # noqa: F405") if _has(project, _LINTERS) else ("", "")
    content = Template(templates.TASKS).substitute(NOQA_IMPORT=rules[0], NOQA_NAME=rules[1])
    return Draft(project.root / "tasks.py", content)


def _pyproject(project: Project, keys: Mapping[str, str]) -> Draft | None:
    """Return ``pyproject.toml`` with more keys; raises where the result would say other things."""
    if not keys:
        return None
    import tomllib  # noqa: PLC0415  # takes milliseconds

    file = project.root / "pyproject.toml"
    before = _text(file)
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    if heading := re.search(r"(?m)^\[tool\.composed\].*\n?", before):
        end = heading.end()
        after = f"{before[:end].rstrip()}\n{lines}{before[end:]}"
    else:
        after = f"{before.rstrip()}\n\n[tool.composed]\n{lines}".lstrip()
    try:
        was, now = tomllib.loads(before), tomllib.loads(after)
    except (ValueError, RecursionError):
        now, was = {}, {}
    own = was.setdefault("tool", {}).setdefault("composed", {})
    own |= keys
    if was != now:
        problem = f"{project.relative(file)} cannot be completed."
        own_lines = ("[tool.composed]", *lines.splitlines())
        raise SettingError(problem, "Write these lines there:", *own_lines)
    return Draft(file, after)


def _exclude(project: Project, gateway: Gateway) -> Draft | None:
    """Return git's own list of files to leave out: a team's ``.gitignore`` stays as it is."""
    top = folders_of_clone(project.root)[-1]
    if not os.path.lexists(top / ".git"):
        return None
    answer = gateway.ask(["git", "rev-parse", "--git-path", "info/exclude"])
    if answer.code:
        no_git = "There is no git command here." if answer.code == NOT_FOUND else ""
        say(f"Not written: .git/info/exclude. {no_git or answer.err.strip()}")
        return None
    file = project.root / answer.out.rstrip("\n")
    prefix = "" if project.root == top else f"{project.root.relative_to(top).as_posix()}/"
    before = _text(file)
    wanted = [f"{prefix}{name}" for name in _LEFT_OUT]
    missing = [name for name in wanted if not _is_left_out(gateway, top / name, name, before)]
    lines = "".join(f"{name}\n" for name in missing)
    gap = "\n" if before and not before.endswith("\n") else ""
    return Draft(file, f"{before}{gap}{lines}") if lines else None


def _is_left_out(gateway: Gateway, path: Path, name: str, before: str) -> bool:
    if name in before.splitlines():
        return True
    example = path / "file" if name.endswith("/") else path
    return gateway.ask(["git", "check-ignore", "--quiet", str(example)]).code == 0


def _noxfile(project: Project) -> Draft | None:
    file = project.root / "noxfile.py"
    if os.path.lexists(file):
        return None
    content = Template(templates.NOXFILE).substitute(UNIT=_unit(project))
    return Draft(file, content, offered=True, purpose="sessions lint, unit and integration")


def _unit(project: Project) -> str:
    environment = sqlite_environment(settings_code(project))
    if environment is None:
        return templates.NO_UNIT
    folder = project.relative(project.base)
    by_pytest = _has(project, _PYTEST)
    installed = _installed(project)
    installed += ['    session.install("pytest", "pytest-django")'] if by_pytest else []
    test = ('"pytest"',) if by_pytest else ('"python"', '"manage.py"', '"test"')
    return Template(templates.UNIT).substitute(
        INSTALL="\n".join(installed),
        CHDIR="" if folder == "." else f"    session.chdir({json.dumps(folder)})\n",
        TEST=", ".join(test),
        ENV=json.dumps(environment),
    )


def sqlite_environment(code: str) -> dict[str, str] | None:
    """Return the variables with which these settings take SQLite; None where they cannot."""
    if "DATABASE_URL" in code or "dj_database_url" in code or "env.db(" in code:
        return {"DATABASE_URL": "sqlite:///unit.sqlite3"}
    return {} if "sqlite3" in code else None


def _installed(project: Project) -> list[str]:
    if (project.root / "uv.lock").is_file():
        own = '{"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}'
        return [f'    session.run_install("uv", "sync", env={own}, external=True)']
    if name := project.find(*_REQUIREMENTS):
        return [f'    session.install("-r", {json.dumps(name)})']
    return ['    session.install("-e", ".")']


def _has(project: Project, configured: Mapping[str, str]) -> bool:
    """Return whether one of these files has its pattern, in the root or beside ``manage.py``."""
    return any(
        re.search(pattern, text_of(folder / name), re.M) if pattern else (folder / name).is_file()
        for folder in dict.fromkeys((project.root, project.base))
        for name, pattern in configured.items()
    )


def _workflow(project: Project) -> Draft | None:
    top = folders_of_clone(project.root)[-1]
    file = top / ".github/workflows/composed.yml"
    is_clone = os.path.lexists(top / ".git")
    if not is_clone or any(os.path.lexists(top / name) for name in _OTHER_CI):
        return None
    if os.path.lexists(file) or _runs_nox(file.parent):
        return None
    folder = "" if project.root == top else json.dumps(project.root.relative_to(top).as_posix())
    content = Template(templates.WORKFLOW).substitute(
        BRANCH=json.dumps(_branch(top)),
        FOLDER=Template(templates.FOLDER).substitute(NAME=folder) if folder else "",
        PACKAGES='"composed[nox]" uv'
        if (project.root / "uv.lock").is_file()
        else '"composed[nox]"',
    )
    return Draft(file, content, offered=True, purpose="a workflow of GitHub that runs nox")


def _runs_nox(folder: Path) -> bool:
    found = sorted(folder.glob("*.y*ml")) if folder.is_dir() else ()
    return any(re.search(r"\bnox\b", text_of(file)) for file in found)


def _branch(top: Path) -> str:
    """Return the main branch, as the copy of the remote or the folder itself names it."""
    for name in (".git/refs/remotes/origin/HEAD", ".git/HEAD"):
        if match := re.search(r"^ref: refs/(?:heads|remotes/origin)/(\S+)$", text_of(top / name)):
            return match[1]
    return "main"


def _text(file: Path) -> str:
    """Return the text of a file to complete, "" for a missing one; raises for any other thing."""
    try:
        files.check(file, writes=True)
        return files.read(file, MOST).decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise SettingError(f"{file} is not UTF-8 text.", "Save it as plain UTF-8.") from None
    except OSError as error:
        raise files.unusable(file, error, "read") from None


def install_command(project: Project) -> str:
    """Return the command that adds Composed to the packages of the project."""
    folders = dict.fromkeys((project.root, project.base))
    if any((folder / "uv.lock").is_file() for folder in folders):
        return "uv add --dev composed"
    if any((folder / "poetry.lock").is_file() for folder in folders):
        return "poetry add --group dev composed"
    return "pip install composed"
