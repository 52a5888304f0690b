"""Ports that are taken: seen, passed over for the next free port, and named with their holder."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from composed import machine
from composed.gateway import Gateway
from composed.machine import free_port
from composed.ports import choice
from composed.ports.choice import holder
from composed.ports.published import Published, in_the_way, is_taken, next_free
from tests.recorder import Recorder
from tests.samples import MonkeyPatch

GATEWAY = Gateway(Path())


def listening(host: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((host, 0))
    listener.listen()
    return listener


@pytest.mark.parametrize(
    ("listens", "asked", "taken"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("::1", "::1", True),
        ("::1", "0.0.0.0", True),  # Compose publishes on `::` too
        ("::1", "127.0.0.1", False),
    ],
)
def test_a_port_is_taken_while_a_process_listens(listens: str, asked: str, taken: bool) -> None:
    with listening(listens) as listener:
        port = listener.getsockname()[1]
        assert is_taken(GATEWAY, asked, port) is taken

    assert not is_taken(GATEWAY, asked, port)


def test_a_port_that_localhost_reaches_on_ipv6_is_in_the_way() -> None:
    free = Published("web", "127.0.0.1", free_port("127.0.0.1"))
    with listening("::1") as listener:
        taken = Published("web", "127.0.0.1", listener.getsockname()[1])
        assert in_the_way(GATEWAY, [taken, free]) == [taken]


def test_without_ipv6_no_port_is_taken_there(monkeypatch: MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("composed.machine.socket.socket", refuse)

    assert not is_taken(GATEWAY, "::1", 8000)


def test_the_next_free_port_is_the_first_that_is_not_avoided(recorder: Recorder) -> None:
    recorder.taken = {8001}

    assert next_free(GATEWAY, "127.0.0.1", 8000) == 8002
    assert next_free(GATEWAY, "127.0.0.1", 8000, {8002}) == 8003


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_after_the_last_port_any_free_port_is_next(host: str) -> None:
    assert 0 < next_free(GATEWAY, host, 65535) < 65535


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_process_is_named_with_the_pid(host: str) -> None:
    with listening(host) as listener:
        port = listener.getsockname()[1]
        names = GATEWAY.listeners(port)

        assert list(names) == [os.getpid()]
        assert holder(GATEWAY, port) == f"{names[os.getpid()]} (PID {os.getpid()})"


def test_a_bound_port_without_a_listener_has_no_holder(recorder: Recorder) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert holder(GATEWAY, bound.getsockname()[1]) == ""


@pytest.mark.parametrize("listeners", [{}, {7: "docker-proxy"}, {8: "com.docker.backend"}])
def test_a_container_is_named_not_the_proxy(listeners: dict[int, str], recorder: Recorder) -> None:
    recorder.pids = lambda port: listeners
    recorder.on("publish=8000").say("shop-db-1\tshop\n")

    assert holder(GATEWAY, 8000) == "container shop-db-1 of Compose project shop"

    recorder.on("publish=8000").say("alone\t\n")
    assert holder(GATEWAY, 8000) == "container alone"


def test_a_hidden_process_is_named_by_owner(recorder: Recorder, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "owners", lambda _: {"1": 987654, "2": 0})
    recorder.on("docker", "ps").say(code=1, err="Cannot connect to the Docker daemon")

    assert holder(GATEWAY, 8000) == "a process of root"


@pytest.mark.skipif(not machine.PROC.exists(), reason="this system has no /proc")
def test_a_process_that_ends_meanwhile_hides_no_other(
    monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    ended = f"{machine.PROC / str(os.getppid()) / 'fd'}"

    def fail_where_ended(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def reader(path: Any) -> Any:
            if str(path) == ended:
                raise FileNotFoundError(2, "No such file or directory", ended)
            return read(path)

        return reader

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, fail_where_ended(getattr(os, name)))
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert list(machine.lock_holders(tmp_path / "lock")) == [os.getpid()]


def test_without_proc_lsof_lists_the_listeners(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    lsof = Recorder()
    lsof.on("lsof").say("p4711\ncnode\nf12\np4712\ncpython3.11\n")
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(Gateway, "ask", lsof.ask)

    assert GATEWAY.listeners(8000) == {4711: "node", 4712: "python3.11"}
    assert lsof.asked == [["lsof", "-nP", "-iTCP:8000", "-sTCP:LISTEN", "-Fpc"]]
    assert holder(GATEWAY, 8000) == "node (PID 4711)"


def test_a_process_that_just_ended_is_passed_over(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    row = "0: 0100007F:1F40 00000000:0000 0A 0:0 00:0 0 1000 0 4242 1"
    (tmp_path / "net/tcp").write_text(f"sl local\n{row}\n")
    (tmp_path / "77").mkdir()  # without fd
    monkeypatch.setattr(machine, "PROC", tmp_path)

    assert GATEWAY.listeners(8000) == {}


LISTENS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_a_socket_of_another_process_listens_on_after_its_end() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        port = int(owner.stdout.readline())
        listener = machine.listening_socket([owner.pid], port)
        owner.communicate()
    assert listener

    with listener, socket.create_connection(("127.0.0.1", port), timeout=5):
        listener.accept()[0].close()


def test_no_socket_is_no_error() -> None:
    assert machine.listening_socket([os.getpid()], 1) is None
    assert machine.listening_socket([0], 1) is None
