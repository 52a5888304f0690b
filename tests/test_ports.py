"""Whether ports are free, and the next one that is."""

import errno
import socket
from pathlib import Path

import pytest

from composed.gateway import Gateway
from composed.machine import free_port
from composed.ports.published import Published, in_the_way, is_taken, next_free
from tests.recorder import Recorder
from tests.samples import MonkeyPatch

GATEWAY = Gateway(Path())


def listening(host: str, port: int = 0) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((host, port))
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
def test_a_port_is_taken_while_something_listens(listens: str, asked: str, taken: bool) -> None:
    with listening(listens) as listener:
        port = listener.getsockname()[1]
        assert is_taken(GATEWAY, asked, port) is taken

    assert not is_taken(GATEWAY, asked, port)


def test_one_that_localhost_leads_to_on_ipv6_is_in_the_way() -> None:
    with listening("::1") as listener:
        at = Published("web", "127.0.0.1", listener.getsockname()[1])
        assert in_the_way(GATEWAY, [at, Published("web", "127.0.0.1", free_port("127.0.0.1"))]) == [
            at
        ]


def test_without_ipv6_nothing_is_taken_there(monkeypatch: MonkeyPatch) -> None:
    def no(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("composed.machine.socket.socket", no)

    assert not is_taken(GATEWAY, "::1", 8000)


def test_the_next_free_port_is_the_first_that_may_be_had(recorder: Recorder) -> None:
    recorder.taken = {8001}

    assert next_free(GATEWAY, "127.0.0.1", 8000) == 8002
    assert next_free(GATEWAY, "127.0.0.1", 8000, {8002}) == 8003


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_after_the_last_port_any_will_do(host: str) -> None:
    assert 0 < next_free(GATEWAY, host, 65535) < 65535
