"""Services as ``docker compose ps`` tells of them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from composed.stack import Service

__all__ = ["parse_ps"]


def parse_ps(lines: str, backend: str) -> list[Service]:
    """Return the services in the output of ``docker compose ps --format json``.

    One-off containers are left out; ``backend`` is the service that gets a URL.
    """
    rows = (json.loads(line) for line in lines.splitlines() if line.strip())
    found = [_service(row, backend) for row in rows if "oneoff=True" not in row["Labels"]]
    return sorted(found, key=lambda service: service.service)


def _service(row: Mapping[str, object], backend: str) -> Service:
    publishers = row.get("Publishers")
    # A port on every address has a row for IPv6 too, which must not hide the other.
    rows = sorted(publishers if isinstance(publishers, list) else [], key=_is_ipv4)
    ports = {
        at["TargetPort"]: f"{at['URL']}:{at['PublishedPort']}" for at in rows if at["PublishedPort"]
    }
    name = str(row["Service"])
    return Service(
        service=name,
        state=str(row["State"]),
        health=str(row["Health"]),
        age=str(row["RunningFor"]).removesuffix(" ago"),
        ports=ports,
        url=_url(next(iter(ports.values()))) if name == backend and ports else "",
        container=str(row.get("ID", "")),
    )


def _is_ipv4(publisher: Mapping[str, object]) -> bool:
    return ":" not in str(publisher["URL"])


def _url(address: str) -> str:
    """Return where a browser here reaches a published port; every address has this one."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
