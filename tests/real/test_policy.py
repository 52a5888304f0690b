"""The rules that our Compose files keep, as Compose itself reads the files."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = {
    "development": ["docker-compose.yml"],
    "production": ["docker-compose.yml", "docker-compose.production.yml"],
    "test": ["docker-compose.yml", "docker-compose.production.yml", "docker-compose.test.yml"],
}
SECRETS = re.compile(r"KEY|PASSWORD|SECRET|TOKEN")

Service = dict[str, Any]


def violations(model: dict[str, Any]) -> list[str]:
    """Return every break of the policy, a line each."""
    found = ["version is obsolete"] if "version" in model else []
    for name, service in model["services"].items():
        found += [f"{name}: {problem}" for problem in problems(name, service)]
    return found


def problems(name: str, service: Service) -> list[str]:
    environment = variables(service)
    rules = {
        "container_name": "container_name" in service,
        "env_file": "env_file" in service,
        "a kept capability": service.get("cap_drop") != ["ALL"] or "cap_add" in service,
        "new privileges": "no-new-privileges:true" not in service.get("security_opt", []),
        "root": str(service.get("user", "root")).split(":")[0] in ("", "0", "root"),
        "privileged": bool(service.get("privileged")),
        "no limit of memory": not service.get("mem_limit"),
        "no limit of processes": not service.get("pids_limit"),
        "no health check": not is_one_off(service) and not is_checked(service),
        "more than POSTGRES_*": name == "db"
        and any(not key.startswith("POSTGRES_") for key in environment),
    }
    return [
        *(problem for problem, broken in rules.items() if broken),
        *(f"literal secret {key}" for key, value in environment.items() if is_literal(key, value)),
        *(f"open port {port}" for port in service.get("ports", []) if not is_local(port)),
        *(f"ungated {on}" for on, how in depends_on(service).items() if not is_gated(how)),
    ]


def variables(service: Service) -> dict[str, str]:
    """Return the environment: a list of NAME=value where Compose has merged two files."""
    environment = service.get("environment") or {}
    if isinstance(environment, list):
        return dict(line.split("=", 1) for line in environment)
    return dict(environment)


def is_one_off(service: Service) -> bool:
    return service.get("profiles") == ["test"]


def is_checked(service: Service) -> bool:
    check = service.get("healthcheck") or {}
    return bool(check.get("test")) and not check.get("disable")


def is_literal(key: str, value: object) -> bool:
    return bool(SECRETS.search(key)) and not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]*\}", str(value))


def is_local(port: object) -> bool:
    host = port.get("host_ip") if isinstance(port, dict) else str(port)
    return str(host).startswith("127.0.0.1")


def depends_on(service: Service) -> dict[str, Any]:
    on = service.get("depends_on") or {}
    return on if isinstance(on, dict) else dict.fromkeys(on)


def is_gated(how: dict[str, str] | None) -> bool:
    return how is not None and how["condition"] != "service_started"


def read(folder: Path, *files: str) -> dict[str, Any]:
    chosen = [part for file in files for part in ("--file", file)]
    show = ["config", "--no-interpolate", "--format", "json"]
    done = subprocess.run(
        ["docker", "compose", "--profile", "*", *chosen, *show],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    model: dict[str, Any] = json.loads(done.stdout)
    return model


@pytest.mark.parametrize("files", FILES.values(), ids=FILES.keys())
def test_our_compose_files_keep_the_policy(files: list[str]) -> None:
    assert violations(read(ROOT, *files)) == []


BAD = """\
services:
  db:
    image: postgres:15
    container_name: postgres-container
    env_file: [.env]
    privileged: true
    environment: {POSTGRES_PASSWORD: password, SECRET_KEY: "${SECRET_KEY:-x}"}
    ports: ["5433:5432", "0.0.0.0:1:1", "127.0.0.1:2:2"]
  backend:
    image: x
    user: "0:0"
    cap_drop: [ALL]
    cap_add: [SYS_ADMIN]
    depends_on: [db]
    healthcheck: {disable: true}
"""


def test_each_rule_can_fail(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(BAD)
    (tmp_path / ".env").touch()

    found = "\n".join(violations(read(tmp_path, "docker-compose.yml")))

    for name, rules in {
        "db": (
            "container_name",
            "env_file",
            "a kept capability",
            "new privileges",
            "root",
            "privileged",
            "no limit of memory",
            "no limit of processes",
            "no health check",
            "more than POSTGRES_",
            "literal secret POSTGRES_PASSWORD",
            "literal secret SECRET_KEY",
            "open port",
        ),
        "backend": ("a kept capability", "root", "ungated db", "no health check"),
    }.items():
        for rule in rules:
            assert f"{name}: {rule}" in found, found
    assert found.count("open port") == 2
    assert violations({"version": "3", "services": {}}) == ["version is obsolete"]


def test_production_mounts_nothing_and_writes_nothing() -> None:
    backend = read(ROOT, *FILES["production"])["services"]["backend"]

    assert backend["read_only"] is True
    assert not backend.get("volumes")
    assert backend["build"]["target"] == "production"


def test_a_stop_waits_longer_than_gunicorn() -> None:
    backend = read(ROOT, "docker-compose.yml")["services"]["backend"]
    graceful = re.search(r":-(\d+)", variables(backend)["GUNICORN_GRACEFUL_TIMEOUT"])

    assert graceful
    assert int(backend["stop_grace_period"].removesuffix("s")) > int(graceful[1])
