"""The env contract, with Compose's own reading of ``.env`` and git's own answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stacks.copies import Copy, changed

# Values that the two parsers read alike, and values that they read differently.
ALIKE = ["plain", "'h$s#h \"x\" \\n'", '"two words"', "a#b", "a # b", "x'y", '"multi\nline"', "{}"]
DIFFERENT = ["a$b", '"a${b}"', "a$$b", r'"a\$b"', "${b:-c}"]


@pytest.fixture
def copy(shared_copy: Copy) -> Copy:
    """Give the shared copy a new ``.env``."""
    (shared_copy.root / ".env").unlink()
    shared_copy.ok("env")
    return shared_copy


def check(copy: Copy, **env: str) -> dict[str, tuple[str, str]]:
    done = copy.inv("env", "--check", "--json", **env)
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == report["ok"], done.stderr
    assert done.stderr == ""
    return {row["what"]: (row["state"], row["seen"]) for row in report["findings"]}


def test_a_new_file_is_right_and_everything_was_compared(copy: Copy) -> None:
    found = check(copy)

    assert found.keys() == {".env", "settings", "readings"}
    assert {state for state, _ in found.values()} == {"ok"}


def test_both_parsers_are_really_asked(copy: Copy) -> None:
    values = dict(enumerate([*ALIKE, *DIFFERENT]))
    copy.append(".env", "".join(f"ODD_{number}={value}\n" for number, value in values.items()))

    done = copy.ok("env", "--check")

    rows = [line.split()[0] for line in done.splitlines() if "read differently" in line]
    assert rows == [f"ODD_{number}" for number in values if values[number] in DIFFERENT]


def test_a_value_that_compose_refuses_is_named_by_the_check_and_by_a_verb(copy: Copy) -> None:
    copy.append(".env", "ODD_KEY=hu${sh\n")

    assert check(copy)["ODD_KEY"] == ("wrong", "malformed: Compose refuses the $ in its value")
    done = copy.inv("ps")
    assert (done.returncode, "inv env --check" in done.stderr) == (78, True)
    assert "hu${sh" not in done.stdout + done.stderr


def test_compose_is_asked_for_the_settings_that_its_files_require(copy: Copy) -> None:
    file = copy.root / "docker-compose.yml"
    with changed(file, "shm_size: 256mb", "shm_size: ${SHM_SIZE:?}"):
        missing = copy.inv("env", "--check")
        given = copy.ok("env", "--check", SHM_SIZE="256mb")

    assert (missing.returncode, "a Compose file requires it" in missing.stdout) == (78, True)
    assert "undeclared: a Compose file reads it" in given


def test_a_tracked_file_is_wrong_and_an_unignored_one_a_warning(copy: Copy) -> None:
    copy.run("git", "add", "--force", ".env")
    tracked = check(copy)[".env"]
    copy.run("git", "rm", "--cached", "--quiet", ".env")
    (copy.root / ".gitignore").rename(copy.root / "ignored")
    unignored = check(copy)[".env"]
    (copy.root / "ignored").rename(copy.root / ".gitignore")

    assert tracked == ("wrong", "tracked by git, with its secrets")
    assert unignored == ("warning", "git does not ignore it")


def test_all_else_is_checked_without_docker_git_and_engine(copy: Copy, tmp_path: Path) -> None:
    copy.append(".env", "DB_PROT=1\n")

    found = check(copy, PATH=str(tmp_path), DOCKER_HOST="unix:///nowhere.sock")

    assert found["Compose files"] == ("ok", "not compared: there is no docker here")
    assert found["DB_PROT"][0] == "warning"
