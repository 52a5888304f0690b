"""Lint, the hooks of a commit, CI, a release and Codespaces have the same commands."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import composed
import noxfile
import tasks
from composed.env.settings import declared
from tests.samples import MonkeyPatch

ROOT = Path(__file__).parent.parent
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()
RELEASE = (ROOT / ".github/workflows/release.yml").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEVCONTAINER = (ROOT / ".devcontainer/devcontainer.json").read_text()

# The tools that look at the whole project: before a push, `nox -s lint` runs these too.
WHOLE = ("python", "gunicorn", "uv", "mypy")


@pytest.fixture
def session(tmp_path: Path) -> MagicMock:
    return MagicMock(create_tmp=lambda: str(tmp_path), error=MagicMock(side_effect=SystemExit))


def commands(session: MagicMock) -> list[list[str]]:
    return [list(call.args) for call in session.run.call_args_list]


def entries() -> list[list[str]]:
    return [shlex.split(entry) for entry in re.findall(r"entry: (.*)", HOOKS)]


def test_the_hooks_run_the_commands_and_tools_of_lint(session: MagicMock) -> None:
    noxfile.lint(session)
    *hooks, last = entries()
    checks = [argv for argv in commands(session) if argv[0] not in WHOLE]

    assert last == [".venv/bin/nox", "-r", "-s", "lint"]
    assert {str(Path(tool).parent) for tool, *_ in hooks} == {".nox/lint/bin"}
    assert len(hooks) == len(checks)
    for (tool, *arguments), check in zip(hooks, checks, strict=True):
        assert [Path(tool).name, *arguments] == check[: len(arguments) + 1]


def test_lint_misses_no_file(session: MagicMock) -> None:
    noxfile.lint(session)
    seen = {argv[0]: set[str]() for argv in commands(session)}
    for tool, *words in commands(session):
        seen[tool] |= {Path(word).name for word in words}

    workflows = names(".github/workflows/*")
    assert {"ci.yml", "release.yml"} <= workflows
    assert {*workflows, ".yamllint.yml", *names("*.yml")} <= seen["yamllint"]
    files = {*workflows, "dependabot.yml", *names("docker-compose*")}
    assert files <= seen["check-jsonschema"]
    assert {"run", "debian.sh", *names(".ci/**/*.sh")} <= seen["shellcheck"]
    assert {file.name for file in ROOT.glob(".ci/**/*") if is_program(file)} <= seen["shellcheck"]


def names(pattern: str) -> set[str]:
    return {file.name for file in ROOT.glob(pattern)}


def is_program(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)


def test_a_lock_that_would_be_compiled_differently_ends_lint(session: MagicMock) -> None:
    def compile_again(*argv: str, **_: object) -> None:
        if argv[0] == "uv":
            with Path(argv[-1]).open("a") as lock:
                lock.write("another==1.0\n")

    noxfile.check_locks(session)
    session.run.side_effect = compile_again
    with pytest.raises(SystemExit):
        noxfile.check_locks(session)


def test_a_lock_comes_after_the_locks_that_bound_the_versions() -> None:
    order = [str(source.relative_to(ROOT)) for source in noxfile.lock_sources()]

    assert order[:2] == ["server/requirements.in", "server/requirements-test.in"]
    assert order[2:] == [name for name in order if name.startswith("locks/")]


def test_the_comments_of_a_lock_are_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("# by another uv\na==1\n    # via b\n")

    assert noxfile.locked(tmp_path / "lock") == ["a==1"]


def test_ci_runs_the_sessions_of_developers() -> None:
    jobs = re.findall(r"^  (\w+):\n    name:", WORKFLOW, re.MULTILINE)

    assert jobs == ["lint", "unit", "integration", "package", "faults", "foreign"]
    assert re.findall(r"run: nox -s (\w+)", WORKFLOW) == jobs


def test_ci_runs_every_python_that_a_developer_may_have(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "runs", lambda _: True)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # `found_pythons` adds folders
    matrix = re.findall(r'"(3\.\d+)"', str(re.findall(r"python: \[(.*)\]", WORKFLOW)))

    assert matrix == noxfile.found_pythons()


def test_an_action_has_one_commit_in_all_jobs() -> None:
    workflows = WORKFLOW + RELEASE
    pins = set(re.findall(r"uses: (\S+)@([0-9a-f]{40} # v[\d.]+)$", workflows, re.MULTILINE))

    assert len(pins) == len({action for action, _ in pins})
    assert len(re.findall("uses:", workflows)) == len(re.findall(r"@[0-9a-f]{40} # v", workflows))


@pytest.mark.parametrize(
    ("tag", "code"), [(f"v{composed.__version__}", 0), (composed.__version__, 1), ("v99.0", 1)]
)
def test_a_release_refuses_a_tag_that_is_not_the_version(tag: str, code: int) -> None:
    [script] = re.findall(r"run: \|\n((?: {10}.*\n)+)", RELEASE)
    # As GitHub runs a step, with this Python.
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    argv = ["bash", "-e", "-c", textwrap.dedent(script)]
    env = {"TAG": tag, "PATH": python}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stderr
    assert (f"The tag is {tag}, but " in done.stderr) is bool(code)


def test_a_release_publishes_the_files_that_the_session_has_checked(session: MagicMock) -> None:
    folder = Path(session.create_tmp()) / "release"
    session.run.side_effect = lambda *argv, **_: build(folder) if "build" in argv else None
    tree = wheel(Path(session.create_tmp()) / "tree.whl", {"a.py": "1"})
    noxfile.check_release(session, tree)

    built, checked = commands(session)
    assert built[-1] == str(folder)
    assert checked == ["twine", "check", "--strict", *map(str, sorted(folder.iterdir()))]
    assert len(checked) == 5
    assert 'run: nox -s "package(local)"' in RELEASE
    assert "path: .nox/package-local/tmp/release/\n" in RELEASE


def build(folder: Path) -> None:
    """Leave what `python -m build` leaves."""
    folder.mkdir()
    wheel(folder / "composed-1.whl", {"a.py": "1"})
    (folder / "composed-1.tar.gz").touch()


def wheel(file: Path, contents: dict[str, str]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return file


@pytest.mark.parametrize(
    ("contents", "names"),
    [
        ({"a.py": "1", "py.typed": ""}, []),
        ({"a.py": "1"}, ["py.typed"]),
        ({"a.py": "2", "py.typed": ""}, ["a.py"]),
        ({"a.py": "1", "py.typed": "", "b.py": ""}, ["b.py"]),
    ],
)
def test_a_wheel_of_the_sdist_that_differs_is_found(
    contents: dict[str, str], names: list[str], tmp_path: Path
) -> None:
    whole = wheel(tmp_path / "whole.whl", {"py.typed": "", "a.py": "1"})

    assert noxfile.differing(whole, wheel(tmp_path / "other.whl", contents)) == names


def test_the_package_names_the_versions_that_ci_tests(monkeypatch: MonkeyPatch) -> None:
    pythons = re.findall(r'"(3\.\d+)"', str(re.findall(r"python: \[(.*)\]", WORKFLOW)))
    monkeypatch.setattr(noxfile, "PYTHONS", pythons)
    classifiers = "\n".join(PYPROJECT["project"]["classifiers"])

    assert re.findall(r":: Python :: (3\.\d+)$", classifiers, re.MULTILINE) == pythons
    assert set(re.findall(r":: Django :: (\S+)$", classifiers, re.MULTILINE)) == {
        django for _, django in noxfile.legs()
    }


def test_the_devcontainer_ends_in_a_stack_on_the_default_ports() -> None:
    settings = declared((ROOT / ".env.example").read_text())
    container = json.loads(re.sub(r"^\s*//.*$", "", DEVCONTAINER, flags=re.MULTILINE))
    tool, verb = container["postStartCommand"].split()

    assert [str(port) for port in container["forwardPorts"]] == [
        settings["BACKEND_PORT"],
        settings["DB_PORT"],
    ]
    assert container["portsAttributes"].keys() == {str(p) for p in container["forwardPorts"]}
    assert tool == "./inv"
    assert hasattr(tasks, verb)
    assert container["postCreateCommand"] == "./inv env"


@pytest.mark.parametrize("crlf", ["true", "input", "false"])
def test_a_checkout_has_lf_whatever_git_is_set_to(crlf: str, tmp_path: Path) -> None:
    for name in (".gitattributes", "inv", "server/Dockerfile", "docs/pictures/api.png"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes((ROOT / name).read_bytes())
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "all")):
        subprocess.run([*git, *words], cwd=tmp_path / "from", check=True)

    clone = ("git", "-c", f"core.autocrlf={crlf}", "-c", "core.eol=crlf", "clone", "--quiet")
    subprocess.run([*clone, "from", "to"], cwd=tmp_path, check=True)

    for file in (tmp_path / "from").rglob("[!.]*"):
        if file.is_file() and ".git" not in file.relative_to(tmp_path / "from").parts:
            assert (tmp_path / "to" / file.relative_to(tmp_path / "from")).read_bytes() == (
                file.read_bytes()
            )
