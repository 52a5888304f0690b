"""Lint, the hooks of a commit, CI and Codespaces have the same commands."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import noxfile
import tasks
from composed.env.settings import declared
from tests.samples import MonkeyPatch

ROOT = Path(__file__).parent.parent
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()
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

    assert {"ci.yml", ".yamllint.yml", *names("*.yml")} <= seen["yamllint"]
    assert {"ci.yml", "dependabot.yml", *names("docker-compose*")} <= seen["check-jsonschema"]
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

    assert jobs == ["lint", "unit", "integration", "package", "faults"]
    assert re.findall(r"run: nox -s (\w+)", WORKFLOW) == jobs


def test_ci_runs_every_python_that_a_developer_may_have(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "runs", lambda _: True)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # `found_pythons` adds folders
    matrix = re.findall(r'"(3\.\d+)"', str(re.findall(r"python: \[(.*)\]", WORKFLOW)))

    assert matrix == noxfile.found_pythons()


def test_an_action_has_one_commit_in_all_jobs() -> None:
    pins = set(re.findall(r"uses: (\S+)@([0-9a-f]{40} # v[\d.]+)$", WORKFLOW, re.MULTILINE))

    assert len(pins) == len({action for action, _ in pins})
    assert len(re.findall("uses:", WORKFLOW)) == len(re.findall(r"@[0-9a-f]{40} # v", WORKFLOW))


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
