"""The settings that a project's own files use, found without running the files."""

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

COMPOSE_FILE = "a Compose file"

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# os.environ.get(…), os.getenv(…), env.bool(…) of django-environ, config(…) of python-decouple.
# A plain `environ` can belong to a WSGI request.
_READER = re.compile(r"os\.(environ(\.get|\.pop)?|getenv)|\w*env(\.\w+)?|config", re.IGNORECASE)


class Uses(NamedTuple):
    """The reader of each setting, and the settings that a Compose file requires: ``${NAME:?}``."""

    readers: Mapping[str, str]
    required: Sequence[str]


def uses(project: Project, gateway: Gateway, files: Sequence[Path]) -> tuple[Uses, list[Finding]]:
    """Return the readers of settings, and a finding for each file that could not be read.

    ``files`` are the env files, which may name other Compose files.
    """
    variables, unread = _compose_variables(gateway, files)
    readers = dict.fromkeys(variables, COMPOSE_FILE)
    paths: tuple[Path, ...] = ()
    try:
        paths = project.settings_paths
    except ComposedError as error:
        unread.append(Finding.of("source", error))
    for file in paths:
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
    """Return each variable of the Compose files, and whether it is required; needs no engine.

    No finding repeats an error text of Compose, which quotes values.
    """
    # A project name of our own: the setting may be malformed.
    words = ("--project-name", "check", "config", "--variables")
    answer = gateway.ask(Compose(gateway, files).argv(*words))
    if answer.code == NOT_FOUND:
        return {}, [Finding("Compose files", "ok", "not compared: there is no docker here")]
    if answer.code:
        old = "unknown flag" in answer.err
        reason = "Compose lists their variables from 2.26 on" if old else "Compose fails"
        cure = "docker compose config --variables"
        return {}, [Finding("Compose files", "warning", f"not compared: {reason}", cure)]
    rows = [row.split() for row in answer.out.splitlines()[1:]]
    return {name: required == "true" for name, required, *_ in rows}, []


def names_read(source: str) -> set[str]:
    """Return the names of the environment variables that Python source reads.

    Names stand in ``os.environ["NAME"]``, ``os.getenv("NAME")``, ``env("NAME")``,
    ``env.bool("NAME")``, and in calls of the source's own functions that read the variable
    named by an argument. Raises :class:`SyntaxError`.
    """
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and _is_reader(node)}
    if any(isinstance(node, ast.ImportFrom) and node.module == "os" for node in nodes):
        own |= {"environ", "environ.get"}
    asked = (key for node in nodes for key in _keys(node, own))
    names = {str(key.value) for key in asked if isinstance(key, ast.Constant)}
    return {name for name in names if _NAME.fullmatch(name)}


def _is_reader(function: ast.FunctionDef) -> bool:
    """Return whether the function reads the variable that an argument names."""
    keys = [key for node in ast.walk(function) for key in _keys(node)]
    arguments = {argument.arg for argument in function.args.args}
    return any(isinstance(key, ast.Name) and key.id in arguments for key in keys)


def _keys(node: ast.AST, own: Container[str] = ()) -> Iterator[ast.expr]:
    """Yield the key if the node looks up a variable; ``own`` are names of further readers."""
    if isinstance(node, ast.Subscript):
        reader, key = node.value, node.slice
    elif isinstance(node, ast.Call) and node.args:
        reader, key = node.func, node.args[0]
    else:
        return
    name = ast.unparse(reader)
    if name in own or _READER.fullmatch(name):
        yield key
