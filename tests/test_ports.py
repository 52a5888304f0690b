"""Which ports are asked for, whose setting each is, and whether they are free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest

from composed.ports.published import (
    Published,
    free_port,
    governing,
    in_the_way,
    is_taken,
    next_free,
    published,
)


def listening(host: str, port: int = 0) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((host, port))
    listener.listen()
    return listener


def test_fixed_ports_are_read_from_the_model() -> None:
    model = {
        "services": {
            "web": {"ports": [{"published": "8000", "host_ip": "127.0.0.1"}]},
            "any": {"ports": [{"published": "0"}, {"target": 5}, {"published": "1-2"}]},
            "open": {"ports": [{"published": "80", "protocol": "tcp"}]},
            "udp": {"ports": [{"published": "53", "protocol": "udp"}]},
            "none": {},
        }
    }

    assert published(model) == [
        Published("web", "127.0.0.1", 8000),
        Published("open", "0.0.0.0", 80),
    ]


def test_a_model_without_services_has_no_ports() -> None:
    assert published({}) == []


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("127.0.0.1:${WEB_PORT:-8000}:80", "WEB_PORT"),
        ("${WEB_PORT-8000}:80", "WEB_PORT"),
        ("127.0.0.1:$SET:80", "SET"),
        ("${HOST:-127.0.0.1}:${SET}:80", "SET"),
        ("${EMPTY:-8000}:80", "EMPTY"),
        ({"published": "${WEB_PORT:-8000}", "target": 80}, "WEB_PORT"),
        ("8000:80", ""),
        ("${WHERE}:80", ""),  # an address and a port in one: not a port to choose
        ("${WEB_PORT:-9000}:80", ""),
        ({"target": 80}, ""),
    ],
)
def test_the_setting_that_governs_a_port_is_found(entry: object, name: str) -> None:
    raw = {"services": {"web": {"ports": [entry]}}}
    values = {"SET": "8000", "EMPTY": "", "WHERE": "127.0.0.1:8000"}

    assert governing(raw, Published("web", "127.0.0.1", 8000), values) == name


def test_a_service_that_is_not_there_has_no_setting() -> None:
    assert governing({}, Published("web", "127.0.0.1", 8000), {}) == ""


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
        assert is_taken(asked, port) is taken

    assert not is_taken(asked, port)


def test_one_that_localhost_leads_to_on_ipv6_is_in_the_way() -> None:
    with listening("::1") as listener:
        at = Published("web", "127.0.0.1", listener.getsockname()[1])
        assert in_the_way([at, Published("web", "127.0.0.1", free_port("127.0.0.1"))]) == [at]


def test_without_ipv6_nothing_is_taken_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("composed.ports.published.socket.socket", no)

    assert not is_taken("::1", 8000)


def only(*free: int) -> Callable[[str, int], bool]:
    return lambda host, port: port not in free


def test_the_next_free_port_is_the_first_that_may_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composed.ports.published.is_taken", only(8002, 8003))

    assert next_free("127.0.0.1", 8000) == 8002
    assert next_free("127.0.0.1", 8000, {8002}) == 8003


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_after_the_last_port_any_will_do(host: str) -> None:
    assert 0 < next_free(host, 65535) < 65535
