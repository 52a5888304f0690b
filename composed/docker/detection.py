"""Which service of a Compose model runs Django, and which service runs the database.

The rules were tried on 22 Compose models of public projects: the names of services differ from
project to project (web, app, django, api, …), so images, commands, ports and mounts decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from composed.docker.model import ComposeService, Model
from composed.docker.volatile import holds_data
from composed.project import Project, text_of

_POSTGRESQL = re.compile("postgres|postgis|pgvector|timescale|pgautoupgrade")
_OTHER_DATABASE = re.compile("mysql|mariadb|percona|mongo|mssql|oracle")
_NO_SERVER = re.compile("exporter|pgadmin|adminer|backup|bouncer|pgcat|pgpool|express")
_SERVERS = re.compile(
    r"gunicorn|uwsgi|uvicorn|daphne|hypercorn|granian|waitress|runserver|manage\.py\s+\S*serve"
)
_WORKERS = re.compile(
    r"celery|worker|beat|flower|cron|scheduler|queue|consumer|initiali[sz]"
    r"|(?:^|[-_.])(?:init|migrat\w*|setup|seed|tests?|lint|docs?)(?:[-_.]|$)"
)
# Management commands at every start that change data, as shells, lists and Dockerfiles write them.
CHANGE = re.compile(
    r"""(?:(?:manage\.py|django-admin|\bdjango)["',\s]+(?:-[\w-]+[\s"',]+)*"""
    r"""|\bcall_command\(\s*["'])(flush|reset_db|migrate|loaddata)\b"""
)
# A file from which a server gets commands, such as the hooks of uWSGI; no path of a variable's.
_SETTINGS = re.compile(r"(?<![\w$}./-])[\w./-]+\.(?:ini|toml|py|cfg|conf|ya?ml)(?![\w.])")
_SCRIPT = re.compile(r"(?<![\w$}./-])[\w./-]+\.sh\b")
# The first word of a command in a line of a script, after words that only start another command.
_CALLED = re.compile(
    r"""(?:^|[;&|(){])\s*"""
    r"""(?:(?:if|then|else|while|do|!|exec|source|\.|(?:[\w/]*/)?(?:[bd]?a)?sh|-\w+|\w+=\S*)\s+)*"""
    r"""["']?([\w./-]+)"""
)
_WORKER_COMMANDS = re.compile("celery|rqworker|qcluster|dramatiq|run_huey|db_worker")


def backends(model: Model, tree: Path | None = None) -> list[str]:
    """Return the service that runs Django; several in a tie, none where nothing looks like it.

    A candidate starts a Python server or ``manage.py``, or has the source, and is no worker. In
    this order count: the command of a server, the folder ``tree`` of ``manage.py`` in the build
    or in a mount, a published port, a database.
    """
    ranks = {}
    for service in model.services.values():
        starts = f"{service.starts}\n{scripts(service)}"
        is_server, has_source = bool(_SERVERS.search(starts)), _has(service, tree)
        can_serve = is_server or has_source or service.build or "manage.py" in starts
        if can_serve and not is_database(service) and not _is_worker(service):
            needed = model.with_dependencies([service.name])
            has_database = any(map(is_database, needed))
            ranks[service.name] = (is_server, has_source, bool(service.ports), has_database)
    return [name for name, rank in ranks.items() if rank == max(ranks.values())]


def databases(model: Model, backend: str = "") -> list[str]:
    """Return the PostgreSQL service; of several, those that the backend needs."""
    names = [service.name for service in model.services.values() if runs_postgresql(service)]
    needed = [service.name for service in model.with_dependencies([backend] if backend else [])]
    return [name for name in names if name in needed] or names


def runs_postgresql(service: ComposeService) -> bool:
    """Return whether the image, or the last base image of the build, is of PostgreSQL.

    An image with another name counts where it gets the variables and has the mount.
    """
    has_data = any(holds_data(mount, service) for mount in service.mounts)
    if "POSTGRES_PASSWORD" in service.environment and has_data:
        return True
    return any(_POSTGRESQL.search(n) and not _NO_SERVER.search(n) for n in _images(service))


def is_database(service: ComposeService) -> bool:
    """Return whether the service is a database server, of PostgreSQL or another one."""
    others = (n for n in _images(service) if not _NO_SERVER.search(n))
    return runs_postgresql(service) or any(map(_OTHER_DATABASE.search, others))


def same_image(model: Model, backend: str) -> list[str]:
    """Return the other services that run the backend's image or build: workers."""
    own = model.service(backend)
    return [
        service.name
        for service in model.services.values()
        if service.name != backend
        and ((service.build and service.build == own.build) or service.image == own.image != "")
    ]


def serves(service: ComposeService) -> bool:
    """Return whether the service starts a Python server, or a command of ``manage.py`` that is."""
    return bool(_SERVERS.search(f"{service.starts}\n{scripts(service)}"))


def scripts(service: ComposeService) -> str:
    """Return the commands of the scripts that the service starts, where the project has them."""
    return "\n".join(line for file in script_files(service) for _, line in _commands(file))


def script_files(service: ComposeService) -> list[Path]:
    """Return the scripts that the service starts, and those that these call, as far as known."""
    words = re.findall(r"""[^\s"',;\[\]]+""", service.starts)[:8]
    first = _scripts_at(service, (word for word in words if "/" in word or "." in word))
    lines = [line for file in first for _, line in _commands(file)]
    called = [word for line in lines for word in _CALLED.findall(line)]
    called = [word for word in called if "/" in word or word.endswith(".sh")]
    return list(dict.fromkeys([*first, *_scripts_at(service, called)]))


def _settings_files(service: ComposeService, scripts: Iterable[Path]) -> list[Path]:
    """Return the files of settings that the command or the ``scripts`` name, and their scripts.

    Without ``manage.py``, of which only the command that it gets matters.
    """
    texts = [service.starts, *_texts(scripts)]
    named = dict.fromkeys(word for text in texts for word in _SETTINGS.findall(text))
    found = map(service.on_host, named)
    files = [file for file in found if file and file.name != "manage.py"]
    called = [word for text in _texts(files) for word in _SCRIPT.findall(text)]
    return [*files, *_scripts_at(service, called)]


def _texts(files: Iterable[Path]) -> list[str]:
    return [line for file in files for _, line in _commands(file)]


def _scripts_at(service: ComposeService, paths: Iterable[str]) -> list[Path]:
    found = map(service.on_host, dict.fromkeys(paths))
    return [file for file in found if file and file.suffix in ("", ".sh")]


def _commands(file: Path) -> list[tuple[int, str]]:
    """Return the numbered lines of a script or of settings, without lines of comment."""
    marks = ("#", ";") if file.suffix in (".ini", ".cfg", ".conf") else ("#",)
    lines = enumerate(text_of(file).splitlines(), 1)
    return [(number, line) for number, line in lines if not line.lstrip().startswith(marks)]


class Danger(NamedTuple):
    """A management command that changes data at each start, in ``FILE:LINE`` of a file.

    The place is empty for the command of the service itself.
    """

    place: str
    command: str

    @property
    def is_harmful(self) -> bool:
        """Whether data may go: migrations that are applied at each start are the plan."""
        return self.command != "migrate"


def dangers(service: ComposeService, project: Project) -> list[Danger]:
    """Return the commands at the start of a service that flush, migrate or load data."""
    found, scripts = [], script_files(service)
    for file in dict.fromkeys([*scripts, *_settings_files(service, scripts)]):
        for number, line in _commands(file):
            place = f"{project.relative(file)}:{number}"
            found += [Danger(place, name) for name in CHANGE.findall(line)]
    return found + [Danger("", name) for name in CHANGE.findall(service.starts)]


def _images(service: ComposeService) -> Iterable[str]:
    images = [service.image, *(service.build.read().images[-1:] if service.build else ())]
    return [image.rpartition("/")[2].partition(":")[0].partition("@")[0] for image in images]


def _has(service: ComposeService, tree: Path | None) -> bool:
    """Return whether the tree is in the service: mounted, or in the context of its build."""
    if tree is None:
        return False
    sources = [mount.source for mount in service.mounts if mount.type == "bind"]
    sources += [str(service.build.context)] if service.build else []
    return any(tree.is_relative_to(source) for source in sources if source)


def _is_worker(service: ComposeService) -> bool:
    return bool(_WORKERS.search(service.name) or _WORKER_COMMANDS.search(service.command))
