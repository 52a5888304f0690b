"""Each cause of a failed start in local mode ends in an explanation."""

from __future__ import annotations

import pytest

from tests.stacks.copies import Copy
from tests.stacks.faults import LATER, Fault, each_fault


@pytest.fixture(scope="module")
def shared(shared_copy: Copy) -> Copy:
    """Share a copy: each test breaks the copy and mends the copy again."""
    shared_copy.ok("env")
    return shared_copy


@each_fault
def test_each_fault_is_explained(fault: Fault, shared: Copy) -> None:
    done = fault.provoke(shared)

    assert done.returncode == 75
    assert fault.is_explained(done), done.stderr


def test_a_full_disk_is_explained(shared: Copy) -> None:
    fault = Fault(
        "disk",
        "The disk of the engine or of this machine is full.",
        cure="df -h .",
        text="open('/dev/full', 'w').write(' ' * 100_000)",
    )

    assert fault.is_explained(fault.provoke(shared))


def test_up_names_missing_and_unknown_migrations(shared: Copy) -> None:
    assert "Pending migrations: " in shared.ok("restart")
    shared.ok("migrate")
    shared.ok("dbshell", "--command", LATER.format("datetime('now')"))

    out = shared.ok("up", ALLOWED_HOSTS="example.org")

    assert "Pending" not in out
    assert "  Type: git log --all --oneline -- '*/0999_later.py'\n" in out


def test_a_host_that_is_not_allowed_is_explained(shared: Copy) -> None:
    shared.ok("migrate")

    out = shared.ok("restart", ALLOWED_HOSTS="example.org")

    assert out.endswith(
        "\nDjango refuses the host name 127.0.0.1: add it to ALLOWED_HOSTS in .env.\n"
        "  Type: inv up\n"
    )
