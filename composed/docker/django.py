"""How Django is run in the backend's container: the command of ``manage.py``, and its variables.

The entrypoint of an image may flush, migrate or load data, so no command of ours runs the
entrypoint. An entrypoint may also export variables that Django needs: commands of ours get these
variables from the running server.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from composed.docker.detection import scripts
from composed.docker.dockerfile import WORD, inside
from composed.docker.model import ComposeService
from composed.gateway import Gateway

_STARTER = re.compile(r"(?:.*/)?(?:python[\d.]*|uv|poetry|pdm|pipenv|hatch)")
_PYTHON = re.compile(r"(?:.*/)?python[\d.]*")
_BEFORE = re.compile(rf"{_STARTER.pattern}|run|-[A-Za-z]+|--[\w-]+")

# A word in a command, also beside the signs of a shell.
_WHOLE = r"""(?<![^\s"',;&|(\[])(?:[^\s"',;&|()\[\]]*/)?(?:%s)(?![^\s"',;&|)\]])"""
_MANAGE = re.compile(_WHOLE % r"manage\.py")
_SERVER = re.compile(_WHOLE % "gunicorn|uvicorn|daphne|hypercorn|granian")

_COMMENT = re.compile(r"(?m)^\s*#.*$")
_HANDS_ON = re.compile(r"\$[@*]")
_SUBSHELL = re.compile(r"\([^()]*\)")  # that has ended: its `cd` is over
_CD = re.compile(r"""(?<![\w./$-])cd[ \t]+(?:-[A-Za-z-]+[ \t]+)*["']?([^\s"';&|)]*)""")
_PLAIN_PATH = re.compile(r"(?!-$)[\w./@+-]+")

# Variables of any shell and of Django's reloader, which say nothing about the entrypoint.
_OF_THE_PROCESS = {"HOME", "HOSTNAME", "OLDPWD", "PWD", "SHLVL", "TERM", "_", "container"}
_OF_THE_PROCESS |= {"DJANGO_AUTORELOAD_ENV", "RUN_MAIN", "SERVER_SOFTWARE"}

_ENVIRONMENTS = r"""cd /proc && for process in [0-9]*; do
  printf '\1%s\0' "$process"; cat "$process/environ" 2>/dev/null
done; true"""

# The exports reach the container in one variable. Each by its own name would be a variable of
# `docker` on this machine: a PATH without docker, another DOCKER_HOST, another ${NAME} for Compose.
EXPORTS = "COMPOSED_EXPORTS"
_EXPORTING = f'eval "${EXPORTS}" 2>/dev/null; unset {EXPORTS}; exec "$@"'


class ManageCommand(NamedTuple):
    """The words that start a management command; in ``folder``, or "" for the image's own."""

    words: Sequence[str]
    folder: str = ""

    @property
    def options(self) -> list[str]:
        """The options of ``docker compose run`` and ``exec`` for the folder."""
        return ["--workdir", self.folder] if self.folder else []


def manage_command(service: ComposeService, tree: Path) -> ManageCommand:
    """Return the command of the ``manage.py`` in ``tree``, as the container sees that file.

    A ``manage.py`` in the command of the service counts first, then a mount of ``tree``, then
    the Dockerfile: the image may have an old copy where the source is mounted elsewhere.
    """
    target, texts = next(_targets(service, tree), ""), _texts(service)
    if named := _first(_MANAGE, texts):
        words, path = named.runner or ["python"], named.word
        if named.folder is None or "$" in path:  # only the container's shell knows the folder
            return ManageCommand([*words, "manage.py"], _unlike(service.folder, target))
        folder = "" if path.startswith("/") else _unlike(service.folder, named.folder)
        if folder.startswith("/"):
            return ManageCommand([*words, path], folder)
        return ManageCommand([*words, inside(folder, path) if folder else path])
    server = _first(_SERVER, texts) or _Named([], "", "")
    folder = target or server.folder or ""
    folder = _unlike(service.folder, folder) if folder.startswith("/") else ""
    return ManageCommand([*_python_of(server), "manage.py"], folder)


class _Named(NamedTuple):
    """A word in a command, the words before it that start Python, and the folder there.

    The folder is None where a variable decides, and relative where only the image knows its own.
    """

    runner: list[str]
    word: str
    folder: str | None


def _texts(service: ComposeService) -> list[tuple[str, str | None]]:
    """Return the command of the service and the scripts, each with the folder at its start."""
    starts, called = _COMMENT.sub("", service.starts), scripts(service)
    # A script that starts the words given to it has changed the folder for them too.
    before = _moved(service.folder, called) if _HANDS_ON.search(called) else service.folder
    return [(starts, before), (called, _moved(service.folder, starts))]


def _first(pattern: re.Pattern[str], texts: Sequence[tuple[str, str | None]]) -> _Named | None:
    for text, folder in texts:
        if match := pattern.search(text):
            before = text[: match.start()]
            return _Named(_runner(WORD.findall(before)), match[0], _moved(folder, before))
    return None


def _moved(folder: str | None, text: str) -> str | None:
    """Return the folder after each ``cd`` of a text; None where only the shell knows it."""
    while (without := _SUBSHELL.sub("", text)) != text:
        text = without
    for target in _CD.findall(text):
        is_known = _PLAIN_PATH.fullmatch(target) and (folder is not None or target[0] == "/")
        folder = inside(folder or "", target) if is_known else None
    return folder


def _unlike(own: str, folder: str) -> str:
    """Return the folder, "" for the one in which the container starts by itself."""
    return "" if folder == own else folder


def _python_of(server: _Named) -> list[str]:
    """Return the Python that runs a server: ``gunicorn`` lies beside it, ``-m`` belongs to it."""
    runner = server.runner
    if runner[-1:] == ["-m"]:
        runner = runner[:-1]
        return runner if any(map(_PYTHON.fullmatch, runner)) else [*runner, "python"]
    return [*runner, posixpath.join(posixpath.dirname(server.word), "python")]


def _runner(words: Sequence[str]) -> list[str]:
    """Return the words at the end that start Python, such as ``uv run python``."""
    before: list[str] = []
    for candidate in reversed(words):
        if not _BEFORE.fullmatch(candidate):
            break
        before.insert(0, candidate)
    while before and not _STARTER.fullmatch(before[0]):
        del before[0]
    return before


def _targets(service: ComposeService, tree: Path) -> Iterator[str]:
    """Yield the folders of the container that have the tree, the likeliest first."""
    mounts = [mount for mount in service.mounts if mount.type == "bind"]
    # A mount inside of another one hides that part of the outer mount.
    for mount in sorted(mounts, key=lambda mount: len(mount.source), reverse=True):
        if tree.is_relative_to(mount.source):
            yield _inside(mount.target, tree, Path(mount.source))
    if service.build and tree.is_relative_to(service.build.context):
        path = tree.relative_to(service.build.context).as_posix()
        yield from reversed(service.build.read().copies(path))


def _inside(target: str, tree: Path, source: Path) -> str:
    return str(PurePosixPath(target, tree.relative_to(source).as_posix()))


def server_variables(gateway: Gateway, container: str) -> dict[str, str]:
    """Return the variables that the entrypoint of a running container has exported.

    They are in the environment of the server, and not in the container's own. Empty without an
    entrypoint, or while nothing is exported.
    """
    form = '{"entrypoint":{{json .Config.Entrypoint}},"env":{{json .Config.Env}}}'
    answer = gateway.ask(["docker", "inspect", "--format", form, container])
    try:
        config = json.loads(answer.out)
    except ValueError:  # the container is gone
        return {}
    if not config["entrypoint"]:
        return {}
    own = _variables(config["env"] or ())
    answer = gateway.ask(["docker", "exec", container, "sh", "-c", _ENVIRONMENTS])
    processes = (text.split("\0") for text in answer.out.split("\1")[1:])
    by_pid = {int(pid): _variables(lines) for pid, *lines in processes if pid.isdecimal()}
    for _, variables in sorted(by_pid.items()):
        exported = {name: value for name, value in variables.items() if own.get(name) != value}
        if found := {n: v for n, v in exported.items() if n not in _OF_THE_PROCESS}:
            return found
    return {}


def exporting(variables: Mapping[str, str], words: Sequence[str]) -> tuple[list[str], str]:
    """Return the words that run in these variables, and the value of ``EXPORTS`` for them.

    No value is among the words: they may be secrets. Without variables the words stay.
    """
    # `command`: without it, a name that the shell keeps to itself, such as UID, ends the shell.
    lines = (f"command export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    start = ["sh", "-c", _EXPORTING, "sh"] if variables else []
    return [*start, *words], "".join(lines)


def _variables(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, sign, value in pairs if sign and name.isidentifier()}
