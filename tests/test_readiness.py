"""Services without a health check, or with a rare one: `up` asks them by itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from composed.docker.containers import inspect
from composed.docker.readiness import Readiness
from composed.gateway import Gateway
from composed.stack import Service
from tests.recorder import Recorder
from tests.samples import container


class Database:
    """Stands for the database service; ``works`` is the answer to the question."""

    name = "db"

    def __init__(self, *, works: bool = True) -> None:
        self.works, self.asked = works, 0

    def answers(self) -> bool:
        self.asked += 1
        return self.works


def fault(
    recorder: Recorder, database: Database, name: str, seconds: float = 0, **state: Any
) -> str:
    """Return the fault of a container whose probes are ``seconds`` apart."""
    row = json.loads(container(name, **state))
    row["config"] = {"Healthcheck": {"Interval": seconds * 1e9}} if seconds else {}
    recorder.on("docker", "inspect").say(json.dumps(row))
    gateway = Gateway(Path())
    ports = {81: "127.0.0.1:81", 82: "0.0.0.0:82"}
    services = [Service("web", "running", ports=ports, url="http://127.0.0.1:81", container="web")]
    return Readiness(gateway, database, services).fault(inspect(gateway, ["c"])[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "works", "status", "words"),
    [
        ("db", True, 0, ""),
        ("db", False, 0, "takes no connections"),
        ("web", True, 200, ""),
        ("web", True, 500, ""),  # it answers; the complaints say more
        ("web", True, 0, "gives no answer at http://127.0.0.1:81 and http://127.0.0.1:82"),
        ("worker", True, 0, ""),
    ],
)
@pytest.mark.parametrize("health", [{"Health": ""}, {"Health": "starting", "seconds": 60}])
def test_a_service_without_an_early_health_check_is_asked(
    health: dict[str, Any], name: str, works: bool, status: int, words: str, recorder: Recorder
) -> None:
    recorder.http = lambda url: (status, "")
    if (name, health["Health"]) == ("worker", "starting"):
        words = "is starting"

    assert fault(recorder, Database(works=works), name, **health) == words


@pytest.mark.parametrize("way", ["http://127.0.0.1:82/", "https://127.0.0.1:81/"])
def test_every_port_is_asked_and_a_server_may_speak_tls(way: str, recorder: Recorder) -> None:
    recorder.http = lambda url: (200 if url == way else 0, "")

    assert fault(recorder, Database(), "web", Health="") == ""


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"Health": "starting", "seconds": 1}, "is starting"),
        ({"Health": "healthy", "seconds": 60}, ""),
        ({"Health": "unhealthy", "seconds": 60}, "is unhealthy"),
        ({"Health": "", "Status": "exited", "ExitCode": 3}, "ended with 3"),
        ({"Health": "", "Status": "exited"}, ""),
    ],
)
def test_other_states_decide_without_a_question(
    state: dict[str, Any], words: str, recorder: Recorder
) -> None:
    database = Database(works=False)

    assert fault(recorder, database, "db", **state) == words
    assert database.asked == 0


@pytest.mark.parametrize(("now", "words"), [(1.0, "has only just started"), (2.5, ""), (-9.0, "")])
def test_a_program_has_to_run_for_a_while(
    now: float, words: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = "1970-01-01T00:00:00Z"
    monkeypatch.setattr("composed.docker.readiness.time.time", lambda: now)

    assert fault(recorder, Database(), "worker", Health="", StartedAt=started) == words
