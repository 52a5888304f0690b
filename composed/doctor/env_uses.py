"""Which settings a project's own files use, found without running them."""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from composed.docker.compose import Compose
from composed.errors import ComposedError
from composed.findings import Finding
from composed.gateway import NOT_FOUND, Gateway
from composed.project import Project

__all__ = ["COMPOSE_FILE", "Uses", "names_read", "uses"]

COMPOSE_FILE = "a Compose file"

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# os.environ.get(…), os.getenv(…); env.bool(…) as with django-environ, config(…) with
# python-decouple. A plain `environ` can be a WSGI request's.
_READER = re.compile(r"os\.(environ(\.get|\.pop)?|getenv)|\w*env(\.\w+)?|config", re.IGNORECASE)


class Uses(NamedTuple):
    """Who reads each setting, and those that a Compose file requires: ``${NAME:?}``."""

    readers: Mapping[str, str]
    required: Sequence[str]


def uses(project: Project, gateway: Gateway, files: Sequence[Path]) -> tuple[Uses, list[Finding]]:
    """Return what reads settings, and a row for each that could not be looked into.

    ``files`` are the env files, which may name other Compose files.
    """
    variables, unread = _compose_variables(gateway, files)
    readers = dict.fromkeys(variables, COMPOSE_FILE)
    try:
        files_of_settings = project.settings_paths
    except ComposedError as error:
        unread.append(Finding.of("source", error))
        files_of_settings = ()
    for file in files_of_settings:
        try:
            readers |= dict.fromkeys(names_read(file.read_text(encoding="utf-8")), file.name)
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            seen = f"not compared: {getattr(error, 'strerror', None) or error}"
            cure = "Correct it, or name yours in [tool.composed] settings_files"
            unread.append(Finding(project.relative(file), "warning", seen, cure))
    return Uses(readers, [name for name, required in variables.items() if required]), unread


def _compose_variables(
    gateway: Gateway, files: Sequence[Path]
) -> tuple[dict[str, bool], list[Finding]]:
    """Ask ``docker compose config --variables``, which needs no engine; True is required.

    What Compose complains about is not repeated: it quotes values.
    """
    # With a name that is right for sure: the one in the settings may not be.
    words = ("--project-name", "check", "config", "--variables")
    answer = gateway.ask(Compose(gateway, files).argv(*words))
    if answer.code == NOT_FOUND:
        return {}, [Finding("Compose files", "ok", "not compared: there is no docker here")]
    if answer.code:
        old = "unknown flag" in answer.err
        why = "Compose lists their variables from 2.26 on" if old else "Compose fails"
        cure = "docker compose config --variables"
        return {}, [Finding("Compose files", "warning", f"not compared: {why}", cure)]
    rows = [row.split() for row in answer.out.splitlines()[1:]]
    return {name: required == "true" for name, required, *_ in rows}, []


def names_read(source: str) -> set[str]:
    """Return the environment variables that Python source reads by their names.

    Names that stand in ``os.environ["NAME"]``, ``os.getenv("NAME")``, ``env("NAME")``,
    ``env.bool("NAME")``, and in calls of the file's own functions that read the variable
    their caller names. Raises :class:`SyntaxError`.
    """
    nodes = list(ast.walk(ast.parse(source)))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    own = {function.name for function in functions if _reads_what_it_is_told(function)}
    if any(isinstance(node, ast.ImportFrom) and node.module == "os" for node in nodes):
        own |= {"environ", "environ.get"}
    asked = (key for node in nodes for key in _keys(node, own))
    names = {str(key.value) for key in asked if isinstance(key, ast.Constant)}
    return {name for name in names if _NAME.fullmatch(name)}


def _reads_what_it_is_told(function: ast.FunctionDef) -> bool:
    keys = [key for node in ast.walk(function) for key in _keys(node)]
    told = {argument.arg for argument in function.args.args}
    return any(isinstance(key, ast.Name) and key.id in told for key in keys)


def _keys(node: ast.AST, own: Container[str] = ()) -> Iterator[ast.expr]:
    """Return what the node looks up in the environment, if it does; ``own`` names do it too."""
    if isinstance(node, ast.Subscript):
        asked, key = node.value, node.slice
    elif isinstance(node, ast.Call) and node.args:
        asked, key = node.func, node.args[0]
    else:
        return
    name = ast.unparse(asked)
    if name in own or _READER.fullmatch(name):
        yield key
