"""The program `inv`: what it shows without a verb, the nearest verb, an output that is full."""

import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

import invoke
import pytest

from composed import __version__
from tests.samples import ROOT

PROGRAMS = [[sys.executable, "-m", "composed"], [sys.executable, "-m", "invoke"]]
USAGE = "Usage: inv VERB [--options] [-- words for the command inside]\n\nAvailable tasks:\n\n"


def run(*argv: str, cwd: Path = ROOT, out: int = subprocess.PIPE) -> tuple[int, str, str]:
    """Return the exit code, stdout ("" where it goes elsewhere) and stderr."""
    done = subprocess.run(argv, cwd=cwd, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout or "", done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_a_verb_the_verbs_are_shown(program: list[str]) -> None:
    code, out, err = run(*program)

    assert (code, err) == (0, "")
    assert out.startswith(f"{USAGE}  build ")
    assert out.endswith("\nExplain a verb: inv VERB --help\n")


def test_the_version_is_of_composed() -> None:
    code, out, _err = run(*PROGRAMS[0], "--version")

    assert (code, out.startswith(f"composed {__version__} (Invoke 3")) == (0, True)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("start", "'start' is no verb.\n  Perhaps: inv up\n  See all: inv --list"),
        ("help", "'help' is no verb.\n  Perhaps: inv --list\n  See all: inv --list"),
        ("snapshot", "'snapshot' is no verb.\n  Perhaps: inv db.snapshot\n  See all: inv --list"),
        ("up downn", "'downn' is no verb.\n  Perhaps: inv down\n  See all: inv --list"),
        ("--help migrat", "'migrat' is no verb.\n  Perhaps: inv migrate\n  See all: inv --list"),
        ("xyzzy", "'xyzzy' is no verb.\n  See all: inv --list"),
        (
            "up --biuld",
            "'--biuld' is no option of inv up.\n  Perhaps: inv up --build\n"
            "  See all: inv up --help",
        ),
        ("--frobnicate", "'--frobnicate' is no option of inv.\n  See all: inv --help"),
    ],
)
def test_the_nearest_verb_or_option_is_named(words: str, problem: str, program: list[str]) -> None:
    assert run(*program, *words.split()) == (1, "", f"{problem}\n")


@pytest.mark.parametrize("words", ["", "--list", "--help", "up --help", "--version"])
def test_an_output_that_nobody_reads_or_that_is_full_is_no_traceback(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert run(*PROGRAMS[0], *words.split(), out=writer) == (-signal.SIGPIPE, "", "")
        assert run(*PROGRAMS[0], *words.split(), out=full) == (
            74,
            "",
            "stdout: No space left on device.\n",
        )
    finally:
        os.close(writer)
        os.close(full)


@pytest.mark.parametrize("streams", ["<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_traceback(streams: str) -> None:
    code, _out, err = run("sh", "-c", f'"$@" {streams}', "sh", *PROGRAMS[0], "--list")

    assert (code, err) == (0, "")


def test_a_verb_says_that_its_output_is_full(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from composed.verbs import *\nnamespace = collect(__name__)\n"
    )
    (tmp_path / "pyproject.toml").write_text('[tool.composed]\nsource = "."\n')
    with Path("/dev/full").open("w") as full:
        argv = [*PROGRAMS[0], "--search-root", str(tmp_path), "db.list"]
        (tmp_path / ".env").write_text("COMPOSED_MODE=local\nCOMPOSE_PROJECT_NAME=shop\n")
        code, _, err = run(*argv, out=full.fileno())

    assert "Traceback" not in err
    assert (code, err.endswith("No space left on device.\n")) == (74, True)


def test_an_inv_of_another_environment_names_the_right_inv(tmp_path: Path) -> None:
    venv.create(tmp_path / "other", with_pip=False)
    python = tmp_path / "other/bin/python"
    site = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    for folder in Path(invoke.__file__).parent.parent.glob("invoke*"):
        shutil.copytree(folder, Path(site.stdout.strip(), folder.name))

    code, _, err = run(str(python), "-m", "invoke", "up", "--timeout", "5 0")
    elsewhere = run(str(python), "-m", "invoke", f"--search-root={ROOT}", "up", cwd=tmp_path)

    version = sys.version.split()[0]
    head = f"This inv belongs to another environment ({tmp_path / 'other'}, Python {version}).\n"
    assert (code, err) == (69, f"{head}  Type: ./inv up --timeout '5 0'\n")
    assert elsewhere[2] == f"{head}  Type: {ROOT}/inv --search-root={ROOT} up\n"
