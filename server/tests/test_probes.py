"""The probes and the gate: the answers while the database is down or not migrated."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from task_api import gate
from task_api.migration_state import MigrationState, migration_state

READY = {"ready": True, "pending": [], "unknown": []}


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def pending(transactional_db: None) -> Iterator[None]:
    """Undo our own migration until the end of a test."""
    call_command("migrate", "task_api", "zero", verbosity=0)
    yield
    call_command("migrate", verbosity=0)


def fail_with(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(name, fail)


# -- Probes -------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_depend_on_neither_host_nor_https(client: Client, settings: Any, path: str) -> None:
    settings.ALLOWED_HOSTS = ["example.org"]
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get(path, headers={"host": "elsewhere"}).status_code == 200
    assert client.get("/", headers={"host": "example.org"}).status_code == 301


@pytest.mark.django_db
def test_readyz_answers_ready_without_pending_migrations(client: Client) -> None:
    assert client.get("/readyz").json() == READY
    assert client.get("/healthz").json() == {"healthy": True}


def test_readyz_names_pending_migrations(client: Client, pending: None) -> None:
    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert "task_api.0001_initial" in response.json()["pending"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_readyz_names_unknown_migrations(client: Client) -> None:
    MigrationRecorder(connection).record_applied("task_api", "0999_of_a_later_release")

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == READY | {"unknown": ["task_api.0999_of_a_later_release"]}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_tell_the_log_alone_why_the_database_does_not_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    fail_with(monkeypatch, "task_api.probes.connection.cursor", OperationalError("gone\n"))
    fail_with(monkeypatch, "task_api.probes.migration_state", OperationalError("gone\n"))

    response = client.get(path)

    assert response.status_code == 503
    assert list(response.json().values()) == [False]
    assert response["Retry-After"] == "5"
    assert "The database does not answer: gone" in caplog.text


# -- The gate -----------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
def test_every_page_reports_pending_migrations(
    client: Client, settings: Any, pending: None, *, debug: bool
) -> None:
    settings.DEBUG = debug

    for path in ("/", "/admin/", "/api/tasks", "/api/docs"):
        response = client.get(path)
        assert response.status_code == 503
        assert "inv migrate" in response.content.decode()
        assert response["Retry-After"] == "5"
    assert client.get("/").headers["Content-Type"].startswith("text/html")
    assert client.get("/api/tasks").headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("debug", [False, True])
def test_removed_tables_are_noticed(
    client: Client, settings: Any, transactional_db: None, *, debug: bool
) -> None:
    settings.DEBUG = debug
    assert client.get("/api/tasks").status_code == 200  # from now on the gate is open

    call_command("migrate", "task_api", "zero", verbosity=0)
    assert client.get("/api/tasks").status_code == 503
    assert "inv migrate" in client.get("/api/tasks").content.decode()
    assert client.get("/").status_code == 503

    call_command("migrate", verbosity=0)
    assert client.get("/api/tasks").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/admin/login/", "/api/docs", "/api/tasks"])
def test_an_open_gate_makes_no_query(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client.get(path)
    fail_with(monkeypatch, "task_api.gate.migration_state", AssertionError("asked again"))

    assert client.get(path).status_code == 200


def test_pages_open_after_a_migrate_elsewhere(client: Client, pending: None) -> None:
    assert client.get("/").status_code == 503

    call_command("migrate", verbosity=0)

    assert client.get("/").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_a_database_error_in_a_view_is_a_503_and_a_line_in_the_log(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    fail_with(monkeypatch, "task_api.api._row", error)

    response = client.get("/api/tasks/00000000-0000-0000-0000-000000000000")

    assert response.status_code == 503
    assert "does not answer" in response.json()["detail"]
    assert str(error) not in response.content.decode()
    assert f"refused: {error}" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_database_error_in_the_gate_is_a_503(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "task_api.gate.migration_state", OperationalError("gone"))

    assert client.get("/").status_code == 503
    assert "does not answer" in client.get("/").content.decode()
    assert client.get("/api/tasks").json()["detail"]


@pytest.mark.django_db
@pytest.mark.parametrize("error", [IntegrityError("our fault"), ProgrammingError("our fault")])
def test_any_other_database_error_stays_a_500(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: DatabaseError
) -> None:
    fail_with(monkeypatch, "task_api.api._row", error)

    response = client.get("/api/tasks/00000000-0000-0000-0000-000000000000")

    assert response.status_code == 500
    assert response.json()["detail"] == "Internal Server Error."


@pytest.mark.django_db
def test_a_statement_over_the_time_limit_is_a_503(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        error = OperationalError("canceling statement due to statement timeout")
        error.__cause__ = type("QueryCanceled", (Exception,), {"pgcode": "57014"})()
        fail_with(monkeypatch, "task_api.api._row", error)
    else:

        def sleep(_: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 50")
                cursor.execute("SELECT pg_sleep(10)")

        monkeypatch.setattr("task_api.api._row", sleep)
        # the transaction of the test is lost with the statement
        monkeypatch.setattr(gate, "migration_state", lambda: MigrationState([], []))

    response = client.get("/api/tasks/00000000-0000-0000-0000-000000000000")

    assert response.status_code == 503
    assert "STATEMENT_TIMEOUT" in response.json()["detail"]


# -- Pages --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_home_page_links_to_the_api_and_the_admin(client: Client) -> None:
    page = client.get("/").content.decode()

    for path in ("/api/docs", "/api/tasks", "/admin/"):
        assert f'href="{path}"' in page
        assert client.get(path, follow=True).status_code == 200
    assert "://" not in page


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, verbosity=0)
    assert migration_state() == MigrationState([], [])
