"""How Django is run in the backend's container: the command of ``manage.py``, and its variables.

The entrypoint of an image may flush, migrate or load data, so no command of ours runs the
entrypoint. An entrypoint may also export variables that Django needs: commands of ours get these
variables from the running server.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from composed.docker.detection import scripts
from composed.docker.dockerfile import WORD
from composed.docker.model import ComposeService
from composed.gateway import Gateway

_STARTER = re.compile(r"(?:.*/)?(?:python[\d.]*|uv|poetry|pdm|pipenv|hatch)")
_PROGRAM = re.compile(r"(?:.*/)?(?:gunicorn|uvicorn|daphne|hypercorn|granian)")
_BEFORE = re.compile(rf"{_STARTER.pattern}|run|-[A-Za-z]+|--[\w-]+")

# Variables of any shell and of Django's reloader, which say nothing about the entrypoint.
_OF_THE_PROCESS = {"HOME", "HOSTNAME", "OLDPWD", "PWD", "SHLVL", "TERM", "_", "container"}
_OF_THE_PROCESS |= {"DJANGO_AUTORELOAD_ENV", "RUN_MAIN", "SERVER_SOFTWARE"}

_ENVIRONMENTS = r"""cd /proc && for process in [0-9]*; do
  printf '\1%s\0' "$process"; cat "$process/environ" 2>/dev/null
done; true"""


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
    words = WORD.findall(f"{service.starts}\n{scripts(service)}")
    if named := next((word for word in words if word.rpartition("/")[2] == "manage.py"), ""):
        return ManageCommand([*(_runner(words, named) or ["python"]), named])
    server = next((word for word in words if _PROGRAM.fullmatch(word)), "")
    python = [*_runner(words, server), posixpath.join(posixpath.dirname(server), "python")]
    folder = next(_targets(service, tree), "")
    return ManageCommand([*python, "manage.py"], "" if folder == service.folder else folder)


def _runner(words: Sequence[str], word: str) -> list[str]:
    """Return the words before ``word`` that start Python, such as ``uv run python``."""
    before: list[str] = []
    for candidate in reversed(words[: words.index(word)] if word else ()):
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


def _variables(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, sign, value in pairs if sign and name.isidentifier()}
