"""The wait of `up` for containers, the errors of the wait, and the answers of a running backend."""

import socketserver
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from composed.contract import SERVER_ENDED
from composed.docker.start import STARTS
from composed.gateway import Answer, Gateway
from composed.health.waiting import names_in
from tests.recorder import Call, Recorder
from tests.samples import DB_ROW, PS_ROW, Inv, MonkeyPatch, container, model, probe, ps_answer

Looks = Callable[..., None]

BROKEN = 'healthz: 500\nTraceback\n  File "x", line 1\nSyntaxError: bad\n'
OLD = probe("1", BROKEN)
STARTING = container(Log=[probe("1", "healthz: [Errno 111] Connection refused")])
MARKED = container(Health="unhealthy", Log=[OLD])
MENDED = container(Health="healthy", Log=[OLD, probe("2", code=0)])
STARTED = "1970-01-01T02:00:00.000000001Z"  # at the time of these tests: the container is new
BEFORE = [probe(f"1970-01-01T01:59:5{n}.123456789Z", BROKEN) for n in range(2)]
AGAIN = [container(StartedAt=STARTED, Log=BEFORE, Health=word) for word in ("starting", "healthy")]


@pytest.fixture
def looks(recorder: Recorder, monkeypatch: MonkeyPatch) -> Looks:
    """Give the backend these states, a look each; the last state stays."""
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Health": "starting"}, DB_ROW))
    recorder.on("logs").say()
    left: list[str] = []

    def next_look(_: float = 0) -> None:
        recorder.on("docker", "inspect").say(left.pop(0) if len(left) > 1 else left[0])

    def prepare(*states: str) -> None:
        left.extend(states)
        next_look()

    monkeypatch.setattr("composed.health.waiting.time.sleep", next_look)
    monkeypatch.setattr("composed.docker.watch.time.time", lambda: 7200.0)
    return prepare


@pytest.mark.parametrize(
    "states",
    [
        [STARTING, STARTING, container(Health="healthy")],
        [MARKED, MARKED, MARKED, MENDED],
        [container(), container(Log=[OLD]), MENDED],
        AGAIN,
        [container(Health="", Status="exited")],
    ],
    ids=["no failure", "old mark", "reload", "probes of an earlier start", "job that is done"],
)
def test_the_wait_goes_on_until_ready(states: list[str], inv: Inv, looks: Looks) -> None:
    looks(*states)

    assert inv("up") == 0


def test_the_wait_ends_at_the_timeout(inv: Inv, looks: Looks, recorder: Recorder) -> None:
    recorder.on("logs").say("\x1b[2Kone\n\x1b[2Ktwo\n")
    looks(container())

    assert inv("up", "--timeout", "0") == 75

    assert inv.err() == (
        "Waiting for backend to become healthy, 0 s: it is starting.\n"
        "  Its last lines:\n    one\n    two\n"
        "  See more: inv logs --service backend\n"
        "  All that is known about it: .composed/shop/failures/NOW\n"
    )


def test_a_build_after_the_start_of_the_database_is_not_a_wait(
    inv: Inv, looks: Looks, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Health": "starting"}, DB_ROW))
    passed = [0.0]
    monkeypatch.setattr("composed.docker.watch.time.monotonic", lambda: 9000.0 + passed[0])

    def build(_: Call) -> Answer:
        passed[0] = 300.0
        return Answer(0, "", "")

    recorder.on("up", "--detach").do(build)
    database = container("db", Health="healthy", StartedAt="1970-01-01T01:55:01Z")
    backend = [container(StartedAt=STARTED, Health=word) for word in ("starting", "healthy")]
    looks(*(f"{database}\n{state}" for state in backend))

    assert inv("up", "--timeout", "120") == 0


CORRECT = "  Correct SyntaxError: bad\n  Type: inv up\n"
FAILS = "it fails its health check.\n  Its health check says:\n    healthz: 500\n"


@pytest.mark.parametrize(
    ("states", "words", "cure"),
    [
        (
            [MARKED, MARKED, container(Health="unhealthy", Log=[OLD, probe("2", "odd\n")])],
            "it is unhealthy.\n  Its health check says:\n    odd\n",
            "",
        ),
        (
            [container(), container(Log=[OLD]), container(Log=[OLD, probe("2", BROKEN)])],
            FAILS,
            CORRECT,
        ),
        ([container(StartedAt=STARTED, Log=[OLD, probe("2", BROKEN)])], FAILS, CORRECT),
        ([container(), container(Status="exited", ExitCode=3)], "it ended with 3.\n", ""),
        (
            [container(), container(Status="exited", ExitCode=137, OOMKilled=True)],
            "it ended with 137 (out of memory).\n",
            "because memory ran out.\n  Type: WEB_CONCURRENCY=1 inv up\n",
        ),
        (
            [container(), container(Status="restarting", Health="", ExitCode=1)],
            "it ended with 1.\n",
            "",
        ),
        ([container(), container(restarts=1)], "it fails its health check.\n", ""),
        ([container(), container(Status="paused", Health="healthy")], "it is paused.\n", ""),
        ([container(), ""], "it is gone.\n", ""),
        # Without a health check, a single look is not enough.
        ([container(Health=""), container(Health="", Status="restarting")], "it ended with 0", ""),
    ],
)
def test_a_container_that_will_not_become_ready_ends_the_wait(
    states: list[str], words: str, cure: str, inv: Inv, looks: Looks
) -> None:
    looks(*states)

    assert inv("up") == 75

    err = inv.err()
    assert f" s: {words}" in err
    assert cure in err if cure else "Type:" not in err


@pytest.mark.parametrize(("answer", "code"), [(0, 0), (1, 75)])
def test_a_late_probe_says_nothing_of_a_database_that_answers(
    answer: int, code: int, inv: Inv, looks: Looks, recorder: Recorder
) -> None:
    recorder.on("…pg_isready…").say(code=answer)
    late = [probe("2", "Health check exceeded timeout (3s)", code=-1)]
    looks(container("db", Health="starting"), container("db", Health="unhealthy", Log=late))

    assert inv("up") == code


def test_up_tries_again_when_a_database_that_answers_is_healthy_again(
    inv: Inv, looks: Looks, recorder: Recorder
) -> None:
    recorder.on("ps", "--all").say(ps_answer(PS_ROW, {**DB_ROW, "Health": "unhealthy"}))
    recorder.on("up").say(code=1)
    looks(*[container("db", Health="unhealthy")] * 2, container("db", Health="healthy"))

    inv("up")

    assert len([argv for argv in recorder.ran if "up" in argv]) == STARTS


@pytest.mark.parametrize(("before", "ups"), [("unhealthy", 2), ("healthy", 1)])
def test_up_tries_again_when_the_database_became_healthy_since_compose_looked(
    before: str, ups: int, inv: Inv, looks: Looks, recorder: Recorder
) -> None:
    recorder.on("ps", "--all").say(ps_answer(PS_ROW, {**DB_ROW, "Health": before}))

    def refuse(_: Call) -> Answer:
        recorder.on("ps", "--all").say(ps_answer(PS_ROW, {**DB_ROW, "Health": "healthy"}))
        return Answer(1, "", "")

    recorder.on("up").do(refuse)
    looks(container("db", Health="healthy"))

    inv("up")

    assert len([argv for argv in recorder.ran if "up" in argv]) == ups


def test_a_log_can_end_the_wait(inv: Inv, looks: Looks, recorder: Recorder) -> None:
    looks(container(Log=[OLD]))
    recorder.on("--timestamps", "--tail", "1").say("2026-01-31T12:00:01.5Z old\n")
    recorder.on("--since", "2026-01-31T12:00:01.5Z").say("old\nWORKER TIMEOUT (pid:7)\n")

    assert inv("up") == 75

    assert "  Type: GUNICORN_TIMEOUT=120 inv up\n" in inv.err()


def test_an_old_log_line_does_not_end_the_wait(inv: Inv, looks: Looks, recorder: Recorder) -> None:
    looks(*[container(Log=[OLD])] * 12, container(Health="healthy"))
    recorder.on("--timestamps", "--tail", "1").say("2026-01-31T12:00:01.5Z WORKER TIMEOUT\n")
    recorder.on("--since", "2026-01-31T12:00:01.5Z").say("WORKER TIMEOUT (pid:7)\n")

    assert inv("up") == 0


@pytest.mark.parametrize("new", ["", "new\n"])
def test_an_old_failure_of_a_silent_server_ends_the_wait(
    new: str, inv: Inv, looks: Looks, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr("composed.docker.watch.SECONDS_OF_SILENCE", 0)
    looks(*[container(Log=[OLD])] * 12, container(Health="healthy"))
    recorder.on("--timestamps", "--tail", "1").say("2026-01-31T12:00:01.5Z last\n")
    recorder.on("--since", "2026-01-31T12:00:00Z").say("WORKER TIMEOUT (pid:7)\nlast\n")
    recorder.on("--since", "2026-01-31T12:00:01.5Z").say(f"last\n{new}")

    assert inv("up") == (0 if new else 75)


def test_a_database_that_does_not_start_is_waited_for_once(inv: Inv, recorder: Recorder) -> None:
    recorder.on("…pg_isready…").say(code=1)
    recorder.on("docker", "inspect").say(container("db", Status="exited", ExitCode=1))

    assert inv("up") == 75

    assert inv.err().startswith("Waiting for db to ")
    assert [argv for argv in recorder.ran if "up" in argv and argv[-1] != "db"] == []


FAILED = [container("backend", Status="exited", ExitCode=1), container("worker")]


@pytest.mark.parametrize("code", [0, 1])
def test_a_program_that_ended_without_the_tables_starts_again(
    code: int, inv: Inv, recorder: Recorder
) -> None:
    recorder.on("up").say(code=code)
    recorder.on("docker", "inspect").say("\n".join(FAILED))

    def mend(_: Call) -> Answer:
        recorder.on("up").say()
        recorder.on("docker", "inspect").say(container("backend", Health="healthy"))
        return Answer(0, "", "")

    recorder.on("restart", "backend").do(mend)

    assert inv("up", "--migrate", "--timeout", "0") == 0

    words = [next(w for w in argv if w in ("up", "migrate", "restart")) for argv in recorder.ran]
    assert words == ["up", "migrate", "restart", *(["up"] if code else [])]


def test_a_probe_of_before_the_end_of_the_migration_does_not_count(
    inv: Inv, looks: Looks, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    passed = [0.0]
    monkeypatch.setattr("composed.docker.watch.time.monotonic", lambda: 9000.0 + passed[0])
    monkeypatch.setattr("composed.docker.watch.time.time", lambda: 7200.0 + passed[0])

    def migrate(_: Call) -> Answer:
        passed[0] = 3.0
        recorder.on("docker", "info").say("1970-01-01T02:00:03Z\n")
        return Answer(0, "", "")

    recorder.on("manage.py", "migrate").do(migrate)
    # The third probe began before the end of the migration, and fails after the first look.
    probes = [probe(f"1970-01-01T02:00:0{n}Z", BROKEN) for n in range(3)]
    failing = container(StartedAt=STARTED, Log=probes[:2])
    marked = container(StartedAt=STARTED, Log=probes, Health="unhealthy")
    looks(failing, failing, marked, container(StartedAt=STARTED, Health="healthy"))

    assert inv("up", "--migrate") == 0


def test_a_start_that_fails_for_another_reason_is_not_migrated(
    inv: Inv, recorder: Recorder
) -> None:
    recorder.on("up").say(code=1)
    recorder.on("docker", "inspect").say(container("backend", Health="starting"))

    assert inv("up", "--migrate") == 75

    assert not any("migrate" in argv for argv in recorder.ran)


def test_the_end_of_an_earlier_start_does_not_end_the_wait(
    inv: Inv, looks: Looks, recorder: Recorder
) -> None:
    looks(*[container(StartedAt=STARTED)] * 12, container(Health="healthy"))
    recorder.on("logs").say(f"Worker failed to boot\n{SERVER_ENDED} 1\n")
    recorder.on("--since", STARTED).say("")

    assert inv("up") == 0


def test_containers_that_were_removed_meanwhile_are_gone(inv: Inv, looks: Looks) -> None:
    looks("")

    assert inv("up") == 75

    assert inv.err().startswith("The started containers are gone.\n  Type: inv up\n")


def test_a_failed_start_names_the_container_that_ended(inv: Inv, recorder: Recorder) -> None:
    unhealthy = container("backend", Health="unhealthy", Log=[probe("1", "odd")])
    ended = container("db", Status="exited", ExitCode=1)
    recorder.on("up").say(code=1)
    recorder.on("docker", "inspect").say("\n".join([container("a"), unhealthy, ended]))
    recorder.on("logs").say("No space left on device\n")

    assert inv("up") == 75

    assert inv.err().startswith(
        "Starting db, 0 s: it ended with 1.\n"
        "  Its last lines:\n    No space left on device\n"
        "  The disk of the engine or of this machine is full.\n"
        "  Type: docker system df\n"
    )


def test_an_image_that_cannot_be_pulled_is_69(inv: Inv, recorder: Recorder) -> None:
    recorder.on("up").say(code=18)
    recorder.on(".env", "config", "--format").say(
        model(backend=0).replace('"ports"', '"image": "x:1", "ports"')
    )
    recorder.on("docker", "image", "inspect", "--format", "{{.Id}}").say(code=1)
    recorder.on("docker", "pull").say(code=1, err="denied")

    assert inv("up") == 69

    assert inv.err().startswith("The image x:1 cannot be pulled: ")


@pytest.mark.parametrize(("broken", "code"), [(True, 78), (False, 15)])
def test_an_unreadable_model_is_78(broken: bool, code: int, inv: Inv, recorder: Recorder) -> None:
    recorder.on("manage.py").say(code=15)
    recorder.on("config", "--quiet").say(code=15 if broken else 0, err="invalid interpolation")

    assert inv("migrate") == code

    assert ("invalid interpolation" in inv.err()) == broken


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("x\nSyntaxError: bad", "Correct SyntaxError: bad\n  Type: inv up\n"),
        ("odd", "http://127.0.0.1:8123/readyz answers 500: odd\n  Type: inv logs\n"),
    ],
)
def test_a_broken_backend_is_75(body: str, error: str, inv: Inv, recorder: Recorder) -> None:
    recorder.http = lambda _: (500, body)

    assert inv("up") == 75

    assert inv.err().startswith(error)


def test_up_shows_unknown_migrations_and_a_refused_host(recorder: Recorder, inv: Inv) -> None:
    recorder.http = lambda _: (400, '{"pending": [], "unknown": ["a.0009_x"]}')

    assert inv("up") == 0

    out = inv.out()
    assert "  Type: git log --all --oneline -- '*/0009_x.py'\n" in out
    assert "\nDjango refuses the host name 127.0.0.1: add it to ALLOWED_HOSTS in .env.\n" in out


@pytest.mark.parametrize(
    ("body", "pending"),
    [
        ('{"ready": false, "pending": ["a.0001"]}', ["a.0001"]),
        ('{"ready": true, "pending": []}', []),
        ('{"ready": false, "error": "x"}', None),
        ("<html>", None),
        ("[]", None),
    ],
)
def test_the_body_names_pending_migrations(body: str, pending: list[str] | None) -> None:
    assert names_in(body, "pending") == pending


class Answer503(socketserver.StreamRequestHandler):
    """Answer every request with 503 and a body."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready")


def test_the_gateway_fetches_status_and_body() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Answer503) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        answer = Gateway(Path()).fetch(f"http://127.0.0.1:{server.server_address[1]}/readyz")
        thread.join()

    assert answer == (503, "not ready")


def test_a_backend_that_does_not_answer_has_status_0() -> None:
    assert Gateway(Path()).fetch("http://127.0.0.1:1") == (0, "")
