"""The variables that the Compose file gives the backend, for a server outside of containers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values

from composed.docker.compose import compose_of
from composed.docker.detection import backends, databases
from composed.docker.model import Model
from composed.docker.volume.credentials import Credentials
from composed.env.settings import Settings
from composed.errors import ComposedError
from composed.gateway import NOT_FOUND, Gateway
from composed.project import Project, text_of

_DATABASE_URL = re.compile(r"(?:postgres|postgresql|postgis|psql|pgsql)(?:\+\w+)?://")
_ENGINES = ("django.db.backends.postgresql", "django.contrib.gis.db.backends.postgis")
_NAME = re.compile(r"DATABASE|DB|SQL|POSTGRES|PG", re.IGNORECASE)
_SETTING = re.compile(r"\$\{?(\w+)(?::?-([^}]*))?\}?")
# What the parser lets through beside its own error, for a tag without sense such as `!!bool x`.
_OF_YAML = (AttributeError, LookupError, TypeError, ValueError, RecursionError)


class Outside(NamedTuple):
    """The name of the backend's service, "" where it is not clear, and the variables."""

    backend: str
    variables: Mapping[str, str]


def outside(project: Project, settings: Settings, gateway: Gateway) -> Outside:
    """Return the backend without the variables that lead to the database service.

    In place of the URL of that service stands the URL of a SQLite file beside ``manage.py``: the
    names differ from project to project, so the values decide. Compose resolves the model; where
    there is no ``docker`` command, the file is read as YAML. A problem of Compose is none of
    local mode: then nothing is known.
    """
    try:
        model = _model(project, settings, gateway)
        names = [project.backend] if project.backend else backends(model, project.base)
    except ComposedError:
        return Outside("", {})
    backend = names[0] if len(names) == 1 else ""
    database = model.service(project.database or "".join(databases(model, backend)[:1]))
    leads = {*_ENGINES, *(database.hosts if database.name else ())}
    own = {*Credentials.of(database.environment), "5432"} - {""}
    found = {}
    for name, value in model.service(backend).environment.items():
        if _DATABASE_URL.match(value):
            found[name] = f"sqlite:///{project.base / 'db.sqlite3'}"
        elif not (value in leads or (_NAME.search(name) and value in own)):
            found[name] = value
    return Outside(backend, found)


def _model(project: Project, settings: Settings, gateway: Gateway) -> Model:
    dc = compose_of(project, settings, gateway)
    answer = gateway.ask(dc.argv("config", "--format", "json"))
    if answer.code != NOT_FOUND:
        return Model.resolved(answer.out) if answer.code == 0 else Model({})
    return Model(_merged(project, settings.values))


def _merged(project: Project, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the services of the Compose files, with the variables of ``env_file``."""
    services: dict[str, Any] = {}
    for file in project.compose.all():
        for name, service in _services(text_of(file)).items():
            services[name] = services.get(name, {}) | service
    for service in services.values():
        own = Model({"services": {"own": {"environment": service.get("environment")}}})
        environment = _of_files(project.compose.folder, service.get("env_file"))
        environment |= own.service("own").environment
        service["environment"] = {
            name: _SETTING.sub(lambda m: values.get(m[1]) or m[2] or "", value)
            for name, value in environment.items()
        }
    keep = ("environment", "command", "image", "container_name")
    kept = {n: {k: s[k] for k in keep if k in s} for n, s in services.items()}
    return {"services": kept}


def _services(text: str) -> dict[str, dict[str, Any]]:
    """Return the services of a Compose file; none of a file with an error, or a tag of Compose's.

    Every value stays the text that it is, as in Compose: ``2024-01-01`` is no date, ``on`` no
    truth. Only null is told apart, a variable without a value.
    """
    from invoke.vendor import yaml  # noqa: PLC0415  # only without the docker command

    try:
        loader = yaml.SafeLoader(text)  # type: ignore[no-untyped-call]
        loader.yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in found if tag.endswith((":null", ":merge"))]
            for first, found in loader.yaml_implicit_resolvers.items()
        }
        data = loader.get_single_data()  # type: ignore[no-untyped-call]
    except (yaml.YAMLError, *_OF_YAML):
        return {}
    found = data.get("services") if isinstance(data, dict) else None
    return {
        name: {key: _with_texts(value) for key, value in service.items()}
        for name, service in (found.items() if isinstance(found, dict) else ())
        if isinstance(name, str) and isinstance(service, dict)
    }


def _with_texts(value: object) -> object:
    """Return a value of a service without keys that are no text, such as null."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if isinstance(key, str)}


def _of_files(folder: Path, given: object) -> dict[str, str]:
    names = [given] if isinstance(given, str | dict) else given if isinstance(given, list) else []
    found: dict[str, str] = {}
    for name in names:
        path = name.get("path") if isinstance(name, dict) else name
        if isinstance(path, str) and "\0" not in path:
            text = io.StringIO(text_of(folder / path))
            pairs = dotenv_values(stream=text, interpolate=False).items()
            found |= {key: value for key, value in pairs if value is not None}
    return found
