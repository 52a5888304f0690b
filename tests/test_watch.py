"""What `up` makes of containers that are not ready."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.recorder import Recorder
from tests.samples import DB_ROW, PS_ROW, Inv, container, model, probe, ps_answer

Looks = Callable[..., None]

BROKEN = 'healthz: 500\nTraceback\n  File "x", line 1\nSyntaxError: bad\n'
OLD = probe("1", BROKEN)


@pytest.fixture
def looks(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Let the backend look so, one look after the other; the last look stays."""
    recorder.on("ps", "--all").say(ps_answer({**PS_ROW, "Health": "starting"}, DB_ROW))
    recorder.on("logs").say()
    left: list[str] = []

    def next_look(_: float = 0) -> None:
        recorder.on("docker", "inspect").say(left.pop(0) if len(left) > 1 else left[0])

    def prepare(*states: str) -> None:
        left.extend(states)
        next_look()

    monkeypatch.setattr("composed.health.waiting.time.sleep", next_look)
    return prepare


def test_waiting_goes_on_while_nothing_has_failed(inv: Inv, looks: Looks) -> None:
    starting = container(Log=[probe("1", "healthz: [Errno 111] Connection refused")])
    looks(starting, starting, container(Health="healthy"))

    assert inv("up") == 0


def test_waiting_ends_at_its_timeout(
    inv: Inv, looks: Looks, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("logs").say("\x1b[2Kone\n\x1b[2Ktwo\n")
    looks(container())

    assert inv("up", "--timeout", "0") == 75

    assert capsys.readouterr().err == (
        "Waiting for backend to become healthy, 0 s: it is starting.\n"
        "  Its last lines:\n    one\n    two\n"
        "  See more: inv logs --service backend\n"
        "  All that is known about it: .composed/shop/failures/NOW\n"
    )


def test_a_mark_and_an_answer_from_before_do_not_count(inv: Inv, looks: Looks) -> None:
    was = container(Health="unhealthy", Log=[OLD, OLD])
    looks(was, was, was, container(Health="healthy", Log=[OLD, probe("2", code=0)]))

    assert inv("up") == 0


def test_an_unhealthy_container_fails_with_its_next_answer(
    inv: Inv, looks: Looks, capsys: pytest.CaptureFixture[str]
) -> None:
    was = container(Health="unhealthy", Log=[OLD])
    looks(was, was, container(Health="unhealthy", Log=[OLD, probe("2", "healthz: 503\nodd\n")]))

    assert inv("up") == 75

    err = capsys.readouterr().err
    assert "it is unhealthy.\n  Its health check says:\n    healthz: 503\n    odd\n" in err
    assert "Type:" not in err


def test_what_does_not_load_is_not_waited_for(
    inv: Inv, looks: Looks, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(
        container(),
        container(Log=[probe("1", BROKEN)]),
        container(Log=[probe("1", BROKEN), probe("2", BROKEN)]),
    )

    assert inv("up") == 75

    err = capsys.readouterr().err
    assert "it fails its health check.\n  Its health check says:\n    healthz: 500\n" in err
    assert "  Correct SyntaxError: bad\n  Type: inv up\n" in err


def test_the_answers_of_an_earlier_start_of_it_do_not_count(
    inv: Inv, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [probe(f"1970-01-01T01:59:5{n}.123456789Z", BROKEN) for n in range(2)]
    at = "1970-01-01T02:00:00.000000001Z"
    starting = container(StartedAt=at, Log=before)
    looks(starting, container(StartedAt=at, Log=before, Health="healthy"))
    monkeypatch.setattr("composed.docker.start.time.time", lambda: 7200.0)

    assert inv("up") == 0


def test_of_a_container_that_is_new_everything_counts(
    inv: Inv, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(container(StartedAt="1970-01-01T02:00:00Z", Log=[OLD, probe("2", BROKEN)]))
    monkeypatch.setattr("composed.docker.start.time.time", lambda: 7200.0)

    assert inv("up") == 75


def test_a_reload_may_be_under_way(inv: Inv, looks: Looks) -> None:
    mended = [probe("1", BROKEN), probe("2", code=0)]
    looks(
        container(),
        container(Log=[probe("1", BROKEN)]),
        container(Health="healthy", Log=mended),
    )

    assert inv("up") == 0


def test_a_log_can_end_the_wait(
    inv: Inv, looks: Looks, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(container(Log=[OLD]))
    recorder.on("--since", "1", "backend").say("WORKER TIMEOUT (pid:7)\n")

    assert inv("up") == 75

    assert "  Type: GUNICORN_TIMEOUT=120 inv up\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (container(Status="exited", ExitCode=3), "ended with 3"),
        (
            container(Status="exited", ExitCode=137, OOMKilled=True),
            "ended with 137 (out of memory)",
        ),
        (container(Status="restarting", Health="", ExitCode=1), "ended with 1"),
        (container(restarts=1), "fails its health check"),
        (container(Status="paused", Health="healthy"), "is paused"),
        ("", "is gone"),
    ],
)
def test_what_has_ended_is_not_waited_for(
    now: str, words: str, inv: Inv, looks: Looks, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(container(), now)

    assert inv("up") == 75

    err = capsys.readouterr().err
    assert f" s: it {words}.\n" in err
    assert ("because memory ran out" in err) == ("out of memory" in words)


def test_what_was_removed_meanwhile_is_said(
    inv: Inv, looks: Looks, capsys: pytest.CaptureFixture[str]
) -> None:
    looks("")

    assert inv("up") == 75

    assert capsys.readouterr().err.startswith("The started containers are gone.\n  Type: inv up\n")


def test_no_health_is_believed_at_the_second_look_alone(inv: Inv, looks: Looks) -> None:
    runs = container(Health="")
    looks(runs, container(Health="", Status="restarting"))

    assert inv("up") == 75


def test_a_job_that_has_done_its_work_is_ready(inv: Inv, looks: Looks) -> None:
    looks(container(Health="", Status="exited"))

    assert inv("up") == 0


def test_who_kept_compose_from_starting_is_named(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("up").say(code=1)
    recorder.on("docker", "inspect").say(
        container("a")
        + "\n"
        + container("backend", Health="unhealthy", Log=[probe("1", "odd")])
        + "\n"
        + container("db", Status="exited", ExitCode=1)
    )
    recorder.on("logs").say("No space left on device\n")

    assert inv("up") == 75

    assert capsys.readouterr().err.startswith(
        "Starting db, 0 s: it ended with 1.\n"
        "  Its last lines:\n    No space left on device\n"
        "  The disk of the engine or of this machine is full.\n"
        "  Type: docker system df\n"
    )


def test_an_image_that_cannot_be_pulled_is_69(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("up").say(code=18)
    recorder.on(".env", "config", "--format").say(
        model(backend=0).replace('"ports"', '"image": "x:1", "ports"')
    )
    recorder.on("docker", "image", "inspect", "--format", "{{.Id}}").say(code=1)
    recorder.on("docker", "pull").say(code=1, err="denied")

    assert inv("up") == 69

    assert capsys.readouterr().err.startswith("The image x:1 cannot be pulled: ")


@pytest.mark.parametrize(("broken", "code"), [(True, 78), (False, 15)])
def test_a_configuration_that_compose_cannot_read_is_78(
    broken: bool, code: int, inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("manage.py").say(code=15)
    recorder.on("config", "--quiet").say(code=15 if broken else 0, err="invalid interpolation")

    assert inv("migrate") == code

    assert ("invalid interpolation" in capsys.readouterr().err) == broken


# -- The page, once it runs -----------------------------------------------------------------


def test_a_backend_that_no_longer_loads_is_75(
    inv: Inv,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for body, said in (
        ("x\nSyntaxError: bad", "Correct SyntaxError: bad\n  Type: inv up\n"),
        ("odd", "http://127.0.0.1:8123/readyz answers 500: odd\n  Type: inv logs\n"),
    ):
        recorder.http = functools.partial(lambda text, url: (500, text), body)

        assert inv("up") == 75

        assert capsys.readouterr().err.startswith(said)


def test_what_the_database_has_too_much_and_a_refused_host_are_told(
    recorder: Recorder,
    inv: Inv,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = '{"pending": [], "unknown": ["a.0009_x"]}'
    recorder.http = lambda _: (400, body)

    assert inv("up") == 0

    out = capsys.readouterr().out
    assert "  Type: git log --all --oneline -- '*/0009_x.py'\n" in out
    assert "\nDjango refuses the host name 127.0.0.1: add it to ALLOWED_HOSTS in .env.\n" in out
