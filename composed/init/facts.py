"""What Composed finds in a project, what it only guesses, and what it cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable

from composed.compose_files import STANDARD
from composed.docker import detection
from composed.docker.django import manage_command
from composed.docker.model import ComposeService, Model
from composed.docker.profiles import Inactive, problem
from composed.errors import ComposedError, NotFoundError
from composed.init.places import (
    code_of,
    key_place,
    place,
    service_place,
    settings_code,
    settings_files,
)
from composed.init.report import Fact, Report
from composed.init.warnings import changes, warnings
from composed.project import DEPTH, NAME_SOURCE, Project

_HOST = re.compile("HOST|URL|URI|DSN|SERVER")
_URL_READERS = re.compile(r"dj_database_url\.config|env\.db\(|dj_db_url")


def examine(
    project: Project, model: Model | ComposedError, others: Inactive | None = None
) -> Report:
    """Return all that the files of a project and its Compose model tell; change nothing.

    The model is an error where Compose gave none; ``others`` are services of other profiles.
    """
    report = Report()
    _examine_files(project, report)
    if isinstance(model, ComposedError):
        if all(fact.value != model.problem for fact in report.unknown):
            report.unknown.append(Fact.missing("services", model))
        return report
    backend = _service(project, model, report, "backend")
    database = _service(project, model, report, "database", backend)
    _examine_profiles(project, model, report, others or Inactive())
    _examine_backend(project, model.service(backend), report)
    if database:
        _examine_database(project, model, report, backend, database)
    report.found += changes(project, model, backend, harmful=False)
    report.warnings += warnings(project, model, backend, database)
    return report


def missing(project: Project) -> NotFoundError | None:
    """Return the error of a folder where no verb could start anything; None for a project.

    A ``manage.py`` without a Compose file is a project too: of local mode.
    """
    if project.has_source:
        return None
    looked = f"in {project.root} and {DEPTH} folders deep below"
    if project.source:
        looked = f"in {project.root / project.source}, the folder of the key source"
    if project.has_compose_file:
        return NotFoundError(f"There is no manage.py {looked}.", NAME_SOURCE)
    problem = f"There is no manage.py {looked}, and no Compose file."
    return NotFoundError(problem, NAME_SOURCE, f"Composed looks for {', '.join(STANDARD)}.")


def _examine_files(project: Project, report: Report) -> None:
    def tell(what: str, fact: Callable[[], tuple[list[Fact], Fact]]) -> None:
        try:
            kind, told = fact()
        except ComposedError as error:
            report.unknown.append(Fact.missing(what, error))
        except OSError as error:
            report.unknown.append(Fact(what, f"{error.filename}: {error.strerror}"))
        else:
            kind.append(told)

    tell("Compose file", lambda: _compose_file(project, report))
    tell("source", lambda: _source(project, report))
    tell("settings", lambda: _settings(project, report))
    tell("server without Docker", lambda: _server(project, report))


def _compose_file(project: Project, report: Report) -> tuple[list[Fact], Fact]:
    names = ", ".join(map(project.relative, project.compose.all()))
    if not names:
        return report.unknown, Fact("Compose file", "there is none", "COMPOSED_MODE=local inv up")
    if project.compose_files:
        return report.found, Fact("Compose file", names, key_place(project, "compose_files"))
    if project.compose.named:
        return report.guessed, Fact("Compose file", names, "its name and place")
    return report.found, Fact("Compose file", names, "as Compose finds it")


def _source(project: Project, report: Report) -> tuple[list[Fact], Fact]:
    named = key_place(project, "source") if project.source else ""
    file = project.relative(project.tree / "manage.py")
    return report.found, Fact("source", project.relative(project.tree), named or file)


def _settings(project: Project, report: Report) -> tuple[list[Fact], Fact]:
    if module := project.settings_module:
        file = place(project, project.tree / "manage.py", "DJANGO_SETTINGS_MODULE")
        return report.found, Fact("settings", module, file)
    cure = 'pyproject.toml: [tool.composed] settings_files = ["FILE"]'
    return report.unknown, Fact("settings", "manage.py names no settings module", cure)


def _server(project: Project, report: Report) -> tuple[list[Fact], Fact]:
    words = " ".join(project.server)
    if project.serve:
        return report.found, Fact("server without Docker", words, key_place(project, "serve"))
    naming = [file for file in project.settings_paths if "WSGI_APPLICATION" in str(code_of(file))]
    if naming:
        file = place(project, naming[0], "^WSGI_APPLICATION")
        return report.found, Fact("server without Docker", words, file)
    return report.guessed, Fact("server without Docker", words, "a file wsgi.py")


def _service(project: Project, model: Model, report: Report, key: str, backend: str = "") -> str:
    """Add the fact of the service of a role; return its name, "" where it is not known."""
    if name := getattr(project, key):
        kind = report.found if name in model.services else report.unknown
        kind.append(Fact(key, name, key_place(project, key)))
        return str(name) if name in model.services else ""
    is_backend = key == "backend"
    names = (
        detection.backends(model, project.base)
        if is_backend
        else detection.databases(model, backend)
    )
    if len(names) != 1:
        why = f"several could be it: {', '.join(names)}" if names else "no service looks like it"
        example = names[0] if names else "SERVICE"
        cure = f'pyproject.toml: [tool.composed] {key} = "{example}"'
        report.unknown.append(Fact(key, why, cure))
        report.choices |= {key: names} if names else {}
        return ""
    [name] = names
    is_sure = (
        detection.serves(model.service(name))
        if is_backend
        else model.service(name) in model.with_dependencies([backend])
    )
    kind = report.found if is_sure else report.guessed
    kind.append(Fact(key, name, service_place(project, name)))
    return str(name)


def _examine_profiles(project: Project, model: Model, report: Report, others: Inactive) -> None:
    """Replace what is not known of a service that only belongs to a profile that is not active."""
    if not others.names:
        return
    for index, fact in enumerate(report.unknown):
        is_named = fact.value in others.names
        if fact.what in ("backend", "database") and (is_named or not model.services):
            why, cures = problem(project, others, fact.value)
            report.unknown[index] = Fact(fact.what, why, "; ".join(cures))


def _examine_backend(project: Project, service: ComposeService, report: Report) -> None:
    if not service.name:
        return
    try:
        command = manage_command(service, project.tree)
    except ComposedError:
        return  # there is no source, which the list says already
    words = " ".join(project.manage or command.words)
    folder = f" in {command.folder}" if command.folder and not project.manage else ""
    if project.manage:
        report.found.append(Fact("manage.py", words, key_place(project, "manage")))
    elif "manage.py" in f"{service.starts}\n{detection.scripts(service)}":
        where = f"the command of {service.name}"
        report.found.append(Fact("manage.py", f"{words}{folder}", where))
    else:
        report.guessed.append(Fact("manage.py", f"{words}{folder}", "the source in the container"))
    ports = ", ".join(port.published for port in service.ports if port.published)
    if ports:
        report.found.append(Fact("port", ports, service_place(project, service.name)))
    else:
        why = f"{service.name} publishes no port"
        report.unknown.append(Fact("port", why, "Write `ports` into the Compose file"))


def _examine_database(
    project: Project, model: Model, report: Report, backend: str, database: str
) -> None:
    if proof := django_database(project, model.service(backend), database):
        report.found.append(proof)
        return
    code = settings_code(project)
    alone = "sqlite" in code and "postgres" not in code
    why = "the settings name SQLite alone" if alone else "neither the settings nor variables say so"
    value = f"not proven to be {database}: {why}; verbs on data ask Django first"
    report.warnings.append(Fact("Django's database", value))


def django_database(project: Project, service: ComposeService, database: str) -> Fact | None:
    """Return the fact that Django's settings name the service of the database; else None.

    A host in the settings counts, and a variable with the host or URL that settings or a script
    of the service read.
    """
    host = re.compile(rf"""HOST.*["']{re.escape(database)}["']""")
    files, code = settings_files(project), settings_code(project)
    for file in files:
        for number, line in code_of(file):
            if host.search(line):
                return Fact("Django's database", database, f"{project.relative(file)}:{number}")
    read = f"{code}\n{detection.scripts(service)}"
    for name, value in service.environment.items():
        is_there = value == database or re.search(rf"@{re.escape(database)}(?:[:/]|$)", value)
        by_url = name == "DATABASE_URL" and _URL_READERS.search(code)
        if is_there and _HOST.search(name) and (re.search(rf"\b{name}\b", read) or by_url):
            naming = next((f for f in files if re.search(rf"\b{name}\b", str(code_of(f)))), None)
            where = place(project, naming, rf"\b{name}\b") if naming else service.name
            return Fact("Django's database", f"{database}, by {name}", where)
    return None
