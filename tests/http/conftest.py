"""The HTTP suite needs the URL of a stack that runs, migrated."""

from collections.abc import Callable, Iterator

import pytest

from tests.web import Reply, request


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--url", required=True, help="where the stack answers")


@pytest.fixture(scope="session")
def url(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("url"))


@pytest.fixture
def ask(url: str) -> Callable[..., Reply]:
    """Send a request to a path of the stack."""
    return lambda path, *args, **options: request(url + path, *args, **options)


@pytest.fixture
def task(ask: Callable[..., Reply]) -> Iterator[dict[str, object]]:
    """Make a task that is gone after the test."""
    made = ask("/api/tasks", "POST", {"title": "Buy milk"}).json
    yield made
    ask(f"/api/tasks/{made['id']}", "DELETE")
