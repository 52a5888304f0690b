"""Ports that another process has: chosen anew, kept, or refused."""

from __future__ import annotations

import json
import os
import socket

import pytest

from tests.stacks.copies import Copy, Done, assert_all_succeed, with_defaults
from tests.stacks.fixtures import NewCopy
from tests.stacks.ports import free_port, port_of


def published(copy: Copy, service: str, inside: int) -> str:
    return str(copy.ps()[service]["ports"][str(inside)]).removeprefix("127.0.0.1:")


def test_a_taken_port_gives_way_and_the_choice_is_kept(
    new_copy: NewCopy, holder: socket.socket
) -> None:
    port = port_of(holder)
    copy = with_defaults(new_copy(), port, free_port())

    refused = copy.inv("up", "--strict-ports")
    assert refused.returncode == 73
    assert f"Port {port}, for backend, is taken by " in refused.stderr
    assert f"(PID {os.getpid()})." in refused.stderr
    assert copy.inv("up", CI="true").returncode == 73
    assert copy.containers("--all") == set()

    done = copy.inv("up")
    assert done.returncode == 0, done.stderr
    chosen = published(copy, "backend", 8000)
    assert f"(PID {os.getpid()}): using {chosen}, kept as BACKEND_PORT in .env.\n" in done.stderr
    assert f"http://127.0.0.1:{chosen}" in done.stdout
    assert copy.ok("--dry", "open") == f"http://127.0.0.1:{chosen}\n"
    assert copy.settings["BACKEND_PORT"] == chosen
    model = json.loads(copy.docker("compose", "config", "--format", "json"))
    assert model["services"]["backend"]["ports"][0]["published"] == chosen

    before = copy.containers(), (copy.root / ".env").read_text()
    again = copy.inv("up")
    assert (copy.containers(), (copy.root / ".env").read_text()) == before, again.stderr
    holder.close()
    copy.ok("down")
    copy.ok("up", "--strict-ports")
    assert published(copy, "backend", 8000) == chosen


def test_another_stack_that_has_the_ports_is_named(new_copy: NewCopy) -> None:
    backend, db = free_port(), free_port()
    here, there = (with_defaults(new_copy(name), backend, db) for name in ("here", "there"))
    here.ok("up", "--service", "db")
    done = there.inv("up", "--service", "db")

    assert done.returncode == 0, done.stderr
    container = f"container {here.project}-db-1 of Compose project {here.project}"
    assert f"Port {db}, for db, is taken by {container}: using " in done.stderr
    assert there.ok("dbshell", "--command", "select 1", "--", "-qtA") == "1\n"
    assert {published(copy, "db", 5432) for copy in (here, there)} == {
        str(db),
        there.settings["DB_PORT"],
    }


def test_copies_that_start_at_once_find_a_port_each(new_copy: NewCopy) -> None:
    backend, db = free_port(), free_port()
    copies = [with_defaults(new_copy(name), backend, db) for name in ("a", "b", "c")]

    assert_all_succeed(*(copy.start("up", "--service", "db") for copy in copies))

    assert len({published(copy, "db", 5432) for copy in copies}) == 3


LITERAL = "127.0.0.1:${DB_PORT:-5433}:5432"


@pytest.mark.parametrize("how", ["own line", "environment", "literal"])
def test_a_taken_port_that_was_asked_for_is_73(
    how: str, new_copy: NewCopy, holder: socket.socket
) -> None:
    copy, port = new_copy(), port_of(holder)
    done = up_asking_for(copy, how, port)

    assert done.returncode == 73
    assert f"Port {port}, for db, is taken by " in done.stderr
    hints = {
        "own line": "Or take DB_PORT out of .env: inv then chooses one itself",
        "environment": "Use another: DB_PORT=",
        "literal": "Take another port: the same command, without --strict-ports and CI=true",
    }
    assert hints[how] in done.stderr
    assert copy.containers("--all") == set()


def test_a_fixed_port_that_is_taken_is_replaced_beside_the_compose_file(
    new_copy: NewCopy, holder: socket.socket
) -> None:
    copy, port = new_copy(), port_of(holder)
    file = copy.root / "docker-compose.yml"
    file.write_text(file.read_text().replace(LITERAL, f"127.0.0.1:{port}:5432"))

    done = copy.inv("up", "--service", "db")

    assert done.returncode == 0, done.stderr
    assert f"kept in .composed/{copy.project}/override.yml." in done.stderr
    chosen = published(copy, "db", 5432)
    assert chosen != str(port)
    copy.ok("restart", "--service", "db")
    assert published(copy, "db", 5432) == chosen


def up_asking_for(copy: Copy, how: str, port: int) -> Done:
    if how == "own line":
        (copy.root / ".env").write_text(f"DB_PORT={port}\n")
    if how == "literal":
        file = copy.root / "docker-compose.yml"
        file.write_text(file.read_text().replace(LITERAL, f"127.0.0.1:{port}:5432"))
    environment = {"DB_PORT": str(port)} if how == "environment" else {}
    strict = ["--strict-ports"] if how == "literal" else []
    return copy.inv("up", "--service", "db", *strict, **environment)
