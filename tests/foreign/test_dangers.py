"""What once lost data or ran other code in foreign projects, each in the fewest lines."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
from collections.abc import Iterator

import pytest

from tests.foreign.adopted import ADD, Adopt, write_migration

# Each line in app/starts is a run of the entrypoint, which could empty a database.
ENTRYPOINT = """\
services:
  web:
    image: python:3.13-slim-trixie
    entrypoint: ["sh", "-c", "echo \\"flush before: $$*\\" >> /app/starts; exec \\"$$@\\"", "--"]
    command: python -m http.server 8000
    working_dir: /app
    volumes: ["./app:/app"]
    ports: ["8000:8000"]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: postgres:15
    environment: {POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD: pw}
    healthcheck: {test: pg_isready -U shop, interval: 1s, retries: 60}
    volumes: ["data:/var/lib/postgresql/data"]
volumes: {data: }
"""

NO_VOLUME = """\
services:
  web:
    image: python:3.13-slim-trixie
    command: python -m http.server 8000
    working_dir: /app
    volumes: ["./app:/app"]
    ports: ["8000:8000"]
    depends_on: [db]
  db:
    image: postgres:15
    environment: {POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD: pw}
"""

# Stands for Django: each command succeeds.
MANAGE = {"app/manage.py": "print(1)\n"}


def test_no_one_off_runs_the_entrypoint(adopt: Adopt) -> None:
    project = adopt("flush", {"docker-compose.yml": ENTRYPOINT} | MANAGE)
    project.ok("up")

    assert project.ok("manage", "--", "check") == "1\n"
    project.ok("makemigrations", "--check")
    project.inv("db.rehearse")  # finds no Django: how it ends is not the question
    assert (project.root / "app/starts").read_text() == "flush before: python -m http.server 8000\n"

    project.ok("down")
    assert project.ok("manage", "--", "check") == "1\n"
    assert len((project.root / "app/starts").read_text().splitlines()) == 1


def test_doctor_names_an_entrypoint_that_empties_the_database(adopt: Adopt) -> None:
    shown = adopt("tutorial").ok("doctor")

    assert "entrypoint.sh" in shown
    assert "flush" in shown


def test_down_keeps_the_data_of_a_database_without_a_volume(adopt: Adopt) -> None:
    project = adopt("volatile", {"docker-compose.yml": NO_VOLUME} | MANAGE)
    project.ok("up")
    project.sql("create table note (id int); insert into note values (1)")

    project.ok("down")
    project.ok("up")
    assert project.count("note") == 1

    done = project.inv("down", "--volumes", "--yes")
    assert done.returncode == 0, done.stderr
    project.ok("up")
    assert project.inv("dbshell", "--command", "table note").returncode != 0
    project.undo(done)
    assert project.count("note") == 1


def test_manage_py_of_the_mount_runs_not_the_copy_in_the_image(adopt: Adopt) -> None:
    project = adopt("beside")
    project.ok("up", "--build")
    write_migration(project)  # and build no image

    assert "0002_note_place" in project.ok("manage", "--", "showmigrations", "notes")
    project.ok("migrate")
    with contextlib.closing(sqlite3.connect(project.root / "db.sqlite3")) as database:
        columns = {name for _, name, *_ in database.execute("pragma table_info(notes_note)")}
    assert columns == {"id", "text", "place"}
    assert project.page().text == "Notes: 0"


# The server keeps two further files of SQLite open, as with a connection of a thread.
WAL = """
import sqlite3
KEPT = sqlite3.connect(BASE_DIR / "db.sqlite3")
KEPT.execute("PRAGMA journal_mode=WAL")
KEPT.execute("SELECT 1 FROM sqlite_master").fetchall()
"""


def test_a_sqlite_file_that_the_containers_root_made_can_be_written(adopt: Adopt) -> None:
    project = adopt("beside")
    with (project.root / "starter/settings.py").open("a") as settings:
        settings.write(WAL)
    if not os.getuid():  # the folder of an ordinary user, for whom `manage` runs
        for path in (project.root, *project.root.rglob("*")):
            os.chown(path, 1001, 1001)
    project.ok("up")
    assert project.page().status == 500  # the server has made the file

    project.ok("manage", "--", "migrate")
    project.ok("manage", "--", "shell", "--command", ADD)

    assert project.page().text == "Notes: 1"
    assert (project.root / "db.sqlite3").stat().st_uid == (os.getuid() or 1001)


# Celery's beat does the same where the schedule is in the database.
BEAT = """
  beat:
    <<: *app
    restart: "{restart}"
    command: >-
      sh -c 'echo "from notes.models import Note; Note.objects.count()" | python manage.py shell
      && exec python -m http.server'
"""


@pytest.mark.parametrize("restart", ["no", "unless-stopped"])
def test_up_with_migrate_starts_a_program_again_that_needs_the_tables(
    restart: str, adopt: Adopt
) -> None:
    project = adopt("modern")
    file = project.root / "docker-compose.yml"
    beat = BEAT.format(restart=restart)
    file.write_text(file.read_text().replace("\nservices:\n", f"\nservices:\n{beat}"))

    project.ok("up", "--migrate")

    assert 'relation "notes_note" does not exist' in project.ok("logs", "--service", "beat")
    assert '"beat"' in project.docker("compose", "ps", "--status", "running", "--format", "json")


@pytest.fixture
def port_taken() -> Iterator[int]:
    """Listen on the port that most projects publish, unless another program does."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            holder.bind(("0.0.0.0", 8000))
        holder.listen()
        yield 8000


def test_a_fixed_port_that_is_taken_stays_with_its_holder(port_taken: int, adopt: Adopt) -> None:
    project = adopt("beside")

    project.ok("up", "--migrate")

    assert not project.url.endswith(f":{port_taken}")
    assert project.page().text == "Notes: 0"
    assert project.git("status", "--porcelain") == ""
