"""The explanation of each known cause, in the names of the project."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from composed.env.settings import declared
from composed.health.explanations import (
    CAUSES,
    PENDING_MIGRATIONS,
    REFUSED_HOST,
    UNKNOWN_MIGRATIONS,
    Cause,
    explain,
)
from composed.project import Project
from tests.samples import OURS, ROOT

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
    ("disk full", "OSError: [Errno 28] No space left on device", "The disk of the "),
    (
        "source that the container may not read",
        f"{LOADING}{FRAMES}PermissionError: [Errno 13] Permission denied: '/app/task_api/urls.py'",
        "backend may not read its source",
    ),
    (
        "source that the container may not read",
        "python: can't open file '/app/manage.py': [Errno 13] Permission denied",
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
    ("pending migrations", 'relation "task_api_task" does not exist', "Pending migrations"),
    ("pending migrations", "no such table: task_api_task", "Pending migrations"),
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
        f"{WHERE}server/requirements.txt names psycopg2.extras, but the installed packages ",
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
        "import error",
        f"Exception in thread django-main-thread:\n{FRAMES}ImportError: cannot import name 'x'",
        f"Correct {WHERE}ImportError: cannot import name 'x'",
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


# Faults that a running backend reports, without a text to search.
COMPLAINTS = [
    (PENDING_MIGRATIONS, {"names": ": a.1, b.2"}, "Pending migrations: a.1, b.2", "inv migrate"),
    (
        UNKNOWN_MIGRATIONS,
        {"names": "a.0009_x, b.0002_y", "name": "0009_x"},
        "The database has migrations without a file: a.0009_x, b.0002_y. ",
        "git log --all --oneline -- '*/0009_x.py'",
    ),
    (REFUSED_HOST, {"host": "a.org"}, "Django refuses the host name a.org: add it to ", "inv up"),
]


@pytest.fixture
def project(project: Project) -> Project:
    """A project with the names of this repository."""
    source = project.tree / "task_api"
    source.mkdir()
    for file in (source / "urls.py", source / "models.py", project.tree / "manage.py"):
        file.touch()
    (project.tree / "requirements.txt").write_text("# names\npsycopg2-binary==2.9.10 \\\n")
    (project.tree / "requirements.in").touch()
    (project.root / "noxfile.py").write_text("def lock(session): ...\n")
    return project


def test_every_cause_is_shown_here() -> None:
    names = {name for name, _, _ in SHOWN} | {cause.name for cause, *_ in COMPLAINTS}

    assert names == {cause.name for cause in CAUSES}


def explained(text: str, project: Project, *, local: bool = False, loading: bool = False) -> str:
    """Return the sentence and the cure of the explanation, a line each."""
    explanation = explain(text, project, local=local, loading=loading)
    assert explanation
    return f"{explanation.sentence}\n{explanation.cure}"


@pytest.mark.parametrize(("name", "text", "sentence"), SHOWN)
def test_a_cause_is_known(name: str, text: str, sentence: str, project: Project) -> None:
    explanation = explain(f"before\n{text}\nafter\n", project)

    assert explanation
    assert explanation.sentence.startswith(sentence)
    [cause] = [cause for cause in CAUSES if cause.name == name]
    assert explanation.fatal == cause.fatal
    assert "{" not in explanation.cure + explanation.sentence


@pytest.mark.parametrize(("cause", "words", "sentence", "cure"), COMPLAINTS)
def test_a_complaint_is_explained(
    cause: Cause, words: dict[str, str], sentence: str, cure: str, project: Project
) -> None:
    explanation = cause.explain(project, words)

    assert explanation.sentence.startswith(sentence)
    assert (explanation.cure, explanation.fatal) == (cure, False)


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
        "PermissionError: [Errno 13] Permission denied: '/var/lib/other.py'",
    ],
)
def test_an_unknown_cause_has_no_explanation(text: str, project: Project) -> None:
    assert explain(text, project) is None


def test_the_answer_of_an_application_that_does_not_load_is_a_traceback(project: Project) -> None:
    text = f"Traceback:\n{FRAMES}NameError: name 'x' is not defined\n"
    sentence = f"Correct {WHERE}NameError: name 'x' is not defined"

    assert explained(text, project, loading=True) == f"{sentence}\ninv up"


@pytest.mark.parametrize(
    ("text", "cure"),
    [("No space left on device", "df -h ."), ("WORKER TIMEOUT", "GUNICORN_TIMEOUT=120 inv up")],
)
def test_a_cure_can_be_another_in_local_mode(text: str, cure: str, project: Project) -> None:
    assert explained(text, project, local=True).endswith(f"\n{cure}")


def test_without_requirements_no_dependency_is_stale(project: Project) -> None:
    for name in ("requirements.txt", "requirements.in"):
        (project.tree / name).unlink()

    text = f"{LOADING}{FRAMES}ModuleNotFoundError: No module named 'psycopg2'"
    end = "No module named 'psycopg2' (or add the package)\ninv up"
    assert explained(text, project).endswith(end)


# -- A project that is not this repository --------------------------------------------------


@pytest.fixture(params=["", "django==5.2\npsycopg2==2.9\n"], ids=["bare", "requirements"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """The project of `django-admin startproject shop .`, with and without requirements."""
    (tmp_path / "shop").mkdir()
    for name in ("manage.py", "shop/urls.py", "shop/models.py"):
        (tmp_path / name).touch()
    if request.param:
        (tmp_path / "requirements.txt").write_text(request.param)
    return Project(tmp_path, backend="web", database="postgres", database_name="DB_NAME")


@pytest.mark.parametrize("local", [False, True], ids=["docker", "local"])
@pytest.mark.parametrize(("name", "text", "_sentence"), SHOWN)
def test_an_explanation_names_only_things_of_the_project(
    name: str, text: str, _sentence: str, local: bool, shop: Project
) -> None:
    text = text.replace("task_api", "shop").replace('"db"', '"postgres"')

    assert list(_strangers(explained(text, shop, local=local), text, shop)) == []


@pytest.mark.parametrize(("cause", "words"), [complaint[:2] for complaint in COMPLAINTS])
def test_a_complaint_names_only_things_of_the_project(
    cause: Cause, words: dict[str, str], shop: Project
) -> None:
    sentence, cure, _ = cause.explain(shop, words)

    assert list(_strangers(f"{sentence}\n{cure}", " ".join(words.values()), shop)) == []


def _strangers(words: str, text: str, project: Project) -> Iterator[str]:
    """Yield each file, folder, service and setting that neither the project nor the text has."""
    path = r"(?<!\*)(?<![\w/])[\w./-]+\.(?:py|txt|in|toml|yml)\b|\w+/[\w./]*"
    yield from (file for file in re.findall(path, words) if not (project.root / file).exists())
    if folder := re.search(r"a\+rX (\S+)", words):
        assert (project.root / folder[1]).is_dir()
    yield from set(re.findall(r"--service (\S+)", words)) - {project.backend, project.database}
    known = {project.database_name, "ALLOWED_HOSTS"}
    settings = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", words)) - known
    yield from (setting for setting in settings if setting not in text)
    yield from re.findall(r"\bserver\b|\bbackend\b|\bdb\b(?!\.)|\bnox\b|task_api", words)


def test_an_error_names_the_file_from_the_root(shop: Project) -> None:
    text = f"{LOADING}{FRAMES}NameError: name 'x' is not defined".replace("task_api", "shop")
    sentence = "Correct shop/urls.py:12: NameError: name 'x' is not defined"

    assert explained(text, shop) == f"{sentence}\ninv up"


def test_the_last_traceback_of_a_program_that_ended_is_the_reason(shop: Project) -> None:
    traceback = LOADING.partition("\n")[2]
    old = f'{traceback}  File "/app/shop/models.py", line 1, in x\nKeyError: 1\nserving again\n'
    text = f"{old}{traceback}{FRAMES}NameError: name 'x' is not defined".replace("task_api", "shop")

    found = explain(text, shop, ended=True)

    assert found
    assert found.sentence == "Correct shop/urls.py:12: NameError: name 'x' is not defined"
    assert explain(text, shop) is None


def test_no_further_message_names_a_service_file_or_setting_of_this_repository() -> None:
    settings = declared(OURS.example.read_text()).keys() - {"COMPOSED_MODE", "DATABASE_ENGINE"}
    settings -= {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME"}  # of Compose
    settings -= {"SQLITE_PATH"}  # of local mode, for every project
    folders = [path.name for path in OURS.tree.iterdir() if path.suffix in ("", ".py")]
    words = {*settings, *folders, f"--service {OURS.database}"} - {"manage.py", "tests"}
    pattern = "|".join(rf"(?<![\w.]){re.escape(word)}(?![\w.])" for word in sorted(words))
    named = {
        (file.name, text)
        for file in (ROOT / "composed").rglob("*.py")
        if file.name != "explanations.py"
        for text in _messages(file)
        if re.search(pattern, text)
    }

    assert named == set()


def _messages(file: Path) -> Iterator[str]:
    """Yield the texts with a space in them; docstrings are messages of a verb alone."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in nodes if isinstance(node, kinds)}
    for text in (node.value for node in nodes if isinstance(node, ast.Constant)):
        is_message = file.parent.name == "verbs" or text not in docstrings
        if isinstance(text, str) and " " in text and is_message:
            yield text
