"""Where in a project's files a thing is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from composed.errors import SettingError
from composed.project import Project, text_of


def place(project: Project, file: Path, pattern: str = "") -> str:
    """Return the file as the user writes it, with the first line that has the pattern."""
    lines = text_of(file).splitlines() if pattern else ()
    numbers = (n for n, line in enumerate(lines, 1) if re.search(pattern, line))
    number = next(numbers, 0)
    return f"{project.relative(file)}:{number}" if number else project.relative(file)


def key_place(project: Project, key: str) -> str:
    """Return the line of a key of ``[tool.composed]``."""
    return place(project, project.root / "pyproject.toml", rf"^\s*{key}\s*=")


def service_place(project: Project, name: str) -> str:
    """Return the line of a service in the Compose files; "" where no file has one."""
    return line_below(project, project.compose.all(), "services", name)


def line_below(project: Project, files: Iterable[Path], heading: str, name: str) -> str:
    """Return the line of a key below a heading without indentation, in files of YAML."""
    key = re.compile(rf"""[ \t]+["']?{re.escape(name)}["']?[ \t]*:""")
    for file in files:
        top = ""
        for number, line in enumerate(text_of(file).splitlines(), 1):
            top = match[1] if (match := re.match(r"([\w.-]+)[ \t]*:", line)) else top
            if top == heading and key.match(line):
                return f"{project.relative(file)}:{number}"
    return ""


def code_of(file: Path) -> list[tuple[int, str]]:
    """Return the numbered lines of a script or of Python code, without lines of comment."""
    lines = enumerate(text_of(file).splitlines(), 1)
    return [(number, line) for number, line in lines if not line.lstrip().startswith("#")]


def settings_files(project: Project) -> list[Path]:
    """Return the files with the settings: of a package ``settings``, all its modules.

    There is none where no folder of ``manage.py`` is known.
    """
    try:
        files = list(project.settings_paths)
    except SettingError:
        return []
    packages = {file.parent for file in files if file.parent.name == "settings"}
    modules = [file for package in sorted(packages) for file in sorted(package.glob("*.py"))]
    return list(dict.fromkeys([*files, *modules]))


def settings_code(project: Project) -> str:
    """Return the code of all settings files, without lines of comment."""
    return "\n".join(line for file in settings_files(project) for _, line in code_of(file))
