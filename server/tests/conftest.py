"""The environment of a test run, and the option that requires a database engine."""

import os
import signal
import tempfile

import pytest

# A background job of a script ignores Ctrl-C, and so would every process of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The caller's variables stay: the stack runs these tests on PostgreSQL.
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
        help="run on this database, or not at all",
    )


def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings  # noqa: PLC0415

    required, engine = config.getoption("--database"), settings.DATABASE_ENGINE
    if required and required != engine:
        raise pytest.UsageError(f"--database {required}, but DATABASE_ENGINE is {engine}.")
    settings.SECURE_SSL_REDIRECT = False  # the test client speaks plain HTTP
