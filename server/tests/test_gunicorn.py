"""The application under the real Gunicorn, with its own configuration."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from processes import PATIENCE, SERVER, environment, free_port, get, manage, started, wait_for

GUNICORN = [sys.executable, "-m", "gunicorn"]
APPLICATION = "task_api.wsgi:application"
WRITERS, TASKS = 8, 25


def migrated(folder: Path, **changes: str) -> dict[str, str]:
    env = environment(folder, **changes)
    process = manage("migrate", env=env)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output + errors
    return env


def write_tasks(port: int) -> Counter[int]:
    """Create and change tasks on a kept-alive connection; count the statuses."""
    client = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Content-Type": "application/json"}
    statuses: Counter[int] = Counter()
    for number in range(TASKS):
        client.request("POST", "/api/tasks", json.dumps({"title": str(number)}), headers)
        response = client.getresponse()
        task = json.loads(response.read())
        statuses[response.status] += 1
        client.request("PATCH", f"/api/tasks/{task['id']}", '{"done": true}', headers)
        response = client.getresponse()
        response.read()
        statuses[response.status] += 1
    client.close()
    return statuses


@pytest.mark.django_db(transaction=True)
def test_eight_writers_at_once_all_succeed(tmp_path: Path) -> None:
    server = started([*GUNICORN, APPLICATION], migrated(tmp_path))
    with server as (_, port), ThreadPoolExecutor(WRITERS) as pool:
        counts = sum(pool.map(write_tasks, [port] * WRITERS), Counter[int]())

    assert counts == {201: WRITERS * TASKS, 200: WRITERS * TASKS}


@pytest.mark.django_db(transaction=True)
def test_a_probe_is_not_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with started([*GUNICORN, APPLICATION], migrated(tmp_path)) as (_, port):
        assert [get(port, path)[0] for path in ("/healthz", "/readyz", "/api")] == [200, 200, 404]

    logged = capfd.readouterr().out
    assert '"GET /api HTTP/1.1" 404' in logged
    assert "/healthz" not in logged
    assert "/readyz" not in logged


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("proxies", "status"), [("127.0.0.1", 200), ("192.0.2.1", 301)])
def test_x_forwarded_proto_counts_from_a_trusted_proxy_alone(
    tmp_path: Path, proxies: str, status: int
) -> None:
    env = migrated(tmp_path, HTTPS_ONLY="true", FORWARDED_ALLOW_IPS=proxies)

    with started([*GUNICORN, APPLICATION], env) as (_, port):
        assert get(port, "/api/tasks", {"X-Forwarded-Proto": "https"})[0] == status
        assert get(port, "/api/tasks")[0] == 301
        assert get(port, "/healthz")[0] == 200


def test_a_request_being_answered_survives_the_stop(tmp_path: Path) -> None:
    fifo, arrived, log = tmp_path / "fifo", tmp_path / "arrived", tmp_path / "log"
    os.mkfifo(fifo)
    env = os.environ | {"FIFO": str(fifo), "ARRIVED": str(arrived), "DEBUG": "false"}
    command = [*GUNICORN, "--pythonpath", "tests", "--error-logfile", str(log)]

    with started([*command, "fifo_app:application"], env | {"WEB_CONCURRENCY": "2"}) as server:
        process, port = server
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(get, port, "/slow")
            wait_for(arrived.exists)
            process.terminate()
            wait_for(lambda: "Worker exiting" in log.read_text())  # the idle worker
            assert process.poll() is None
            answer(fifo, b"complete")

            assert slow.result(PATIENCE) == (200, "complete")
            assert process.wait(PATIENCE) == 0


STOP_WHILE_BOOTING = """
exec(open("gunicorn.conf.py").read())

def pre_fork(arbiter, worker):
    assert STOP_SIGNALS <= signal.pthread_sigmask(signal.SIG_BLOCK, ())

def post_fork(arbiter, worker):
    os.kill(arbiter.pid, signal.SIGTERM)
    while signal.SIGTERM not in signal.sigpending():  # until the arbiter signals this worker
        os.sched_yield()
"""


def test_a_worker_that_is_still_booting_obeys_the_stop(tmp_path: Path) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(STOP_WHILE_BOOTING)
    command = [*GUNICORN, "--config", str(config), "--pythonpath", "tests", "fifo_app:application"]
    env = os.environ | {"PORT": str(free_port()), "WEB_CONCURRENCY": "1"}

    done = subprocess.run(
        command, cwd=SERVER, env=env, text=True, capture_output=True, timeout=PATIENCE, check=False
    )

    assert "Worker exiting" in done.stderr
    assert done.returncode == 0


def answer(fifo: Path, text: bytes) -> None:
    # O_NONBLOCK: without a reader, fail at once instead of waiting for ever
    descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    os.write(descriptor, text)
    os.close(descriptor)


def check_config(**variables: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": "tests"} | variables
    command = [*GUNICORN, "--check-config", "fifo_app:application"]
    return subprocess.run(command, cwd=SERVER, env=env, text=True, capture_output=True, check=False)


def test_the_configuration_is_valid_without_any_variable() -> None:
    result = check_config()

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "0"),
        ("GUNICORN_THREADS", "four"),
        ("GUNICORN_TIMEOUT", "1.5"),
        ("GUNICORN_GRACEFUL_TIMEOUT", "9" * 30),
    ],
)
def test_a_wrong_value_is_reported_by_name_in_a_single_line(name: str, value: str) -> None:
    result = check_config(**{name: value})

    assert result.returncode == os.EX_CONFIG
    assert result.stderr.startswith(f"{name}: '{value}' is not valid")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["-2", "two"])
def test_a_wrong_value_that_gunicorn_reads_first_is_shown(value: str) -> None:
    result = check_config(WEB_CONCURRENCY=value)

    assert result.returncode == 1
    assert value in result.stderr


def test_gunicorn_has_every_name_that_the_configuration_overrides() -> None:
    from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]  # noqa: PLC0415
    from gunicorn.workers import gthread  # type: ignore[import-untyped]  # noqa: PLC0415

    for name in ("STOP_KEEPALIVE_LINGER", "DEFAULT_WORKER_DATA_TIMEOUT"):
        assert isinstance(getattr(gthread, name), float)
    for name in ("handle_exit", "init_signals", "murder_pending"):
        assert callable(getattr(gthread.ThreadWorker, name))
    assert callable(Arbiter.spawn_worker)


@pytest.mark.parametrize(("path", "code"), [("200 OK", 0), ("503 Busy", 1), ("2000 ", 1)])
def test_the_health_check_accepts_200_alone(tmp_path: Path, path: str, code: int) -> None:
    app = tmp_path / "status_app.py"
    app.write_text(
        "def application(environ, start_response):\n"
        f"    start_response({path!r} if environ['PATH_INFO'] == '/healthz' else '200 OK', [])\n"
        "    return [b'']\n"
    )
    command = [*GUNICORN, "--pythonpath", str(tmp_path), "status_app:application"]
    with started(command, dict(os.environ)) as (_, port):
        assert run_health_check(port).returncode == code


def test_the_health_check_fails_without_a_server() -> None:
    assert run_health_check(1).returncode == 1


def test_the_health_check_prints_the_end_of_the_answer(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('500 Internal Server Error', [])\n"
        "    return [b'x' * 5000 + b'the last line']\n"
    )
    command = [*GUNICORN, "--pythonpath", str(tmp_path), "broken_app:application"]
    with started(command, dict(os.environ)) as (_, port):
        printed = run_health_check(port).stderr

    assert printed.startswith("healthz: 500\nx")
    assert printed.endswith("xthe last line\n")
    assert len(printed) < 4096  # the engine keeps no more


def test_the_health_check_does_not_wait_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run_health_check(silent.getsockname()[1])

    assert (done.returncode, done.stderr) == (1, "healthz: timed out\n")


def run_health_check(port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", "healthcheck.py"]
    env = os.environ | {"PORT": str(port)}
    return subprocess.run(command, cwd=SERVER, env=env, check=False, capture_output=True, text=True)
