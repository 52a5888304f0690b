"""The verbs of a day in five projects that know nothing of Composed, without any setting.

In local mode run those that can use SQLite: `cookie` demands `DATABASE_URL`, and `monorepo` a
host of PostgreSQL.
"""

from __future__ import annotations

import pytest

from tests.foreign.adopted import ADD, FOREIGN, Adopt, Adopted, write_migration
from tests.web import request

ADMIN = {
    "DJANGO_SUPERUSER_USERNAME": "ada",
    "DJANGO_SUPERUSER_EMAIL": "ada@example.org",
    "DJANGO_SUPERUSER_PASSWORD": "not-a-secret",
}

SUPERUSERS = "auth_user where is_superuser"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FOREIGN)
def test_the_verbs_of_a_day(name: str, adopt: Adopt) -> None:
    project = adopt(name)

    start(project)
    assert '"GET / HTTP/1.1" 200' in project.ok("logs", "--service", project.foreign.backend)
    replace_data(project)
    change_the_model(project)
    start_again(project)
    end(project)

    assert project.stacks() == set()
    assert project.seen & {*project.docker("volume", "ls", "--quiet").split()} == set()
    assert_nothing_of_theirs_changed(project)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["tutorial", "beside", "modern"])
def test_the_verbs_of_a_day_in_local_mode(name: str, adopt: Adopt) -> None:
    project = adopt(name, mode="local")

    start(project)
    assert project.ok("logs", "--service", project.foreign.backend) != ""
    replace_data(project)
    change_the_model(project)
    start_again(project)
    url = project.url
    project.ok("destroy", "--yes")

    with pytest.raises(ConnectionRefusedError):
        request(url)
    assert_nothing_of_theirs_changed(project)


def start(project: Adopted) -> None:
    """Start the stack; make the tables, an administrator and a note."""
    assert "db.rehearse" in project.ok("--list")
    project.ok("doctor")

    up = project.ok("up")
    # Before the tables are there, the page fails, as with plain Compose.
    assert project.page().status == (200 if project.migrates else 500)
    assert ("Pending migrations: " in up) is not project.migrates
    project.ok("migrate")
    project.ok("migrate", "--check")
    assert "Pending migrations" not in project.ok("up")
    assert project.page().text == "Notes: 0"

    assert "no issues" in project.ok("manage", "--", "check")
    project.ok("createsuperuser", **ADMIN)
    project.ok("manage", "--", "shell", "--command", ADD)
    assert (project.count("notes_note"), project.count(SUPERUSERS)) == (1, 1)
    assert project.page().text == "Notes: 1"
    assert project.ok("shell", "--", "sh", "-c", "echo hello") == "hello\n"


def replace_data(project: Adopted) -> None:
    """Lose the note, and bring the snapshot back."""
    project.ok("db.snapshot", "--name", "one")
    project.sql("delete from notes_note")
    assert project.page().text == "Notes: 0"

    project.ok("db.restore", "--name", "one", "--yes")
    assert project.page().text == "Notes: 1"
    assert project.count(SUPERUSERS) == 1


def change_the_model(project: Adopted) -> None:
    """Rehearse a migration, which changes nothing of the live data; then apply it."""
    write_migration(project)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Add the place of a note")

    assert "notes.0002_note_place" in project.ok("db.rehearse")
    assert project.inv("migrate", "--check").returncode == 1
    assert project.inv("dbshell", "--command", "select place from notes_note").returncode != 0
    assert (project.count("notes_note"), project.count(SUPERUSERS)) == (1, 1)

    project.ok("migrate")
    assert project.count("notes_note where place is null") == 1


def start_again(project: Adopted) -> None:
    """Stop, start and restart the stack: the data is there, unless their own start empties it."""
    project.ok("down")
    assert {row["state"] for row in project.ps().values()} <= {"exited"}  # kept for its data

    project.ok("up")
    kept = 0 if project.empties else 1
    assert (project.count("notes_note"), project.count(SUPERUSERS)) == (kept, kept)
    assert project.page().text == f"Notes: {kept}"

    project.ok("restart")
    assert project.page().text == f"Notes: {kept}"


def end(project: Adopted) -> None:
    """Remove the stack; with a database that no verb saves, only by a word for that."""
    if second := project.foreign.second:
        refused = project.inv("destroy", "--yes")
        assert refused.returncode == 77, refused.stderr
        assert f"{second} is another database" in refused.stderr
        project.ok("up")
        assert project.count("notes_note") == 1
        project.ok("destroy", "--no-snapshot", "--yes")
    else:
        project.ok("destroy", "--yes")


def assert_nothing_of_theirs_changed(project: Adopted) -> None:
    assert project.git("status", "--porcelain") == ""
    assert not (project.root / ".env").exists()  # git ignores it in most projects
