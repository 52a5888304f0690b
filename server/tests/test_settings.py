"""The settings: every wrong variable is named, and no secret is shown."""

import os
import runpy
from pathlib import Path
from typing import Any

import pytest
import task_api
from django.core.exceptions import ImproperlyConfigured

SECRET = "k3v9x0Qw8sT1nB6yR4uLm2pEo7aHdCjXfGiVbN5Zk3v9x0Qw8sT1nB6y"
SQLITE = {
    "SECRET_KEY": SECRET,
    "ALLOWED_HOSTS": "example.org",
    "DATABASE_ENGINE": "sqlite",
    "SQLITE_PATH": "data.sqlite3",
}
POSTGRESQL = {
    "SECRET_KEY": SECRET,
    "ALLOWED_HOSTS": "example.org",
    "DATABASE_ENGINE": "postgresql",
    "POSTGRES_DB": "d",
    "POSTGRES_USER": "u",
    "POSTGRES_PASSWORD": "p$w",
    "POSTGRES_HOST": "h",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name != "PATH":
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> dict[str, Any]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(f"{task_api.__path__[0]}/settings.py")


REFUSED = [
    ({"SECRET_KEY": ""}, "SECRET_KEY is missing"),
    ({"SECRET_KEY": "x" * 31}, "SECRET_KEY is too weak"),
    ({"SECRET_KEY": "ab" * 40}, "SECRET_KEY is too weak"),
    ({"SECRET_KEY": "django-insecure-" + SECRET}, "SECRET_KEY is a placeholder"),
    ({"SECRET_KEY": "Change-me-" + SECRET}, "SECRET_KEY is a placeholder"),
    ({"SECRET_KEY_FILE": "/key"}, "SECRET_KEY and SECRET_KEY_FILE are both set"),
    ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/no/such"}, "SECRET_KEY_FILE: '/no/such' cannot be"),
    ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/dev/null"}, "SECRET_KEY_FILE: '/dev/null' is empty"),
    ({"DEBUG": "maybe"}, "DEBUG: 'maybe' is not a truth value, valid are 1, true, yes, on, 0"),
    ({"DEBUG": "2"}, "DEBUG: '2'"),
    ({"HTTPS_ONLY": "ja"}, "HTTPS_ONLY: 'ja'"),
    ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is missing"),
    ({"ALLOWED_HOSTS": " , "}, "ALLOWED_HOSTS is missing"),
    ({"CSRF_TRUSTED_ORIGINS": "example.org"}, "CSRF_TRUSTED_ORIGINS: 'example.org' has no scheme"),
    ({"DATABASE_ENGINE": ""}, "DATABASE_ENGINE: missing, set it to postgresql or sqlite"),
    ({"DATABASE_ENGINE": "mysql"}, "DATABASE_ENGINE: 'mysql' is not valid, set it to postgresql"),
    ({"SQLITE_PATH": ""}, "SQLITE_PATH is missing"),
    ({"STATEMENT_TIMEOUT": "15s"}, "STATEMENT_TIMEOUT: '15s' is not valid"),
    ({"STATEMENT_TIMEOUT": "0"}, "STATEMENT_TIMEOUT: '0' is not valid"),
    ({"STATEMENT_TIMEOUT": "-1"}, "STATEMENT_TIMEOUT: '-1' is not valid"),
    ({"STATEMENT_TIMEOUT": "9" * 20}, "is not valid, set it to a whole number from 1 to 3600000"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[text for _, text in REFUSED])
def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        load(monkeypatch, SQLITE | change)

    assert message in str(refusal.value)
    assert SECRET[:20] not in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in POSTGRESQL if name.startswith("POSTGRES")])
def test_postgresql_needs_all_its_variables(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} is missing"):
        load(monkeypatch, POSTGRESQL | {name: ""})


@pytest.mark.parametrize("port", ["0", "65536", "db", "٥٤٣٢", "5_432"])
def test_a_wrong_port_is_refused(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"POSTGRES_PORT: .* from 1 to 65535"):
        load(monkeypatch, POSTGRESQL | {"POSTGRES_PORT": port})


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    (tmp_path / "password").write_text("p$w\n")
    files = {
        "SECRET_KEY": "",
        "SECRET_KEY_FILE": f"{tmp_path}/key",
        "POSTGRES_PASSWORD": "",
        "POSTGRES_PASSWORD_FILE": f"{tmp_path}/password",
    }

    settings = load(monkeypatch, POSTGRESQL | files)

    assert settings["SECRET_KEY"] == SECRET
    assert settings["DATABASES"]["default"]["PASSWORD"] == "p$w"


def test_a_secret_file_that_is_not_text_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")

    with pytest.raises(ImproperlyConfigured, match=r"SECRET_KEY_FILE: .* it is not text"):
        load(monkeypatch, SQLITE | {"SECRET_KEY": "", "SECRET_KEY_FILE": f"{tmp_path}/key"})


def test_postgresql_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, POSTGRESQL | {"POSTGRES_PORT": "5433"})

    database = settings["DATABASES"]["default"]
    assert (database["HOST"], database["PORT"]) == ("h", 5433)
    assert database["CONN_MAX_AGE"] > 0
    assert database["CONN_HEALTH_CHECKS"] is True
    assert database["OPTIONS"] == {"connect_timeout": 5, "application_name": "task_api"}
    assert settings["STATEMENT_TIMEOUT"] == 15_000


def test_sqlite_is_configured_for_several_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    database = load(monkeypatch, SQLITE)["DATABASES"]["default"]

    assert Path(database["NAME"]).is_absolute()
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert database["OPTIONS"]["timeout"] == 20
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]


@pytest.mark.parametrize(
    ("given", "https"),
    [({}, True), ({"DEBUG": "true"}, False), ({"HTTPS_ONLY": "off"}, False)],
)
def test_https_is_required_outside_development(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], *, https: bool
) -> None:
    settings = load(monkeypatch, SQLITE | given)

    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        assert settings[name] is https
    assert bool(settings["SECURE_HSTS_SECONDS"]) is https


@pytest.mark.parametrize("word", ["1", "TRUE", " yes ", "on"])
def test_true_has_several_spellings(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    assert load(monkeypatch, SQLITE | {"DEBUG": word, "ALLOWED_HOSTS": ""})["DEBUG"] is True


def test_a_list_has_no_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, SQLITE | {"ALLOWED_HOSTS": " a.org, ,b.org "})

    assert settings["ALLOWED_HOSTS"] == ["a.org", "b.org"]
    assert settings["DEBUG"] is False
