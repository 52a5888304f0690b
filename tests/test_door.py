"""The program `composed`: its verbs in a folder with and without tasks, and its name in texts."""

import subprocess
import sys
from pathlib import Path

import pytest

from composed import naming
from composed.errors import SettingError, printable
from composed.naming import call_program, named
from composed.project import Project, root_of, tasks_folder
from tests.samples import ROOT, MonkeyPatch

# The entry point of the package, and the module that a session calls.
DOOR = (sys.executable, "-c", "from composed.door import main; main()")
MODULE = (sys.executable, "-m", "composed.door")
VERBS = ("up", "manage", "db.restore", "db")


def run(folder: Path, *words: str, program: tuple[str, ...] = DOOR) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of the program in a folder."""
    argv = (*program, *words)
    done = subprocess.run(
        argv, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the folder ``app`` inside, in a folder that is none of its own."""
    (tmp_path / "clone/.git").mkdir(parents=True)
    (tmp_path / "clone/app").mkdir()
    return tmp_path / "clone"


@pytest.fixture
def called(monkeypatch: MonkeyPatch) -> None:
    """Call the program ``composed`` for this test."""
    monkeypatch.setattr(naming, "_names", {})
    call_program("composed", VERBS)


@pytest.mark.parametrize("program", [DOOR, MODULE])
def test_without_tasks_every_verb_is_there(program: tuple[str, ...], clone: Path) -> None:
    code, out, err = run(clone / "app", program=program)

    assert (code, err) == (0, "")
    assert out.startswith("Usage: composed VERB ")
    assert {"up", "init", "db.restore", "open"} <= {
        line.split()[0] for line in out.splitlines() if line
    }
    assert "inv " not in out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("start", "'start' is no verb.\n  Perhaps: composed up\n  See all: composed --list\n"),
        ("up --biuld", "'--biuld' is no option of composed up.\n  Perhaps: composed up --build\n"),
        ("db.prune --keep x", "--keep is 'x'.\n  Type how many stay: composed db.prune --keep 5\n"),
        ("manage", "No management command.\n  Type: composed manage -- help\n"),
    ],
)
def test_a_hint_names_the_program(clone: Path, words: str, answer: str) -> None:
    code, out, err = run(clone, *words.split())

    assert (bool(code), out) == (True, "")
    assert err.startswith(answer)


@pytest.mark.parametrize("file", ["tasks.py", "tasks/__init__.py"])
def test_tasks_with_verbs_run_from_a_folder_below(clone: Path, file: str) -> None:
    (clone / file).parent.mkdir(exist_ok=True)
    tasks = "from composed.verbs import ps\n@task\ndef seed(c): print('seeded')\n"
    (clone / file).write_text(f"from invoke import task\n{tasks}")

    assert run(clone / "app", "seed") == (0, "seeded\n", "")
    assert "init" in run(clone / "app", "--list")[1]
    assert "'up' is no verb" in run(clone / "app", "up")[2]


@pytest.mark.parametrize("file", ["tasks.py", "tasks/__init__.py"])
def test_beside_tasks_without_verbs_every_verb_is_there(clone: Path, file: str) -> None:
    (clone / file).parent.mkdir(exist_ok=True)
    (clone / file).write_text("from invoke import task\nimport not_there  # no composed.verbs\n")

    code, out, err = run(clone / "app", "up", "--help")

    assert (code, err) == (0, "")
    assert out.startswith("Usage: composed ")


def test_a_package_that_the_tasks_miss_is_named(clone: Path) -> None:
    (clone / "tasks.py").write_text("from composed.verbs import *\nimport not_there\n")

    code, out, err = run(clone, "up")

    assert (code, out) == (69, "")
    assert err.startswith(f"The tasks in {clone} import not_there, which {sys.executable} does not")


def test_tasks_above_the_clone_are_not_run(clone: Path) -> None:
    (clone.parent / "tasks.py").write_text("import invoke\nraise SystemExit(9)\n")

    assert tasks_folder(clone / "app") is None
    assert run(clone / "app", "--list")[0] == 0


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("from celery import shared_task\n", False),
        ('"""Jobs, invoked by celery beat. See docs/composed.verbs."""\n', False),
        ("from invoke_jobs import beat\n", False),
        ("# import invoke\n", False),
        ("from invoke import task\n", True),
        ("import os, invoke.tasks\n", True),
        ("try:\n    from composed.verbs import *\n", True),
    ],
)
@pytest.mark.parametrize("file", ["tasks.py", "tasks/__init__.py"])
def test_tasks_of_celery_are_not_run(clone: Path, file: str, text: str, is_found: bool) -> None:
    (clone / file).parent.mkdir(exist_ok=True)
    (clone / file).write_text(f"{text}raise SystemExit(9)\n")

    assert tasks_folder(clone / "app") == (clone if is_found else None)
    if not is_found:
        assert run(clone / "app", "--list")[0] == 0


def test_init_runs_no_tasks(clone: Path) -> None:
    (clone / "tasks.py").write_text("from composed import verbs\nraise SystemExit(9)\n")
    (clone / "manage.py").touch()

    assert run(clone, "init", "--check")[0] == 0
    assert run(clone, "--help", "init")[0] == 0
    assert run(clone, "--list")[0] == 9


def test_inv_has_no_init() -> None:
    code, _out, err = run(ROOT, "init", program=(sys.executable, "-m", "composed"))

    assert (code, "'init' is no verb." in err) == (1, True)


def test_a_named_folder_of_tasks_is_taken(clone: Path) -> None:
    (clone / "other").mkdir()
    (clone / "other/tasks.py").write_text("from invoke import task\n@task\ndef seed(c): print(1)\n")

    assert run(clone, "--search-root", "other", "seed") == (0, "1\n", "")


# What is imported once the first of our modules comes after the door, and the answer to Ctrl-C.
FIRST_IMPORT = """\
import signal, sys
from composed.door import main

class Watch:
    def find_spec(self, name, *_):
        if name != "_signal":
            handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
            sys.exit(f"{name} {[int(handler) for handler in handlers]}")

sys.meta_path.insert(0, Watch())
main()
"""


@pytest.mark.parametrize(("ignored", "hangup"), [("", 0), ("trap '' HUP; ", 1)])
def test_the_door_handles_signals_before_it_imports_anything(ignored: str, hangup: int) -> None:
    shell = ("sh", "-c", f'{ignored}exec "$@"', "sh", sys.executable, "-c", FIRST_IMPORT)

    assert run(ROOT, program=shell)[2] == f"composed.signals [0, 0, {hangup}]\n"


def test_the_door_itself_imports_nothing() -> None:
    code = "import sys; a = {*sys.modules}; import composed.door; print(sorted({*sys.modules} - a))"

    shown = run(ROOT, program=(sys.executable, "-c", code))[1]
    assert shown == "['composed', 'composed.door']\n"


@pytest.mark.usefixtures("called")
@pytest.mark.parametrize(
    ("text", "as_composed"),
    [
        ("Type: inv up", "Type: composed up"),
        ("inv up (takes the next)", "composed up (takes the next)"),
        (
            "A=1 inv up && inv db.restore --latest",
            "A=1 composed up && composed db.restore --latest",
        ),
        ('"cure": "inv up"', '"cure": "composed up"'),
        ("See all: inv --list", "See all: composed --list"),
        ("inv VERB --help", "composed VERB --help"),
        ("the end of inv up.", "the end of composed up."),
        ("another inv, started by an inv that has ended", ""),
        ("./inv up", ""),
        ("/home/inv up", ""),
        ("inv upper", ""),
        ("inv up-to-date", ""),
        ("inv db.frob", ""),
        ("the folder my-inv up", ""),
    ],
)
def test_only_a_command_gets_the_name(text: str, as_composed: str) -> None:
    assert named(text) == (as_composed or text)
    assert printable(text) == (as_composed or text)
    assert str(SettingError("x", text)) == f"x\n  {as_composed or text}"


def test_the_program_inv_keeps_its_name() -> None:
    assert named("Type: inv up") == "Type: inv up"


@pytest.mark.parametrize(
    ("files", "here", "root"),
    [
        (["manage.py", "compose.yml"], "app", "."),
        (["app/manage.py", "compose.yml"], "app", "."),
        (["app/manage.py", "infra/compose.yml"], "app", "."),
        (["app/manage.py", "app/compose.yml", "compose.yml"], "app", "app"),
        (["app/manage.py"], "app", "."),
        (["compose.yml"], "app", "."),
        (["README.md"], "app", "app"),
        (["tasks.py", "app/manage.py", "app/compose.yml"], "app", "."),
        (["manage.py", "local.yml", "dev.yml"], "app", "."),
        (["app/manage.py", "web/manage.py", "compose.yml"], ".", "."),
    ],
)
def test_the_project_is_found_from_a_folder_below(
    clone: Path, files: list[str], here: str, root: str, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_FILE", raising=False)
    for name in files:
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("import invoke\n")

    assert root_of(clone / here) == clone / root
    assert Project.at(root_of(clone / here)).root == clone / root


def test_a_folder_that_is_no_clone_is_its_own_project(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {}\n")
    (tmp_path / "app").mkdir()

    assert root_of(tmp_path / "app") == tmp_path / "app"
