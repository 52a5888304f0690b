"""A volume that the credentials of ``.env`` do not fit: found before Django, and mended."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from tests.stacks.copies import Copy
from tests.stacks.terminals import exit_code

TEST = """\
from django.test import TestCase

class Nothing(TestCase):
    def test_nothing(self):
        pass
"""


@pytest.fixture
def saved(stack: Copy) -> Iterator[Copy]:
    """One task; afterwards the volume fits the first ``.env`` again."""
    before = (stack.root / ".env").read_text()
    stack.ok("dbshell", "--command", "TRUNCATE task_api_task CASCADE")
    stack.ask("/api/tasks", "POST", {"title": "dear"})
    yield stack
    if (stack.root / ".env").read_text() != before:
        (stack.root / ".env").write_text(before)
        stack.ok("db.credentials")
        stack.ok("up")
    assert stack.titles() == {"dear"}


def write(stack: Copy, **values: str) -> None:
    file = stack.root / ".env"
    lines = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in values]
    file.write_text("\n".join([*lines, *(f"{n}={v}" for n, v in values.items()), ""]))


def django_complaints(stack: Copy) -> str:
    """Return the latest lines of Django's log."""
    return stack.ok("logs", "--service", "backend", "--since", "1m")


def test_an_emptied_password_is_made_anew_and_found_not_to_fit(saved: Copy) -> None:
    write(saved, POSTGRES_PASSWORD="")

    done = saved.inv("up")

    assert done.returncode == 78
    assert "Completed .env: POSTGRES_PASSWORD\n" in done.stderr
    assert f"is not the password of cp_user in volume {saved.project}_db-data.\n" in done.stderr
    assert "  Or change the volume to the value in .env: inv db.credentials\n" in done.stderr
    assert "inv down --volumes && inv up && inv db.restore --latest\n" in done.stderr
    assert "authentication failed" not in django_complaints(saved)


def test_the_password_is_changed_whatever_is_in_it_and_shown_nowhere(saved: Copy) -> None:
    write(saved, POSTGRES_PASSWORD="'pass$word with \"quotes\" and \\ more'")

    done = saved.inv("--echo", "db.credentials")

    assert done.stdout == "The password of cp_user is now the password in .env.\n  Type: inv up\n"
    assert "pass$word" not in done.stderr
    saved.ok("up")
    assert saved.titles() == {"dear"}
    assert "pass$word" not in saved.ok("logs", "--service", "db")


def test_the_user_and_the_database_are_renamed(saved: Copy) -> None:
    write(saved, POSTGRES_USER="anna", POSTGRES_DB="shop", POSTGRES_PASSWORD="another-one")
    done = saved.inv("up")
    assert done.returncode == 78
    assert "POSTGRES_USER is 'anna': there is no such user in volume" in done.stderr
    assert "POSTGRES_USER=cp_user POSTGRES_DB=task_db inv down --volumes && " in done.stderr

    saved.ok("db.credentials")

    saved.ok("up")
    assert saved.titles() == {"dear"}
    roles = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"
    plain = ("--", "--no-align", "--tuples-only")
    assert saved.ok("dbshell", "--command", roles, *plain).split() == ["anna"]
    assert saved.ok("db.credentials") == "They fit: nothing was changed.\n"


def test_the_other_way_out_makes_the_volume_anew(saved: Copy) -> None:
    write(saved, POSTGRES_DB="shop")
    done = saved.inv("up")
    assert done.returncode == 78
    way = done.stderr.splitlines()[-1].partition("back: ")[2]
    assert way.startswith("POSTGRES_DB=task_db inv down --volumes && inv up && ")

    saved.ok("down", "--volumes", "--yes", POSTGRES_DB="task_db")
    saved.ok("up")
    saved.ok("db.restore", "--latest", "--yes")

    assert saved.titles() == {"dear"}


def test_doctor_names_what_does_not_fit_and_what_tests_left(saved: Copy) -> None:
    saved.ok("dbshell", "--command", "CREATE DATABASE test_task_db")

    fits = json.loads(saved.ok("doctor", "--json"))
    write(saved, POSTGRES_PASSWORD="wrong")
    wrong = json.loads(saved.inv("doctor", "--json").stdout)

    rows = {row["what"]: row for row in fits["findings"]}
    assert rows["credentials"]["state"] == rows["volume"]["state"] == "ok"
    assert rows["test database"]["seen"] == "test_task_db"
    (refused,) = [row for row in wrong["findings"] if row["what"] == "credentials"]
    assert (refused["state"], "inv db.credentials" in refused["cure"]) == ("wrong", True)

    saved.ok(*shlex.split(rows["test database"]["cure"])[1:])


def test_a_test_run_does_not_ask_about_the_database_of_an_earlier_one(saved: Copy) -> None:
    saved.ok("dbshell", "--command", "CREATE DATABASE test_task_db")
    (saved.root / "server/test_nothing.py").write_text(TEST)
    terminal = saved.terminal("manage", "--", "test", "test_nothing")

    terminal.expect("Ran 1 test in")
    assert exit_code(terminal) == 0
    assert "test_task_db" not in saved.ok("dbshell", "--command", "\\l")
