"""The table of known causes why a stack does not start, each with the command to type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from composed.contract import HEALTH_CHECK, INVALID_SETTING, NOT_LOADED

__all__ = ["CAUSES", "Cause", "Explanation", "explain"]


class Explanation(NamedTuple):
    """One sentence on the cause, and the command to type."""

    sentence: str
    cure: str
    fatal: bool


def _always(_found: re.Match[str], _source: Path) -> bool:
    return True


class Cause(NamedTuple):
    """How a cause shows in a log or a health check's output, and what to do about it.

    ``sentence`` and ``cure`` take the pattern's groups, and ``at``: the file and
    line of the project where a traceback ends. With ``fatal``, waiting does not
    help. ``local`` is the cure in local mode where it is another one.
    """

    name: str
    pattern: str
    sentence: str
    cure: str
    fatal: bool = True
    local: str = ""
    only_if: Callable[[re.Match[str], Path], bool] = _always


def _is_required(found: re.Match[str], source: Path) -> bool:
    """Say whether the missing module is named by the server's lock: psycopg2 by psycopg2-binary."""
    module = found["module"].partition(".")[0].lower()
    lock = source / "requirements.txt"
    text = lock.read_text(errors="replace") if lock.is_file() else ""
    names = re.findall(r"^([\w.-]+)", text, re.MULTILINE)
    return any(module in (name.lower(), *re.split("[-_.]", name.lower())) for name in names)


def _is_ours(found: re.Match[str], source: Path) -> bool:
    return bool(_at(found[0], source))


# What only a start says; the error itself is the last line of the traceback that follows.
_LOADING = (
    rf"(?:^{HEALTH_CHECK}500|{NOT_LOADED}|Exception in worker process"
    r"|Failed to read config file)(?s:.*)^"
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
        r"Permission denied: '(?P<a>/app[^']*)'|can't open file '(?P<b>[^']+)': \[Errno 13\]",
        "backend may not read its source: the folder is mounted, and belongs to somebody else.",
        "chmod -R a+rX server && inv restart",
    ),
    Cause(
        "wrong password, or a volume made with another",
        r'password authentication failed for user "(?P<user>[^"]+)"',
        "The database refuses the password of {user}: its volume keeps the one that it was made "
        "with. Put that one into .env as POSTGRES_PASSWORD, or change the volume's.",
        "inv db.credentials",
    ),
    Cause(
        "database missing",
        r'database "(?P<name>[^"]+)" does not exist',
        "The volume was made with another POSTGRES_DB, and has no database {name}.",
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
        "inv logs --service db",
        fatal=False,
    ),
    Cause(
        "pending migrations",
        r'(?:Pending migrations(?P<names>: .*)|relation "\S+" does not exist|no such table: \S+)',
        "Pending migrations{names}",
        "inv migrate",
        fatal=False,
    ),
    Cause(
        "migration in the database that is not in the files",
        r"Migrations that only the database has: (?P<names>\w+\.(?P<name>\w+).*)",
        "The database has migrations that the files have not: {names}. It was migrated by a newer "
        "version or another branch; find it.",
        "git log --all --oneline -- '*/{name}.py'",
        fatal=False,
    ),
    Cause(
        "setting missing or wrong",
        rf"(?:{_LOADING}(?:\w+\.)*ImproperlyConfigured: |^(?={INVALID_SETTING}))"
        r"(?P<what>[A-Z][A-Z0-9]*_?[A-Z0-9_]*[A-Z0-9]\b.*)",
        "{what} Correct it in .env.",
        "inv up",
    ),
    Cause(
        "dependency missing in a stale image",
        rf"{_LOADING}ModuleNotFoundError: No module named '(?P<module>[\w.]+)'",
        "{at}requirements.txt names {module}, but what runs was installed before.",
        "inv up --build",
        local="pip install --require-hashes --requirement server/requirements.txt",
        only_if=_is_required,
    ),
    Cause(
        "syntax error",
        rf"{_LOADING}(?P<what>(?:Syntax|Indentation|Tab)Error: .*)",
        "Correct {at}{what}",
        "inv up",
    ),
    Cause(
        "import error",
        rf"{_LOADING}(?P<what>(?:ModuleNotFound|Import)Error: .*)",
        "Correct {at}{what} (or add the package to requirements.in, and type: nox -s lock)",
        "inv up",
    ),
    Cause(
        "another error in settings, urls, models, wsgi",
        rf"{_LOADING}(?P<what>[A-Za-z_][\w.]*(?:Error|Exception|Configured|Registered)\b.*)",
        "Correct {at}{what}",
        "inv up",
        only_if=_is_ours,
    ),
    Cause(
        "Gunicorn worker time-out",
        r"WORKER TIMEOUT",
        "A worker took longer than GUNICORN_TIMEOUT seconds to load or to answer.",
        "GUNICORN_TIMEOUT=120 inv up",
    ),
    Cause(
        "killed for memory",
        r"was sent SIGKILL! Perhaps out of memory|^OOMKilled$",
        "A process was killed from outside, by the look of it because memory ran out.",
        "WEB_CONCURRENCY=1 inv up",
    ),
    Cause(
        "Gunicorn worker boot failure",
        r"Worker failed to boot|Worker \(pid:\s*\d+\) exited with code [1-9]",
        "A worker ended while it loaded the application, without an error of Python's.",
        "inv manage -- check",
    ),
    Cause(
        "DisallowedHost",
        r"Invalid HTTP_HOST header: '(?P<host>[^']+)'",
        "Django refuses the host name {host}: add it to ALLOWED_HOSTS in .env.",
        "inv up",
        fatal=False,
    ),
)


def explain(text: str, source: Path, *, local: bool = False) -> Explanation | None:
    """Return the cause that ``text`` shows, None when it is none of those known.

    ``text`` is what a health check said or a log's last lines, ``source`` the
    folder of the server, to name its files as they are called on this machine.
    """
    text = text.replace('\\"', '"')  # a health check may quote JSON
    for cause in CAUSES:
        found = re.search(cause.pattern, text, re.MULTILINE)
        if found and cause.only_if(found, source):
            words = {**found.groupdict(), "at": _at(found[0], source)}
            cure = cause.local if local and cause.local else cause.cure
            return Explanation(_fill(cause.sentence, words), _fill(cure, words), cause.fatal)
    return None


def _fill(template: str, words: Mapping[str, str | None]) -> str:
    return template.format_map({name: value or "" for name, value in words.items()})


def _at(traceback: str, source: Path) -> str:
    """Return ``file:line: `` of the last frame that is in a file of ``source``, or nothing."""
    for path, line in reversed(re.findall(r'File "([^"]+)", line (\d+)', traceback)):
        if name := _name_here(Path(path), source):
            return f"{name}:{line}: "
    return ""


def _name_here(path: Path, source: Path) -> str:
    """Return the name from the project's root of a file that a container knows by another."""
    if "site-packages" in path.parts or path.parts[:1] != ("/",):
        return ""
    for start in range(1, len(path.parts)):
        rest = Path(*path.parts[start:])
        if (source / rest).is_file():
            return str(source.name / rest)
    return ""
