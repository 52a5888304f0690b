"""The environment of a test run, and the guard that says which database it is about."""

import os
import tempfile

import pytest

# Whatever the caller has set stays: the composed stack runs these tests on its PostgreSQL.
_DEFAULTS = {
    "DJANGO_SETTINGS_MODULE": "task_api.settings",
    "SECRET_KEY": "tests-alone-know-this-key-0123456789-abcdef",
    "DEBUG": "true",
    "DATABASE_ENGINE": "sqlite",
    "SQLITE_PATH": f"{tempfile.gettempdir()}/never-opened.sqlite3",
}
for name, value in _DEFAULTS.items():
    os.environ.setdefault(name, value)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["postgresql", "sqlite"],
        help="refuse to run on any other database than this",
    )


def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings  # noqa: PLC0415

    wanted, found = config.getoption("--database"), settings.DATABASE_ENGINE
    if wanted and wanted != found:
        raise pytest.UsageError(f"--database {wanted}, but DATABASE_ENGINE is {found}.")
    settings.SECURE_SSL_REDIRECT = False  # the test client speaks plain HTTP
