"""A copied folder gets a new stack, a moved folder keeps the stack."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from composed.doctor.doctor import _folder
from composed.env import file
from composed.env.copies import original
from composed.env.file import project_name
from composed.env.settings import load_settings
from composed.findings import Finding
from composed.project import Project
from tests.samples import Inv, MonkeyPatch

Transfer = Callable[[Callable[..., object]], Project]


@pytest.fixture
def first(project: Project, inv: Inv) -> Project:
    """The folder that is copied or moved, after the first verb."""
    assert inv("env") == 0
    return project


@pytest.fixture
def transfer(first: Project, monkeypatch: MonkeyPatch) -> Transfer:
    """Copy or move the folder; verbs then run in the new folder."""

    def run(operation: Callable[..., object]) -> Project:
        new = replace(first, root=beside(first))
        operation(first.root, new.root)
        monkeypatch.setattr(Project, "of", lambda _c: new)
        return new

    return run


@pytest.fixture
def copy(transfer: Transfer) -> Project:
    return transfer(shutil.copytree)


def beside(first: Project) -> Path:
    return first.root.with_name(f"{first.root.name}-new")


def name(project: Project) -> str:
    return load_settings(project, {})["COMPOSE_PROJECT_NAME"]


def add(project: Project, text: str) -> None:
    with (project.root / ".env").open("a") as env:
        env.write(text)


def test_the_folder_is_recorded_once(first: Project, inv: Inv) -> None:
    text = (first.root / ".env").read_text()
    line = f'# The folder of this stack, by which inv tells a copy: "{first.root}"\n'
    assert text.startswith(f"{line}COMPOSE_PROJECT_NAME=shop\n")

    inv("up")

    assert (first.root / ".env").read_text() == text
    assert inv.err() == ""


@pytest.mark.parametrize("verb", ["ps", "down", "dbshell", "env", "up"])
def test_every_verb_renames_a_copy_first(
    verb: str, first: Project, copy: Project, inv: Inv
) -> None:
    own = project_name(copy.root)

    assert inv(verb) == 0

    assert (name(copy), name(first)) == (own, "shop")
    assert inv.err() == (
        f"A copy of {first.root}: it gets {own} as its stack (COMPOSE_PROJECT_NAME changed).\n"
    )
    inv(verb)
    assert "A copy of" not in inv.err()


def test_a_dry_run_in_a_copy_writes_nothing(copy: Project, inv: Inv) -> None:
    before = (copy.root / ".env").read_text()

    assert inv("--dry", "down") == 0

    assert (copy.root / ".env").read_text() == before


def test_a_moved_folder_keeps_the_stack(transfer: Transfer, inv: Inv) -> None:
    moved = transfer(shutil.move)

    inv("up")

    assert (name(moved), inv.err()) == ("shop", "")
    assert f'"{moved.root}"' in (moved.root / ".env").read_text()


@pytest.mark.parametrize("env", ["", "COMPOSE_PROJECT_NAME=another\n"])
def test_an_old_place_may_be_reused(env: str, first: Project, transfer: Transfer, inv: Inv) -> None:
    moved = transfer(shutil.move)
    first.root.mkdir()
    if env:
        (first.root / ".env").write_text(env)

    inv("up")

    assert name(moved) == "shop"


def test_a_name_in_the_environment_stays(copy: Project, inv: Inv, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "chosen")

    assert inv("up") == 0

    assert name(copy) == "shop"


def test_an_env_file_outside_the_project_may_be_shared(copy: Project, first: Project) -> None:
    assert original(copy, {}) == first.root
    assert original(copy, {"COMPOSE_ENV_FILES": str(first.root / ".env")}) is None


def test_a_link_to_the_same_folder_is_no_copy(first: Project) -> None:
    link = beside(first)
    link.symlink_to(first.root)

    assert original(replace(first, root=link), {}) is None


def test_a_recorded_folder_that_is_no_path_is_ignored(first: Project) -> None:
    file = first.root / ".env"
    file.write_text(file.read_text().replace(f'"{first.root}"', '"\\"'))

    assert original(first, {}) is None


@pytest.mark.parametrize("hidden", ["root", ".env"])
def test_a_folder_that_cannot_be_read_counts_as_the_original(
    hidden: str, first: Project, copy: Project, monkeypatch: MonkeyPatch
) -> None:
    forbidden = first.root if hidden == "root" else first.root / hidden

    def guarded(method: Callable[..., object]) -> Callable[..., object]:
        def wrapper(path: Path, *args: object, **options: object) -> object:
            if path.is_relative_to(forbidden):
                raise PermissionError
            return method(path, *args, **options)

        return wrapper

    for method in ("stat", "samefile", "read_text"):
        monkeypatch.setattr(Path, method, guarded(getattr(Path, method)))

    assert original(copy, {}) == first.root


def test_settings_that_lead_to_the_originals_data_become_comments(
    first: Project, transfer: Transfer, inv: Inv
) -> None:
    add(first, "export POSTGRES_VOLUME=dear\nSQLITE_PATH=/srv/db.sqlite3\nDB_PORT=5555\n")
    copy = transfer(shutil.copytree)

    inv("ps")

    lines = "\n# export POSTGRES_VOLUME=dear\n# SQLITE_PATH=/srv/db.sqlite3\nDB_PORT=5555\n"
    assert (copy.root / ".env").read_text().endswith(lines)
    changed = "(COMPOSE_PROJECT_NAME, POSTGRES_VOLUME, SQLITE_PATH changed)"
    assert changed in inv.err()


def test_settings_that_follow_the_name_stay(first: Project, transfer: Transfer, inv: Inv) -> None:
    lines = "POSTGRES_VOLUME=${COMPOSE_PROJECT_NAME}_data\nSQLITE_PATH=data/mine.sqlite3\n"
    add(first, lines)
    copy = transfer(shutil.copytree)

    inv("ps")

    assert (copy.root / ".env").read_text().endswith(f"\n{lines}")


def test_a_copy_of_another_owner_runs_as_that_owner(
    first: Project, copy: Project, inv: Inv, monkeypatch: MonkeyPatch
) -> None:
    uids = {first.root / "server": 1000, copy.root / "server": 1001}
    monkeypatch.setattr(file, "_owner", uids.__getitem__)
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        status = list(real(path, **options))
        status[4:6] = [uids.get(path, status[4])] * 2
        return os.stat_result(status)

    monkeypatch.setattr(Path, "stat", stat)

    inv("ps")

    settings = load_settings(copy, {})
    assert (settings["APP_UID"], settings["APP_GID"]) == ("1001", "1001")


def test_a_finding_names_the_folder_or_the_original(first: Project, copy: Project) -> None:
    cure = "inv env (gives it a name of its own)"
    assert list(_folder(first)) == [Finding("folder", "ok", str(first.root))]
    assert list(_folder(copy)) == [Finding("folder", "warning", f"a copy of {first.root}", cure)]

    (copy.root / ".env").unlink()
    assert list(_folder(copy)) == [Finding("folder", "ok", str(copy.root))]


def test_a_folder_that_is_gone_has_no_owner(tmp_path: Path) -> None:
    assert file._owner(tmp_path / "gone") == -1
