"""A copied folder gets a stack of its own, a moved one keeps it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from composed.env import copies
from composed.env.copies import findings, original
from composed.env.file import project_name
from composed.env.settings import load_settings
from composed.findings import Finding
from composed.project import Project
from tests.samples import Inv


@pytest.fixture
def first(project: Project, inv: Inv) -> Project:
    """The folder that is copied or moved, after its first verb."""
    assert inv("env") == 0
    return project


@pytest.fixture
def copy(first: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    return at(first, beside(first, "copy"), shutil.copytree, monkeypatch)


def at(
    first: Project,
    root: Path,
    how: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """Copy or move the folder; verbs now run in the new one."""
    how(first.root, root)
    there = replace(first, root=root)
    monkeypatch.setattr(Project, "of", lambda _c: there)
    return there


def beside(first: Project, word: str) -> Path:
    return first.root.with_name(f"{first.root.name}-{word}")


def name(project: Project) -> str:
    return load_settings(project, {})["COMPOSE_PROJECT_NAME"]


def add(project: Project, text: str) -> None:
    with (project.root / ".env").open("a") as env:
        env.write(text)


def test_the_folder_is_written_down_once(
    first: Project, inv: Inv, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (first.root / ".env").read_text()
    line = f'# The folder of this stack, by which inv tells a copy: "{first.root}"\n'
    assert text.startswith(f"{line}COMPOSE_PROJECT_NAME=shop\n")

    inv("up")

    assert (first.root / ".env").read_text() == text
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["ps", "down", "dbshell", "env", "up"])
def test_in_a_copy_every_verb_takes_a_name_of_its_own_first(
    verb: str, first: Project, copy: Project, inv: Inv, capsys: pytest.CaptureFixture[str]
) -> None:
    own = project_name(copy.root)

    assert inv(verb) == 0

    assert (name(copy), name(first)) == (own, "shop")
    assert capsys.readouterr().err == (
        f"A copy of {first.root}: it gets {own} as its stack (COMPOSE_PROJECT_NAME changed).\n"
    )
    inv(verb)
    assert "A copy of" not in capsys.readouterr().err


def test_a_dry_run_in_a_copy_writes_nothing(copy: Project, inv: Inv) -> None:
    before = (copy.root / ".env").read_text()

    assert inv("--dry", "down") == 0

    assert (copy.root / ".env").read_text() == before


def test_a_moved_folder_keeps_its_stack(
    first: Project, inv: Inv, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = at(first, beside(first, "moved"), shutil.move, monkeypatch)

    inv("up")

    assert (name(moved), capsys.readouterr().err) == ("shop", "")
    assert f'"{moved.root}"' in (moved.root / ".env").read_text()


@pytest.mark.parametrize("now", ["", "COMPOSE_PROJECT_NAME=another\n"])
def test_a_new_folder_at_the_old_place_is_not_the_original(
    now: str, first: Project, inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = at(first, beside(first, "moved"), shutil.move, monkeypatch)
    first.root.mkdir()
    if now:
        (first.root / ".env").write_text(now)

    inv("up")

    assert name(moved) == "shop"


def test_a_name_in_the_environment_was_meant(
    copy: Project, inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "meant")

    assert inv("up") == 0

    assert name(copy) == "shop"


def test_an_env_file_elsewhere_may_be_shared(copy: Project, first: Project) -> None:
    assert original(copy, {}) == first.root
    assert original(copy, {"COMPOSE_ENV_FILES": str(first.root / ".env")}) is None


def test_another_way_to_the_same_folder_is_no_copy(first: Project) -> None:
    link = beside(first, "link")
    link.symlink_to(first.root)

    assert original(replace(first, root=link), {}) is None


def test_a_line_that_is_no_path_says_nothing(first: Project) -> None:
    file = first.root / ".env"
    file.write_text(file.read_text().replace(f'"{first.root}"', '"\\"'))

    assert original(first, {}) is None


@pytest.mark.parametrize("hidden", ["root", ".env"])
def test_what_cannot_be_looked_at_is_taken_for_the_original(
    hidden: str, first: Project, copy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = first.root if hidden == "root" else first.root / hidden

    def guarded(do: Callable[..., object]) -> Callable[..., object]:
        def wrapper(path: Path, *args: object, **options: object) -> object:
            if path == forbidden:
                raise PermissionError
            return do(path, *args, **options)

        return wrapper

    monkeypatch.setattr(Path, "stat", guarded(Path.stat))
    monkeypatch.setattr(Path, "read_text", guarded(Path.read_text))

    assert original(copy, {}) == first.root


def test_what_leads_to_the_originals_data_is_commented_out(
    first: Project,
    inv: Inv,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(first, "export POSTGRES_VOLUME=dear\nSQLITE_PATH=/srv/db.sqlite3\nDB_PORT=5555\n")
    copy = at(first, beside(first, "copy"), shutil.copytree, monkeypatch)

    inv("ps")

    assert (
        (copy.root / ".env")
        .read_text()
        .endswith("\n# export POSTGRES_VOLUME=dear\n# SQLITE_PATH=/srv/db.sqlite3\nDB_PORT=5555\n")
    )
    changed = "(COMPOSE_PROJECT_NAME, POSTGRES_VOLUME, SQLITE_PATH changed)"
    assert changed in capsys.readouterr().err


def test_what_follows_the_name_stays(
    first: Project, inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "POSTGRES_VOLUME=${COMPOSE_PROJECT_NAME}_data\nSQLITE_PATH=data/mine.sqlite3\n"
    add(first, lines)
    copy = at(first, beside(first, "copy"), shutil.copytree, monkeypatch)

    inv("ps")

    assert (copy.root / ".env").read_text().endswith(f"\n{lines}")


def test_a_copy_of_another_owner_runs_as_that_owner(
    first: Project, copy: Project, inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = {first.root / "server": 1000, copy.root / "server": 1001}
    monkeypatch.setattr(copies, "_owner", uids.__getitem__)
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = list(real(path, **options))
        found[4:6] = [uids.get(path, found[4])] * 2
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", stat)

    inv("ps")

    settings = load_settings(copy, {})
    assert (settings["APP_UID"], settings["APP_GID"]) == ("1001", "1001")


def test_a_row_says_whose_folder_it_is(first: Project, copy: Project) -> None:
    assert findings(first, {}) == [Finding("folder", "ok", str(first.root))]
    assert findings(copy, {}) == [
        Finding(
            "folder",
            "warning",
            f"a copy of {first.root}",
            "inv env (gives it a name of its own)",
        )
    ]
    (copy.root / ".env").unlink()
    assert findings(copy, {}) == [Finding("folder", "ok", str(copy.root))]


def test_a_folder_that_is_gone_has_no_owner(tmp_path: Path) -> None:
    assert copies._owner(tmp_path / "gone") == -1
    assert not copies.is_same(tmp_path / "gone", tmp_path)
