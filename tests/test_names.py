"""Names that another stack has already, external volumes, and the ports that inv chose."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from composed.docker.compose import Compose
from composed.docker.model import Model
from composed.docker.names import check_names
from composed.docker.override import write_ports
from composed.errors import ComposedError
from composed.gateway import Gateway
from composed.ports.published import Published
from tests.recorder import Recorder


def check(recorder: Recorder, folder: Path, row: str, **top: Any) -> str:
    """Check a stack ``shop`` beside a container; return the exit code and the error, or ""."""
    recorder.on("docker", "ps", "--all", "--format").say(row)
    recorder.on("docker", "volume", "ls").say("there other\n")
    try:
        check_names(Compose(Gateway(folder), []), Model(top), "shop", folder)
    except ComposedError as error:
        return f"{error.code} {error}"
    return ""


@pytest.mark.parametrize(("tasks", "program"), [("", "composed"), ("import invoke", "inv")])
def test_a_stack_of_another_folder_is_not_taken_over(
    tasks: str, program: str, recorder: Recorder, tmp_path: Path
) -> None:
    other = tmp_path / "an other"
    other.mkdir()
    (other / "tasks.py").write_text(tasks)

    refused = check(recorder, tmp_path, f"shop-web-1\tshop\t{other}\n")

    assert refused == (
        f"77 The stack shop exists already: it belongs to the folder {other}.\n"
        "  Give this stack another name: write COMPOSE_PROJECT_NAME=shop-2 into .env\n"
        f"  Or end that stack, which keeps its data: cd '{other}' && {program} down"
    )


def test_a_folder_of_another_user_is_another_folder(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def denied(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith("/home/bob/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", denied)

    refused = check(recorder, tmp_path, "shop-web-1\tshop\t/home/bob/shop\n")

    assert refused.startswith("77 The stack shop exists already: it belongs to the folder /home/bo")


@pytest.mark.parametrize("row", ["shop-web-1\tshop\t/gone", "x\tshop\t.", "x\tother\t/", "x"])
def test_other_containers_are_no_obstacle(
    row: str, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert check(recorder, tmp_path, row) == ""


def test_a_fixed_name_may_be_in_use(recorder: Recorder, tmp_path: Path) -> None:
    services = {"web": {"container_name": "django"}}

    assert check(recorder, tmp_path, "django\tother\t", services=services) == (
        "77 A container of the stack other is called django, as in the Compose file here "
        "(container_name).\n"
        "  Give that container another name: docker rename django django-old"
    )
    assert check(recorder, tmp_path, "django\tshop\t", services=services) == ""


def test_an_external_volume_is_made_by_the_user(recorder: Recorder, tmp_path: Path) -> None:
    missing = {"data": {"name": "gone", "external": True}}
    there = {"data": {"name": "there", "external": True}}

    assert check(recorder, tmp_path, "", volumes=missing).endswith(
        "  Type: docker volume create gone"
    )
    assert check(recorder, tmp_path, "", volumes=there) == ""


def test_chosen_ports_replace_the_ports_of_a_service(tmp_path: Path) -> None:
    file, gateway = tmp_path / "override.yml", Gateway(tmp_path)
    ports = [
        {"published": "8000", "target": 80, "host_ip": "127.0.0.1"},
        {"published": "8000", "target": 81, "host_ip": "::1"},
        {"published": "53", "target": 53, "protocol": "udp"},
        {"target": 5},
        {"target": 6, "host_ip": "127.0.0.1"},
        {"target": 7, "host_ip": "::1"},
    ]
    mail = {"ports": [{"published": "8025", "target": 25}]}
    model = Model({"services": {"web": {"ports": ports}, "mail": mail, "quiet": mail}})

    write_ports(gateway, file, model, {Published("web", "127.0.0.1", 8000): 8001})
    write_ports(gateway, file, model, {Published("mail", "0.0.0.0", 8025): 8026})

    lines = [line for line in file.read_text().splitlines() if line[:1] != "#"]
    web = ["127.0.0.1:8000:80/tcp", "[::1]:8000:81/tcp", "53:53/udp", "5/tcp"]
    web += ["127.0.0.1::6/tcp", "[::1]::7/tcp"]
    assert lines == [
        "services:",
        f'  "web": {{ports: !override {json.dumps(web)}}}',
        '  "mail": {ports: !override ["8026:25/tcp"]}',
    ]
