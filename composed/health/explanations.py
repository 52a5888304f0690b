"""The known causes why a stack does not start, each with the command to type."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from composed.contract import HEALTH_CHECK, INVALID_SETTING, NOT_LOADED
from composed.env.settings import example_of
from composed.project import Project

__all__ = [
    "CAUSES",
    "PENDING_MIGRATIONS",
    "REFUSED_HOST",
    "UNKNOWN_MIGRATIONS",
    "Cause",
    "Explanation",
    "explain",
    "names_of",
]


class Explanation(NamedTuple):
    """One sentence on the cause, and the command to type; with ``fatal``, waiting is in vain."""

    sentence: str
    cure: str
    fatal: bool


def _always(_found: re.Match[str], _project: Project) -> bool:
    return True


class Cause(NamedTuple):
    """How a cause shows in a log or a health check's output, and its cure.

    ``pattern`` is searched in the whole text, ``error`` only in the traceback of an
    application that does not load: the error is a line after the frames. ``sentence``
    and ``cure`` take the groups of the match, the names of :func:`names_of`, and
    ``at``: the file and line of the project where the traceback ends. ``local`` is
    the cure in local mode, where it differs.
    """

    name: str
    pattern: str
    sentence: str
    cure: str
    fatal: bool = True
    local: str = ""
    error: str = ""
    only_if: Callable[[re.Match[str], Project], bool] = _always

    def explain(
        self, project: Project, words: Mapping[str, str], *, local: bool = False
    ) -> Explanation:
        """Return the explanation in the names of the project, and with these words."""
        names = names_of(project) | dict(words)
        cure = self.local if local and self.local else self.cure
        return Explanation(self.sentence.format_map(names), cure.format_map(names), self.fatal)


def names_of(project: Project) -> dict[str, str]:
    """Return the names for the sentences and cures: only of what the project has."""
    declared = example_of(project)
    has_timeout = "GUNICORN_TIMEOUT" in declared
    where = ".env" if "ALLOWED_HOSTS" in declared else "the settings of Django"
    return {
        "backend": project.backend,
        "database": project.database,
        "database_name": project.database_name,
        "source": project.relative(project.base),
        "requirements": project.find("requirements.txt"),
        "add": _how_to_add(project),
        "timeout": "GUNICORN_TIMEOUT" if has_timeout else "Gunicorn's --timeout",
        "more_time": "GUNICORN_TIMEOUT=120 " if has_timeout else "",
        "one_worker": "WEB_CONCURRENCY=1 " if "WEB_CONCURRENCY" in declared else "",
        "hosts": f"ALLOWED_HOSTS in {where}",
    }


def _how_to_add(project: Project) -> str:
    """Return how to add a package, by the files that the project has."""
    file = project.find("requirements.in", "requirements.txt")
    noxfile = project.root / "noxfile.py"
    locks = (
        file.endswith(".in")
        and noxfile.is_file()
        and "def lock(" in noxfile.read_text(errors="replace")
    )
    target = f" to {file}" if file else ""
    return f"add the package{target}{', and type: nox -s lock' if locks else ''}"


def _is_required(found: re.Match[str], project: Project) -> bool:
    """Say whether the requirements name the module: psycopg2 by psycopg2-binary."""
    module = found["module"].partition(".")[0].lower()
    file = project.find("requirements.txt")
    text = (project.root / file).read_text(errors="replace") if file else ""
    names = re.findall(r"^([\w.-]+)", text, re.MULTILINE)
    return any(module in (name.lower(), *re.split("[-_.]", name.lower())) for name in names)


def _is_ours(found: re.Match[str], project: Project) -> bool:
    return bool(_at(found[0], project))


def _is_mounted(found: re.Match[str], project: Project) -> bool:
    """Say whether the path is of a file of the source, as a container names it."""
    ours = Path(found["path"]).is_relative_to(project.base)
    return bool(_name_here(found["path"], project)) and not ours


# The traceback of an application that does not load follows one of these words.
_LOADING = (
    rf"^{HEALTH_CHECK}500|{NOT_LOADED}|Exception in worker process"
    r"|Failed to read config file"
)

# These three are told by the answers of a running backend too.
PENDING_MIGRATIONS = Cause(
    "pending migrations",
    r'relation "\S+" does not exist|no such table: \S+',
    "Pending migrations{names}",
    "inv migrate",
    fatal=False,
)
UNKNOWN_MIGRATIONS = Cause(
    "migration in the database that is not in the files",
    "",
    "The database has migrations that the files have not: {names}. It was migrated by a newer "
    "version or another branch; find it.",
    "git log --all --oneline -- '*/{name}.py'",
    fatal=False,
)
REFUSED_HOST = Cause(
    "DisallowedHost",
    r"Invalid HTTP_HOST header: '(?P<host>[^']+)'",
    "Django refuses the host name {host}: add it to {hosts}.",
    "inv up",
    fatal=False,
)

# The first that matches is the cause: what is particular stands before what is general.
CAUSES = (
    Cause(
        "disk full",
        r"(?i:No space left on device|database or disk is full)",
        "The disk is full, the engine's or this machine's.",
        "docker system df",
        local="df -h .",
    ),
    Cause(
        "source that the container may not read",
        r"^(?=.*\[Errno 13\]).*'(?P<path>/[^']+)'",
        "{backend} may not read its source: the folder is mounted, and belongs to somebody else.",
        "chmod -R a+rX {source} && inv restart",
        only_if=_is_mounted,
    ),
    Cause(
        "wrong password, or a volume made with another",
        r'password authentication failed for user "(?P<user>[^"]+)"',
        "The database refuses the password of {user}: its volume keeps the one that it was made "
        "with. Write the old one into .env, or change the volume's.",
        "inv db.credentials",
    ),
    Cause(
        "database missing",
        r'database "(?P<name>[^"]+)" does not exist',
        "The volume was made with another {database_name}, and has no database {name}.",
        "inv db.credentials",
    ),
    Cause(
        "volume of another PostgreSQL version",
        r"initialized by PostgreSQL version (?P<old>\d+),? which is not compatible with this "
        r"version (?P<new>\d+)",
        "The volume holds the data of PostgreSQL {old}, the image is PostgreSQL {new}.",
        "inv db.upgrade",
    ),
    Cause(
        "database refused",
        r'(?:connection to server at "(?P<host>[^"]+)".* failed: (?:Connection refused|timeout)'
        r"|could not translate host name)",
        "The database does not take connections: it is down, still starting, or elsewhere.",
        "inv logs --service {database}",
        fatal=False,
        local="inv logs",
    ),
    PENDING_MIGRATIONS,
    UNKNOWN_MIGRATIONS,
    Cause(
        "setting missing or wrong",
        rf"^(?P<what>{INVALID_SETTING}.*)",
        "{what} Correct it in .env.",
        "inv up",
        error=r"(?:\w+\.)*ImproperlyConfigured: (?P<what>[A-Z][A-Z0-9_]*[A-Z0-9]\b.*)",
    ),
    Cause(
        "dependency missing in a stale image",
        "",
        "{at}{requirements} names {module}, but what runs was installed before.",
        "inv up --build",
        local="pip install --requirement {requirements}",
        error=r"ModuleNotFoundError: No module named '(?P<module>[\w.]+)'",
        only_if=_is_required,
    ),
    Cause(
        "syntax error",
        "",
        "Correct {at}{what}",
        "inv up",
        error=r"(?P<what>(?:Syntax|Indentation|Tab)Error: .*)",
    ),
    Cause(
        "import error",
        "",
        "Correct {at}{what} (or {add})",
        "inv up",
        error=r"(?P<what>(?:ModuleNotFound|Import)Error: .*)",
    ),
    Cause(
        "another error in settings, urls, models, wsgi",
        "",
        "Correct {at}{what}",
        "inv up",
        error=r"(?P<what>[A-Za-z_][\w.]*(?:Error|Exception|Configured|Registered)\b.*)",
        only_if=_is_ours,
    ),
    Cause(
        "Gunicorn worker time-out",
        r"WORKER TIMEOUT",
        "A worker took longer than {timeout} seconds to load or to answer.",
        "{more_time}inv up",
    ),
    Cause(
        "killed for memory",
        r"was sent SIGKILL! Perhaps out of memory|^OOMKilled$",
        "A process was killed from outside, by the look of it because memory ran out.",
        "{one_worker}inv up",
    ),
    Cause(
        "Gunicorn worker boot failure",
        r"Worker failed to boot|Worker \(pid:\s*\d+\) exited with code [1-9]",
        "A worker ended while it loaded the application, without an error of Python's.",
        "inv manage -- check",
    ),
    REFUSED_HOST,
)


def explain(
    text: str, project: Project, *, local: bool = False, loading: bool = False
) -> Explanation | None:
    """Return the cause that ``text`` shows, None when it shows no known one.

    ``text`` is the output of a health check or the last lines of a log; with
    ``loading``, the answer of an application that does not load.
    """
    text = text.replace('\\"', '"')  # a health check may quote JSON
    start = None if loading else re.search(_LOADING, text, re.MULTILINE)
    traceback = text if loading else text[start.end() :] if start else ""
    for cause in CAUSES:
        found = re.search(rf"(?s:.*)^{cause.error}", traceback, re.M) if cause.error else None
        if not found and cause.pattern:
            found = re.search(cause.pattern, text, re.MULTILINE)
        if found and cause.only_if(found, project):
            words = {"names": "", **found.groupdict(""), "at": _at(found[0], project)}
            return cause.explain(project, words, local=local)
    return None


def _at(traceback: str, project: Project) -> str:
    """Return ``file:line: `` of the last frame in a file of the project, or nothing."""
    for path, line in reversed(re.findall(r'File "([^"]+)", line (\d+)', traceback)):
        if name := _name_here(path, project):
            return f"{name}:{line}: "
    return ""


def _name_here(path: str, project: Project) -> str:
    """Return the name from the root of a file of the source; a container has another path.

    Empty where no file of the source has this name.
    """
    parts, tree = Path(path).parts, project.base
    if "site-packages" in parts or parts[:1] != ("/",):
        return ""
    ends = (tree.joinpath(*parts[start:]) for start in range(1, len(parts)))
    return next((project.relative(end) for end in ends if os.path.lexists(end)), "")
