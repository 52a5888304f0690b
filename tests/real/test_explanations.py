"""Each cause of a failed start, provoked on a real engine, ends in an explanation."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.stacks.copies import INV, Copy, changed
from tests.stacks.faults import LATER, Fault, each_fault, kill_backend
from tests.stacks.waiting import wait_until

BACKEND = ("up", "--service", "backend")


@pytest.fixture(scope="module")
def copy(shared_copy: Copy) -> Copy:
    """Share one stack: each test breaks the stack and mends the stack again."""
    shared_copy.ok("up")
    return shared_copy


@each_fault
def test_each_fault_is_explained(fault: Fault, copy: Copy) -> None:
    done = fault.provoke(copy)

    assert done.returncode == 75
    assert fault.is_explained(done), done.stderr
    assert "Waiting for backend to become healthy, " in done.stderr


def test_a_mended_backend_starts_though_it_was_marked_unhealthy(copy: Copy) -> None:
    urls, compose = copy.root / "server/task_api/urls.py", copy.root / "docker-compose.yml"
    patient = "retries: 3\n      start_period: 15s"
    with changed(compose, patient, "retries: 1\n      start_period: 0s"):
        with changed(urls, "urlpatterns = [", "urlpatterns = ("):
            kill_backend(copy)
            assert copy.inv(*BACKEND).returncode == 75
            wait_until(lambda: copy.ps()["backend"]["health"] == "unhealthy", "the mark")

        # One probe decides here: a server that still reloads would be too slow for that probe.
        wait_until(lambda: copy.ask("/healthz").status == 200, "the mended server")
        copy.ok(*BACKEND)
        kill_backend(copy)


def test_a_dependency_that_the_image_lacks_is_explained(copy: Copy) -> None:
    fault = Fault(
        "dependency",
        "requirements.txt names colorama, but the installed packages are older.",
        cure="inv up --build",
        file="settings.py",
        text="import colorama",
    )
    with changed(copy.root / "server/requirements.txt", "django==", "colorama==0.4.6\ndjango=="):
        copy.ok("dc", "--", "rm", "--stop", "--force", "backend")
        with changed(
            copy.root / "server/task_api/settings.py", "import os\n", fault.text + "\nimport os\n"
        ):
            done = copy.inv(*BACKEND, "--no-build")

    assert done.returncode == 75
    assert fault.sentence in done.stderr
    assert f"  Type: {fault.cure}\n" in done.stderr


REFUSED = {
    "port": ("POSTGRES_PORT: 5432", "POSTGRES_PORT: 5431", "does not take connections", "logs"),
    "host": ("POSTGRES_HOST: db", "POSTGRES_HOST: nowhere", "does not take connections", "logs"),
    "name": (
        "5432\n      POSTGRES_DB: ${POSTGRES_DB:-task_db}",
        "5432\n      POSTGRES_DB: elsewhere",
        "has no database elsewhere",
        "db.credentials",
    ),
    "password": (
        "${POSTGRES_PASSWORD:?type inv env}\n      STATEMENT",
        "wrong\n      STATEMENT",
        "refuses the password of cp_user",
        "db.credentials",
    ),
}


@pytest.mark.parametrize(("given", "broken", "words", "cure"), REFUSED.values(), ids=REFUSED)
def test_a_database_that_refuses_the_backend_is_explained(
    given: str, broken: str, words: str, cure: str, copy: Copy
) -> None:
    with changed(copy.root / "docker-compose.yml", given, broken):
        done = copy.inv(*BACKEND, "--timeout", "15")
        told = copy.ask("/healthz").text + copy.ask("/readyz").text + copy.ask("/api/tasks").text

    assert done.returncode == 75
    assert words in done.stderr
    assert typed(done.stderr)[0] == cure
    # The log has the words of the database; the public has none of them.
    assert not re.search("connection|failed|FATAL|5431|nowhere|elsewhere|cp_user", told)
    assert '{"healthy": false}' in told


def test_a_volume_of_another_version_is_explained(copy: Copy) -> None:
    write = ("run", "--rm", "--no-deps", "--entrypoint", "sh", "db", "-c")
    copy.ok("up", "--service", "db")
    copy.ok("dc", "--", "stop", "db")
    copy.ok("dc", "--", *write, "echo 14 >$PGDATA/PG_VERSION")

    done = copy.inv("up")

    assert done.returncode == 75
    assert "Starting db, " in done.stderr
    assert "holds the data of PostgreSQL 14, the image is PostgreSQL 15.\n" in done.stderr
    assert "  Type: inv db.upgrade\n" in done.stderr
    copy.ok("dc", "--", *write, "echo 15 >$PGDATA/PG_VERSION")
    copy.ok("up")


def test_a_full_disk_is_explained(copy: Copy) -> None:
    user = copy.ok("shell", "--service", "db", "--", "id", "--user").strip()
    (copy.root / "tiny.yml").write_text(
        "volumes: {db-data: {driver_opts: {type: tmpfs, device: tmpfs, "
        f'o: "size=8m,uid={user},mode=0700"}}}}}}\n'
    )
    tiny = {
        "COMPOSE_FILE": "docker-compose.yml:tiny.yml",
        "POSTGRES_VOLUME": f"{copy.project}_tiny",
    }

    copy.ok("down")

    done = copy.inv("up", **tiny)

    copy.ok("dc", "--", "down", "--volumes", **tiny)
    assert done.returncode == 75
    assert "  The disk of the engine or of this machine is full.\n" in done.stderr
    assert "  Type: docker system df\n" in done.stderr


def test_source_that_may_not_be_read_is_explained_and_the_cure_works(copy: Copy) -> None:
    urls = copy.root / "server/task_api/urls.py"
    urls.chmod(0o200)  # the cure adds only the right to read

    kill_backend(copy)
    done = copy.inv(*BACKEND)

    assert done.returncode == 75
    assert "  backend may not read its source: " in done.stderr
    cure = done.stderr.partition("  Type: ")[2].splitlines()[0]
    assert copy.run("sh", "-c", cure.replace("inv", INV)).returncode == 0
    assert copy.ps()["backend"]["health"] == "healthy"


def test_an_unknown_cause_gets_no_explanation(copy: Copy) -> None:
    fault = Fault("sleeps", "", text="import time; time.sleep(600)")

    done = fault.provoke(copy, "--timeout", "3")

    assert done.returncode == 75
    assert "it is starting." in done.stderr
    assert "Type:" not in done.stderr
    assert "  See more: inv logs --service backend\n" in done.stderr


def test_up_names_missing_migrations_and_a_refused_host(copy: Copy) -> None:
    kill_backend(copy)
    assert "Pending migrations: " in copy.ok(*BACKEND)
    copy.ok("migrate")
    copy.ok("dbshell", "--command", LATER.format("now()"))

    out = copy.ok(*BACKEND, ALLOWED_HOSTS="example.org")

    assert "Pending" not in out
    assert "  Type: git log --all --oneline -- '*/0999_later.py'\n" in out
    assert "Django refuses the host name 127.0.0.1: add it to ALLOWED_HOSTS in .env.\n" in out


def typed(err: str) -> list[str]:
    """Return the words of the `inv` command that an error says to type."""
    program, *words = shlex.split(err.partition("  Type: ")[2].splitlines()[0])
    assert program == "inv"
    return words
