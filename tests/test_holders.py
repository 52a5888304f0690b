"""Who has a port, as far as the system tells."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from composed import machine
from composed.gateway import Gateway
from composed.ports import choice
from composed.ports.choice import holder
from tests.recorder import Recorder
from tests.samples import MonkeyPatch

GATEWAY = Gateway(Path())


@pytest.fixture(params=["127.0.0.1", "::1"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that this very process listens on."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((request.param, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_process_is_named_with_its_pid(port: int) -> None:
    found = GATEWAY.listeners(port)

    assert list(found) == [os.getpid()]
    assert holder(GATEWAY, port) == f"{found[os.getpid()]} (PID {os.getpid()})"


def test_nobody_has_a_free_port(recorder: Recorder) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound is not listening
        assert holder(GATEWAY, bound.getsockname()[1]) == ""


@pytest.mark.parametrize("seen", [{}, {7: "docker-proxy"}, {8: "com.docker.backend"}])
def test_a_container_says_more_than_the_process_that_forwards_to_it(
    seen: dict[int, str], recorder: Recorder
) -> None:
    recorder.pids = lambda port: seen
    recorder.on("publish=8000").say("shop-db-1\tshop\n")

    assert holder(GATEWAY, 8000) == "container shop-db-1 of Compose project shop"

    recorder.on("publish=8000").say("alone\t\n")
    assert holder(GATEWAY, 8000) == "container alone"


def test_of_what_may_not_be_seen_the_owner_is_told(
    recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "owners", lambda _: {"1": 987654, "2": 0})
    recorder.on("docker", "ps").say(code=1, err="Cannot connect to the Docker daemon")

    assert holder(GATEWAY, 8000) == "a process of root"


def test_without_proc_lsof_is_asked(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    lsof = Recorder()
    lsof.on("lsof").say("p4711\ncnode\nf12\np4712\ncpython3.11\n")
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(Gateway, "ask", lsof.ask)

    assert GATEWAY.listeners(8000) == {4711: "node", 4712: "python3.11"}
    assert lsof.asked == [["lsof", "-nP", "-iTCP:8000", "-sTCP:LISTEN", "-Fpc"]]
    assert holder(GATEWAY, 8000) == "node (PID 4711)"


def test_what_ends_while_we_look_is_passed_over(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    row = "0: 0100007F:1F40 00000000:0000 0A 0:0 00:0 0 1000 0 4242 1"
    (tmp_path / "net/tcp").write_text(f"sl local\n{row}\n")
    (tmp_path / "77").mkdir()  # without fd
    monkeypatch.setattr(machine, "PROC", tmp_path)

    assert GATEWAY.listeners(8000) == {}
