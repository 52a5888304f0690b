"""The server's files, run as they are, print and answer the words of `composed.contract`."""

import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from composed.contract import HEALTH_CHECK, MIGRATE_LOCK, NOT_LOADED, PENDING, SERVER_ENDED, UNKNOWN
from composed.docker.images import LABEL, VARIABLE
from composed.health.explanations import explain
from composed.health.waiting import log_of_this_start, names_in
from tests.samples import OURS, ROOT

SERVER = ROOT / "server"
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nSyntaxError: bad'
DJANGO = {
    "DJANGO_SETTINGS_MODULE": "task_api.settings",
    "SECRET_KEY": "these-tests-alone-know-the-key-0123456789",
    "DEBUG": "true",
    "DATABASE_ENGINE": "sqlite",
    "SQLITE_PATH": ":memory:",
}


def python(*words: str, variables: Mapping[str, str] = {}, folder: Path = SERVER) -> str:
    """Run Python in the folder with these variables alone; return stdout, then stderr."""
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr


def explained(text: str) -> str:
    """Return the sentence of the explanation that the text has in this repository."""
    explanation = explain(text, OURS)
    assert explanation, text
    return explanation.sentence


class Answer500(socketserver.StreamRequestHandler):
    """Answer every request with the traceback of a server that does not load."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(f"HTTP/1.0 500 Internal Server Error\r\n\r\n{TRACEBACK}".encode())


def test_the_health_check_prints_a_traceback_that_is_explained() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Answer500) as server:
        port = str(server.server_address[1])
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        printed = python("-IS", "healthcheck.py", variables={"PORT": port})
        thread.join()

    assert printed == f"{HEALTH_CHECK}500\n{TRACEBACK}\n"
    assert "SyntaxError" in explained(printed)


def test_the_end_of_the_development_server_is_found_in_the_log() -> None:
    command = [sys.executable, "reload.py", "sh", "-c", "echo its last words >&2; exit 78"]
    with subprocess.Popen(command, cwd=SERVER, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        log = "reload: a.py changed\n" + process.stderr.readline() + process.stderr.readline()
        process.send_signal(signal.SIGTERM)

    last_words = f"\nits last words\n{SERVER_ENDED} 78, the next change starts it again"
    assert log_of_this_start(new="", log=log) == last_words


def test_the_loader_logs_a_traceback_that_is_explained(tmp_path: Path) -> None:
    shutil.copy(SERVER / "guarded_wsgi.py", tmp_path)
    (tmp_path / "task_api").mkdir()
    (tmp_path / "task_api/wsgi.py").write_text("def (\n")

    printed = python("guarded_wsgi.py", folder=tmp_path)

    assert printed.startswith(f"{NOT_LOADED}\nTraceback ")
    assert "SyntaxError" in explained(printed)


def test_a_wrong_setting_of_gunicorn_is_explained() -> None:
    command = ("-m", "gunicorn", "--check-config", "a:b")
    printed = python(*command, variables={"GUNICORN_TIMEOUT": "1.5"})

    assert printed.startswith("GUNICORN_TIMEOUT: '1.5' is not valid")
    assert explained(printed).endswith("Correct it in .env.")


@pytest.mark.parametrize(
    "wrong", [{"SECRET_KEY": ""}, {"SECRET_KEY": "short"}, {"DATABASE_ENGINE": "mysql"}]
)
def test_a_wrong_setting_of_django_is_explained(wrong: dict[str, str]) -> None:
    printed = python("-c", "import guarded_wsgi", variables=DJANGO | wrong)

    assert explained(printed).endswith("Correct it in .env.")
    assert f"ImproperlyConfigured: {next(iter(wrong))}" in printed


def test_readyz_names_pending_and_unknown_migrations() -> None:
    answer = "import django; django.setup(); from task_api.probes import readyz; "

    body = python("-c", f"{answer}print(readyz().content.decode())", variables=DJANGO)

    assert "task_api.0001_initial" in (names_in(body, PENDING) or [])
    assert names_in(body, UNKNOWN) == []


def test_the_server_answers_the_probes_of_the_project() -> None:
    printed = python("-c", "from task_api.quiet import PROBES; print(*PROBES)")

    assert printed.split() == [OURS.health, OURS.ready]


def test_migrate_leaves_a_lock_beside_the_database(tmp_path: Path) -> None:
    variables = DJANGO | {"SQLITE_PATH": str(tmp_path / "db.sqlite3")}

    python("manage.py", "migrate", "contenttypes", variables=variables)

    assert (tmp_path / f"db.sqlite3{MIGRATE_LOCK}").exists()


def test_the_compose_file_labels_an_image_with_the_recipe() -> None:
    file = (ROOT / "docker-compose.yml").read_text()

    assert f"{LABEL}: ${{{VARIABLE}:-}}\n" in file
