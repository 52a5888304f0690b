"""Each known cause is told from what a log or a health check says; nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from composed.health.explanations import CAUSES, explain

LOADING = "healthz: 500\nTraceback (most recent call last):\n"
FRAMES = (
    '  File "/opt/venv/lib/python3.13/site-packages/django/apps/config.py", line 269, in x\n'
    '  File "/app/task_api/urls.py", line 12, in <module>\n'
    '  File "<frozen importlib._bootstrap>", line 488, in y\n'
    '  File "/opt/venv/lib/python3.13/site-packages/ninja/main.py", line 9, in z\n'
)
CONFIGURED = "django.core.exceptions.ImproperlyConfigured: "
CONNECTION = 'connection to server at "db" (10.0.0.2), port 5432 failed: '
WHERE = "server/task_api/urls.py:12: "

SHOWN = [
    ("disk full", "OSError: [Errno 28] No space left on device", "The disk is full"),
    (
        "source that the container may not read",
        f"{LOADING}{FRAMES}PermissionError: [Errno 13] Permission denied: '/app/task_api/x.py'",
        "backend may not read its source",
    ),
    (
        "source that the container may not read",
        "python: can't open file '/app/reload.py': [Errno 13] Permission denied",
        "backend may not read its source",
    ),
    (
        "wrong password, or a volume made with another",
        f'"error": "{CONNECTION}FATAL:  password authentication failed for user \\"cp\\""',
        "The database refuses the password of cp: ",
    ),
    (
        "database missing",
        f'{CONNECTION}FATAL:  database "shop" does not exist',
        "The volume was made with another POSTGRES_DB, and has no database shop.",
    ),
    (
        "volume of another PostgreSQL version",
        "DETAIL:  The data directory was initialized by PostgreSQL version 14, which is not "
        "compatible with this version 15.18 (Debian).",
        "The volume holds the data of PostgreSQL 14, the image is PostgreSQL 15.",
    ),
    ("database refused", f"{CONNECTION}Connection refused", "The database does not take"),
    (
        "database refused",
        'could not translate host name "db" to address: Name or service not known',
        "The database does not take",
    ),
    ("pending migrations", "Pending migrations: a.1, b.2", "Pending migrations: a.1, b.2"),
    ("pending migrations", 'relation "task_api_task" does not exist', "Pending migrations"),
    ("pending migrations", "no such table: task_api_task", "Pending migrations"),
    (
        "migration in the database that is not in the files",
        "Migrations that only the database has: a.0009_x, b.0002_y",
        "The database has migrations that the files have not: a.0009_x, b.0002_y. ",
    ),
    (
        "setting missing or wrong",
        f"{LOADING}{FRAMES}{CONFIGURED}SECRET_KEY is missing: set this environment variable.",
        "SECRET_KEY is missing: set this environment variable. Correct it in .env.",
    ),
    (
        "setting missing or wrong",
        "GUNICORN_THREADS: '0' is not valid, set it to a whole number from 1 to 256.",
        "GUNICORN_THREADS: '0' is not valid, set it to a whole number from 1 to 256. Correct",
    ),
    (
        "dependency missing in a stale image",
        f"{LOADING}{FRAMES}ModuleNotFoundError: No module named 'psycopg2.extras'",
        f"{WHERE}requirements.txt names psycopg2.extras, but what runs was installed before.",
    ),
    (
        "syntax error",
        f'{LOADING}{FRAMES}  File "/app/task_api/models.py", line 3\n    def (\n        ^\n'
        "SyntaxError: invalid syntax\n",
        "Correct server/task_api/models.py:3: SyntaxError: invalid syntax",
    ),
    (
        "import error",
        f"{LOADING}{FRAMES}ModuleNotFoundError: No module named 'nowhere'",
        f"Correct {WHERE}ModuleNotFoundError: No module named 'nowhere' (or add ",
    ),
    (
        "import error",
        f"Exception in worker process\n{FRAMES}ImportError: cannot import name 'x' from 'y'",
        f"Correct {WHERE}ImportError: cannot import name 'x' from 'y'",
    ),
    (
        "another error in settings, urls, models, wsgi",
        f"The application does not load\n{FRAMES}NameError: name 'x' is not defined",
        f"Correct {WHERE}NameError: name 'x' is not defined",
    ),
    ("Gunicorn worker time-out", "WORKER TIMEOUT (pid:9)\nwas sent SIGKILL! Perhaps", "A worker"),
    (
        "killed for memory",
        "Worker (pid:9) was sent SIGKILL! Perhaps out of memory?",
        "A process was killed from outside",
    ),
    ("killed for memory", "some\nOOMKilled", "A process was killed from outside"),
    ("Gunicorn worker boot failure", "Reason: Worker failed to boot.", "A worker ended while"),
    (
        "DisallowedHost",
        "Invalid HTTP_HOST header: 'example.org'. You may need to add 'example.org'",
        "Django refuses the host name example.org: ",
    ),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "server"
    (source / "task_api").mkdir(parents=True)
    for name in ("urls.py", "models.py"):
        (source / "task_api" / name).touch()
    (source / "requirements.txt").write_text("# names\npsycopg2-binary==2.9.10 \\\n")
    return source


def test_every_cause_is_shown_here() -> None:
    assert {name for name, _, _ in SHOWN} == {cause.name for cause in CAUSES}


@pytest.mark.parametrize(("name", "text", "sentence"), SHOWN)
def test_a_cause_is_known(name: str, text: str, sentence: str, source: Path) -> None:
    found = explain(f"before\n{text}\nafter\n", source)

    assert found
    assert found.sentence.startswith(sentence)
    [cause] = [cause for cause in CAUSES if cause.name == name]
    assert found.fatal == cause.fatal
    assert "{" not in found.cure + found.sentence


@pytest.mark.parametrize(
    "text",
    [
        "",
        "healthz: timed out",
        "healthz: [Errno 111] Connection refused",
        "INFO everything is well",
        f"{FRAMES}NameError: in a request, long ago",
        f"{LOADING}NameError: nowhere in a file of ours",
        f"{LOADING}{FRAMES}and no last line",
    ],
)
def test_what_is_not_known_is_not_made_up(text: str, source: Path) -> None:
    assert explain(text, source) is None


def test_a_cure_has_what_the_text_names(source: Path) -> None:
    text = "Migrations that only the database has: a.0002_more"

    found = explain(text, source)

    assert found
    assert found.cure == "git log --all --oneline -- '*/0002_more.py'"


def test_local_mode_has_cures_of_its_own(source: Path) -> None:
    full = explain("No space left on device", source, local=True)
    refused = explain("WORKER TIMEOUT", source, local=True)

    assert full
    assert full.cure == "df -h ."
    assert refused
    assert refused.cure == "GUNICORN_TIMEOUT=120 inv up"


def test_without_a_lock_no_dependency_is_stale(source: Path) -> None:
    (source / "requirements.txt").unlink()

    found = explain(f"{LOADING}{FRAMES}ModuleNotFoundError: No module named 'psycopg2'", source)

    assert found
    assert found.sentence.startswith("Correct ")
