"""The first session of the README, on a real engine."""

from __future__ import annotations

import os

import pytest

from tests.stacks.copies import Copy, assert_all_succeed, owned
from tests.stacks.fixtures import NewCopy
from tests.stacks.terminals import exit_code

OWNERS = [0, 1001] if os.getuid() == 0 else [os.getuid()]


@pytest.mark.parametrize("owner", OWNERS)
def test_a_first_session(owner: int, new_copy: NewCopy) -> None:
    copy = new_copy(owner=owner if os.getuid() == 0 else None)

    out = copy.ok("up")
    assert "backend  running  healthy  http://127.0.0.1:" in out
    assert "Pending migrations: " in out
    assert "Type: inv migrate" in out
    for path in ("/", "/api/tasks", "/admin/"):
        answer = copy.ask(path)
        assert (answer.status, "inv migrate" in answer.text) == (503, True)

    copy.ok("migrate")
    assert copy.ask("/api/tasks", "POST", {"title": "kept"}).status == 201

    copy.ok("down")
    assert copy.ps() == {}
    assert "Pending" not in copy.ok("up")
    assert copy.titles() == {"kept"}

    add_a_field(copy)
    copy.ok("makemigrations", "--", "--name", "colour")
    made = copy.root / "server/task_api/migrations/0003_colour.py"
    assert made.stat().st_uid == owner
    copy.ok("migrate")
    assert copy.titles() == {"kept"}

    copy.ok("down")
    status = copy.run("git", "status", "--short").stdout
    assert status.splitlines() == [
        " M server/task_api/models.py",
        "?? server/task_api/migrations/0003_colour.py",
    ]


def add_a_field(copy: Copy) -> None:
    models = copy.root / "server/task_api/models.py"
    text = models.read_text()
    field = '    colour = models.CharField(max_length=20, default="", blank=True)\n'
    head, class_, rest = text.partition("class Task(models.Model):\n")
    docstring, _, fields = rest.partition("\n\n")
    models.write_text(f"{head}{class_}{docstring}\n\n{field}{fields}")


def test_plain_compose_acts_on_the_same_stack(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("up")

    assert set(copy.docker("compose", "ps", "--quiet").split()) == copy.containers()

    copy.docker("compose", "down")
    assert copy.ps() == {}

    copy.docker("compose", "up", "--detach", "--wait")
    assert {row["health"] for row in copy.ps().values()} == {"healthy"}


def test_two_copies_share_nothing(new_copy: NewCopy) -> None:
    here, there = new_copy("here"), new_copy("there")
    for copy in (here, there):
        copy.ok("up", "--migrate")
    here.ask("/api/tasks", "POST", {"title": "here alone"})

    assert here.project != there.project
    assert there.titles() == set()

    there.ask("/api/tasks", "POST", {"title": "there alone"})
    done = there.inv("destroy", "--yes")
    assert done.returncode == 0, done.stderr
    assert owned(there) == {}
    assert here.titles() == {"here alone"}
    assert owned(here).keys() == {"containers", "networks", "volumes", "images"}
    assert (there.root / ".env").exists()

    there.undo(done)
    there.ok("up")
    assert there.titles() == {"there alone"}


def test_volumes_are_removed_only_with_consent(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("up", "--migrate")
    copy.ask("/api/tasks", "POST", {"title": "dear"})

    assert copy.inv("down", "--volumes").returncode == 77
    assert copy.titles() == {"dear"}

    terminal = copy.terminal("down", "--volumes")
    terminal.expect_exact("? [y/N] ")
    terminal.sendline("")
    terminal.expect_exact("Nothing was changed.")
    exit_code(terminal)
    assert copy.titles() == {"dear"}

    done = copy.inv("down", "--volumes", "--yes")
    assert done.returncode == 0, done.stderr
    copy.ok("up", "--migrate")
    assert copy.titles() == set()

    copy.undo(done)
    assert copy.titles() == {"dear"}


def test_data_that_cannot_be_saved_is_removed_only_on_request(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("up", "--service", "db")
    copy.ok("down")
    copy.env["POSTGRES_IMAGE"] = "no-such-image"

    done = copy.inv("down", "--volumes", "--yes")

    assert done.returncode == 77
    assert "Without one, for good: inv down --volumes --no-snapshot --yes" in done.stderr
    assert owned(copy)["volumes"]
    copy.ok("down", "--volumes", "--no-snapshot", "--yes")
    assert owned(copy) == {}


def test_restart_picks_up_a_changed_env(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("up")
    copy.append(".env", "WEB_CONCURRENCY=3\n")

    copy.ok("restart")

    assert copy.ok("shell", "--", "printenv", "WEB_CONCURRENCY") == "3\n"


def test_each_container_has_limits(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.append(".env", "BACKEND_MEMORY=700m\nMOST_PROCESSES=200\n")
    copy.ok("up")

    limits = ("inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}")
    assert copy.docker(*limits, copy.container("backend")) == f"{700 << 20} 200\n"
    assert copy.docker(*limits, copy.container("db")) == f"{2 << 30} 200\n"


def test_the_course_names_still_resolve(stack: Copy) -> None:
    script = "import socket; print(socket.gethostbyname('postgres-container'))"

    assert stack.ok("shell", "--", "python", "-c", script).strip()


def test_a_superuser_is_made_without_a_terminal(stack: Copy) -> None:
    stack.ok(
        "createsuperuser",
        DJANGO_SUPERUSER_USERNAME="ada",
        DJANGO_SUPERUSER_EMAIL="ada@example.org",
        DJANGO_SUPERUSER_PASSWORD="long and $odd 'one'",
    )
    script = (
        "from django.contrib.auth import authenticate; "
        "print(authenticate(username='ada', password=\"long and $odd 'one'\"))"
    )

    assert stack.ok("manage", "--", "shell", "--verbosity", "0", "-c", script) == "ada\n"


def test_two_migrate_at_once_both_end_well(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.ok("up")
    both = [copy.start("migrate") for _ in range(2)]
    by_hand = copy.start("shell", "--", "python", "manage.py", "migrate")

    assert_all_succeed(*both, by_hand)
    assert copy.ask("/readyz").status == 200


def test_migrate_starts_the_database_alone(new_copy: NewCopy) -> None:
    copy = new_copy()

    copy.ok("env")
    copy.ok("migrate")

    assert set(copy.ps()) == {"db"}
