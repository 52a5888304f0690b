"""The known causes why a stack does not start, each with the command to type."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from composed.contract import HEALTH_CHECK, INVALID_SETTING, NOT_LOADED
from composed.env.settings import example_of
from composed.project import Project, text_of


class Explanation(NamedTuple):
    """A sentence on the cause, and the command to type; ``fatal`` means waiting cannot help."""

    sentence: str
    cure: str
    fatal: bool


class Cause(NamedTuple):
    """The signs of a cause in a log or in the output of a health check, and its cure.

    ``pattern`` is searched in the whole text, ``error`` only in the traceback of an
    application that does not load, as a line after the frames. ``sentence`` and ``cure`` take
    the groups of the match, the names of :func:`names_of`, and ``place``: file and line of
    the last frame in the project. ``local`` is the cure in local mode where that differs.
    """

    name: str
    sentence: str
    cure: str = "inv up"
    pattern: str = ""
    error: str = ""
    local: str = ""
    fatal: bool = True
    only_if: Callable[[re.Match[str], Project], bool] = lambda _match, _project: True

    def explain(
        self, project: Project, words: Mapping[str, str], *, local: bool = False
    ) -> Explanation:
        """Return the explanation with the names of the project and these words."""
        names = names_of(project) | dict(words)
        cure = self.local if local and self.local else self.cure
        return Explanation(self.sentence.format_map(names), cure.format_map(names), self.fatal)


def names_of(project: Project) -> dict[str, str]:
    """Return the names for sentences and cures; only settings and files the project has."""
    settings = example_of(project)
    has_timeout = "GUNICORN_TIMEOUT" in settings
    listing = project.find("requirements.in", "requirements.txt")
    has_locks = listing.endswith(".in") and "def lock(" in text_of(project.root / "noxfile.py")
    return {
        "backend": project.backend,
        "database": project.database,
        "database_name": project.database_name or "POSTGRES_DB",
        "source": project.relative(project.base),
        "requirements": project.find("requirements.txt"),
        "listing": f" to {listing}" if listing else "",
        "lock": ", and type: nox -s lock" if has_locks else "",
        "timeout": "GUNICORN_TIMEOUT" if has_timeout else "Gunicorn's --timeout",
        "more_time": "GUNICORN_TIMEOUT=120 " if has_timeout else "",
        "one_worker": "WEB_CONCURRENCY=1 " if "WEB_CONCURRENCY" in settings else "",
        "hosts_file": ".env" if "ALLOWED_HOSTS" in settings else "the settings of Django",
    }


def _is_required(match: re.Match[str], project: Project) -> bool:
    """Return whether the requirements name the module: psycopg2-binary provides psycopg2."""
    module = match["module"].partition(".")[0].lower()
    text = text_of(project.root / project.find("requirements.txt")).lower()
    packages = re.findall(r"^([\w.-]+)", text, re.MULTILINE)
    return any(module in (package, *re.split("[-_.]", package)) for package in packages)


def _is_of_the_source(match: re.Match[str], project: Project) -> bool:
    """Return whether the path is a container's name for a file of the source."""
    is_ours = Path(match["path"]).is_relative_to(project.base)
    return bool(_name_here(match["path"], project)) and not is_ours


# The traceback of an application that does not load follows one of these words.
_LOADING = (
    rf"^{HEALTH_CHECK}500|{NOT_LOADED}|Exception in worker process|Failed to read config file"
    r"|Exception in thread django-main-thread:"  # of runserver, which then waits for a change
)

_TRACEBACK = "Traceback (most recent call last):"

# The answers of a running backend show these three causes too.
PENDING_MIGRATIONS = Cause(
    "pending migrations",
    "Pending migrations{names}",
    "inv migrate",
    pattern=r'relation "\S+" does not exist|no such table: \S+',
    fatal=False,
)
UNKNOWN_MIGRATIONS = Cause(
    "migration in the database that is not in the files",
    "The database has migrations without a file: {names}. They come from a newer version or "
    "from another branch; find it.",
    "git log --all --oneline -- '*/{name}.py'",
    fatal=False,
)
REFUSED_HOST = Cause(
    "DisallowedHost",
    "Django refuses the host name {host}: add it to ALLOWED_HOSTS in {hosts_file}.",
    pattern=r"Invalid HTTP_HOST header: '(?P<host>[^']+)'",
    fatal=False,
)

# The first match is the cause: special causes stand before general causes.
CAUSES = (
    Cause(
        "disk full",
        "The disk of the engine or of this machine is full.",
        "docker system df",
        pattern=r"(?i:No space left on device|database or disk is full)",
        local="df -h .",
    ),
    Cause(
        "source that the container may not read",
        "{backend} may not read its source: {source} lets other users than the owner read nothing.",
        "chmod -R a+rX {source} && inv build && inv restart",  # mounted, or copied into the image
        pattern=r"^(?=.*\[Errno 13\]).*'(?P<path>/[^']+)'",
        only_if=_is_of_the_source,
    ),
    Cause(
        "wrong password, or a volume made with another",
        "The database refuses the password of {user}: the volume keeps its first password. "
        "Write that password into .env, or change the password of the volume.",
        "inv db.credentials",
        pattern=r'password authentication failed for user "(?P<user>[^"]+)"',
    ),
    Cause(
        "database missing",
        "The volume was made with another {database_name}, and has no database {name}.",
        "inv db.credentials",
        pattern=r'database "(?P<name>[^"]+)" does not exist',
    ),
    Cause(
        "volume of another PostgreSQL version",
        "The volume holds the data of PostgreSQL {old}, the image is PostgreSQL {new}.",
        "inv db.upgrade",
        pattern=r"initialized by PostgreSQL version (?P<old>\d+),? which is not compatible with "
        r"this version (?P<new>\d+)",
    ),
    Cause(
        "database refused",
        "The database does not take connections: it is down, still starting, or elsewhere.",
        "inv logs --service {database}",
        pattern=r'connection to server at "[^"]+".* failed: (?:Connection refused|timeout)'
        r"|could not translate host name",
        local="inv logs",
        fatal=False,
    ),
    PENDING_MIGRATIONS,
    UNKNOWN_MIGRATIONS,
    Cause(
        "setting missing or wrong",
        "{error} Correct it in .env.",
        pattern=rf"^(?P<error>{INVALID_SETTING}.*)",
        error=r"(?:\w+\.)*ImproperlyConfigured: (?P<error>[A-Z][A-Z0-9_]*[A-Z0-9]\b.*)",
    ),
    Cause(
        "dependency missing in a stale image",
        "{place}{requirements} names {module}, but the installed packages are older.",
        "inv up --build",
        error=r"ModuleNotFoundError: No module named '(?P<module>[\w.]+)'",
        local="pip install --requirement {requirements}",
        only_if=_is_required,
    ),
    Cause(
        "syntax error",
        "Correct {place}{error}",
        error=r"(?P<error>(?:Syntax|Indentation|Tab)Error: .*)",
    ),
    Cause(
        "import error",
        "Correct {place}{error} (or add the package{listing}{lock})",
        error=r"(?P<error>(?:ModuleNotFound|Import)Error: .*)",
    ),
    Cause(
        "another error in settings, urls, models, wsgi",
        "Correct {place}{error}",
        error=r"(?P<error>[A-Za-z_][\w.]*(?:Error|Exception|Configured|Registered)\b.*)",
        only_if=lambda match, project: bool(_place(match[0], project)),
    ),
    Cause(
        "Gunicorn worker time-out",
        "A worker took longer than {timeout} seconds to load or to answer.",
        "{more_time}inv up",
        pattern=r"WORKER TIMEOUT",
    ),
    Cause(
        "killed for memory",
        "A process was killed from outside, probably because memory ran out.",
        "{one_worker}inv up",
        pattern=r"was sent SIGKILL! Perhaps out of memory|^OOMKilled$",
    ),
    Cause(
        "Gunicorn worker boot failure",
        "A worker ended while it loaded the application, without a Python error.",
        "inv manage -- check",
        pattern=r"Worker failed to boot|Worker \(pid:\s*\d+\) exited with code [1-9]",
    ),
    REFUSED_HOST,
)


def explain(
    text: str, project: Project, *, local: bool = False, loading: bool = False, ended: bool = False
) -> Explanation | None:
    """Return the explanation of the cause that ``text`` shows, None for no known cause.

    ``text`` is the output of a health check or the last lines of a log; with
    ``loading``, the answer of an application that does not load. The log of a program that has
    ``ended`` shows the reason in its last traceback.
    """
    text = text.replace('\\"', '"')  # a health check may quote JSON
    start = None if loading else re.search(_LOADING, text, re.MULTILINE)
    last = text.rpartition(_TRACEBACK)[2] if ended and _TRACEBACK in text else ""
    traceback = text if loading else text[start.end() :] if start else last
    for cause in CAUSES:
        match = re.search(rf"(?s:.*)^{cause.error}", traceback, re.M) if cause.error else None
        if not match and cause.pattern:
            match = re.search(cause.pattern, text, re.MULTILINE)
        if match and cause.only_if(match, project):
            words = {"names": "", **match.groupdict(""), "place": _place(match[0], project)}
            return cause.explain(project, words, local=local)
    return None


def _place(traceback: str, project: Project) -> str:
    """Return ``file:line: `` of the last frame in a file of the project, or nothing."""
    for path, line in reversed(re.findall(r'File "([^"]+)", line (\d+)', traceback)):
        if name := _name_here(path, project):
            return f"{name}:{line}: "
    return ""


def _name_here(path: str, project: Project) -> str:
    """Return the source file, from the root, that a path here or in a container names; else ""."""
    parts = Path(path).parts
    if {"site-packages", "dist-packages"} & {*parts} or parts[:1] != ("/",):
        return ""
    ends = (project.base.joinpath(*parts[start:]) for start in range(1, len(parts)))
    return next((project.relative(end) for end in ends if os.path.lexists(end)), "")
