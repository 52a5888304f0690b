"""Names that another stack has already, external volumes, and the ports that inv chose."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from composed.compose_files import compose_files
from composed.docker.compose import Compose
from composed.docker.model import Model
from composed.docker.names import check_names
from composed.docker.override import write_ports
from composed.errors import ComposedError, SettingError
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

    write_ports(gateway, file, model, {Published("web", "127.0.0.1", 8000): 8001}, "1")
    write_ports(gateway, file, model, {Published("mail", "0.0.0.0", 8025): 8026}, "2")

    lines = [line for line in file.read_text().splitlines() if line[:1] != "#"]
    web = ["127.0.0.1:8000:80/tcp", "[::1]:8000:81/tcp", "53:53/udp", "5/tcp"]
    web += ["127.0.0.1::6/tcp", "[::1]::7/tcp"]
    assert lines == [
        "services:",
        f'  "web": {{ports: !override {json.dumps(web)}}}',
        '  "mail": {ports: !override ["8026:25/tcp"]}',
    ]


PORTS = {"ports": [{"published": "8000", "target": 80}]}
CHOSEN = {"ports": [{"published": "8001", "target": 80}]}
ONE = '  "web": {ports: !override ["8001:80/tcp"]}\n'
TWO = '  "mail": {ports: !override ["8026:80/tcp"]}\n'


class Chosen:
    """A stack with chosen ports of two services, and a Compose file that changes."""

    def __init__(self, root: Path, recorder: Recorder) -> None:
        self.root, self.file, self.recorder = root, root / "override.yml", recorder
        self.env = root / ".env"
        self.env.touch()
        (root / "more.yml").touch()
        (root / "compose.yml").write_text("include: [more.yml]\nservices: ${WEB_PORT}\n")
        services = {"web": PORTS, "mail": PORTS}
        chosen = {Published(name, "0.0.0.0", 8000): 8001 for name in services}
        chosen[Published("mail", "0.0.0.0", 8000)] = 8026
        write_ports(
            Gateway(root), self.file, Model({"services": services}), chosen, self.dc.state()
        )

    @property
    def dc(self) -> Compose:
        files = compose_files(self.root, (), {})
        return Compose(Gateway(self.root), [self.env], None, files, self.file)

    def reads(self, **services: Any) -> str:
        """Return the services of our file after a verb on such a Compose file."""
        self.recorder.on("config", "--format").say(json.dumps({"services": services}))
        self.recorder.on("config", "--services").say(" ".join(services))
        used = "override.yml" in self.dc.argv("ps")
        assert used is self.file.exists()
        return "".join(re.findall(r"^  .*\n", self.file.read_text(), re.M)) if used else ""


@pytest.fixture
def chosen(tmp_path: Path, recorder: Recorder) -> Chosen:
    return Chosen(tmp_path, recorder)


def test_chosen_ports_cost_no_question_while_nothing_changes(chosen: Chosen) -> None:
    assert chosen.reads() == f"{ONE}{TWO}"
    assert chosen.recorder.calls == []


def test_a_text_like_a_file_name_is_no_obstacle(chosen: Chosen) -> None:
    with (chosen.root / "compose.yml").open("a") as file:
        file.write(f"# {'x' * 300}.yml {'y' * 100_000}\n")

    assert chosen.reads(web=PORTS, mail=PORTS) == f"{ONE}{TWO}"


@pytest.mark.parametrize("name", ["compose.yml", "more.yml", ".env", "compose.override.yml"])
def test_chosen_ports_are_compared_once_after_a_change(name: str, chosen: Chosen) -> None:
    with (chosen.root / name).open("a") as file:
        file.write("# edited\n")

    assert chosen.reads(web=PORTS, mail=PORTS) == f"{ONE}{TWO}"
    assert chosen.recorder.lines("ask") == [
        f"docker compose --env-file {chosen.env.name} config --format json"
    ]
    assert chosen.reads() == f"{ONE}{TWO}"
    assert len(chosen.recorder.calls) == 1


@pytest.mark.parametrize(
    ("services", "left"),
    [
        ({"web": PORTS, "mail": PORTS}, f"{ONE}{TWO}"),
        ({"site": PORTS, "mail": PORTS}, TWO),
        ({"web": {"ports": [{"published": "9000", "target": 80}]}, "mail": PORTS}, TWO),
        ({"web": PORTS, "mail": {}}, ONE),
        ({"db": {}}, ""),
    ],
)
def test_chosen_ports_end_with_what_they_replace(
    services: dict[str, Any], left: str, chosen: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_PORT", "9000")

    assert chosen.reads(**services) == left
    assert chosen.reads() == left


def test_chosen_ports_of_another_profile_stay(chosen: Chosen) -> None:
    chosen.env.write_text("A=1\n")
    chosen.recorder.on("config", "--format").say(json.dumps({"services": {"mail": PORTS}}))
    chosen.recorder.on("config", "--services").say("web mail")

    assert "override.yml" in chosen.dc.argv("ps")
    assert f"{ONE}{TWO}" in chosen.file.read_text()
    chosen.env.write_text("COMPOSE_PROFILES=all\n")
    assert chosen.reads(web=PORTS, mail=PORTS) == f"{ONE}{TWO}"


def test_chosen_ports_of_an_older_version_are_checked(chosen: Chosen) -> None:
    lines = chosen.file.read_text().splitlines(keepends=True)
    chosen.file.write_text("".join(lines[:-1]))

    assert chosen.reads(mail=CHOSEN) == TWO
    chosen.env.write_text("A=1\n")
    assert chosen.reads(mail=PORTS) == ""


def test_a_file_of_a_session_is_left_alone(chosen: Chosen) -> None:
    chosen.file.write_text(f"# Written by composed.sessions\nservices:\n{ONE}")

    assert chosen.reads(db={}) == ONE
    assert chosen.recorder.calls == []


def test_a_dry_run_drops_no_chosen_ports(chosen: Chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_PORT", "9000")
    chosen.recorder.on("config", "--format").say('{"services": {}}')
    dc = chosen.dc
    dc.gateway = Gateway(chosen.root, dry=True)

    assert not {"override.yml"} & {*dc.argv("ps"), *dc.argv("ps")}
    assert f"{ONE}{TWO}" in chosen.file.read_text()


def test_an_error_of_the_file_of_chosen_ports_names_the_file(chosen: Chosen) -> None:
    chosen.recorder.on("override.yml", "config").say(code=15, err="service web has no image\n")

    with pytest.raises(SettingError) as raised:
        chosen.dc.services()

    assert str(raised.value) == (
        "docker compose config failed: service web has no image\n"
        "  The cause is our file with the ports that inv chose.\n"
        "  Type: rm override.yml"
    )
    chosen.recorder.on("config").say(code=15, err="services.web is odd\n")
    with pytest.raises(SettingError, match="Correct the Compose file"):
        chosen.dc.services()
