"""``.env``: made whole, completed, never overwritten."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from composed.env.file import complete_env, generated, project_name, write_env
from composed.env.settings import assignments
from composed.errors import RefusedError, SettingError
from composed.project import Project
from tests.samples import GENERATED, MonkeyPatch

VALUES = {name: f"made-{name}" for name in GENERATED}


def make() -> Mapping[str, str]:
    return VALUES


def test_a_new_file_is_the_example_with_the_empty_values_filled(project: Project) -> None:
    text, names = complete_env(project, project.root / "new", make)

    assert names == list(GENERATED)
    assert {name: assignments(text)[name] for name in GENERATED} == VALUES
    example = project.example.read_text().splitlines()
    changed = [new for old, new in zip(example, text.splitlines(), strict=True) if old != new]
    assert sorted(changed) == sorted(f"{name}={value}" for name, value in VALUES.items())


def test_a_value_in_the_file_stays(project: Project) -> None:
    file = project.root / ".env"
    file.write_text("# mine\nSECRET_KEY=kept\nPOSTGRES_PASSWORD=\nEXTRA=1")

    text, names = complete_env(project, file, make)

    assert "SECRET_KEY" not in names
    lines = "# mine\nSECRET_KEY=kept\nPOSTGRES_PASSWORD=made-POSTGRES_PASSWORD\nEXTRA=1\n"
    assert text.startswith(lines)


def test_a_complete_file_needs_no_values(project: Project) -> None:
    file = project.root / ".env"

    assert complete_env(project, file, lambda: pytest.fail("needless")) == (file.read_text(), [])


def test_secrets_differ_and_every_parser_reads_them_alike(project: Project) -> None:
    names = ("SECRET_KEY", "POSTGRES_PASSWORD")

    values = [generated(project, rootless=False)[name] for name in names for _ in range(50)]

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32,}", value) for value in values)
    assert len(set(values)) == 100


@pytest.mark.parametrize(
    ("uid", "gid", "rootless", "ids"),
    [(1001, 1002, False, "1001:1002"), (0, 0, False, "1000:1000"), (1001, 1002, True, "0:0")],
)
def test_the_backend_runs_as_the_owner_of_the_source(
    uid: int, gid: int, rootless: bool, ids: str, project: Project, monkeypatch: MonkeyPatch
) -> None:
    status = os.stat_result((0o40755, 1, 1, 1, uid, gid, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda self, **_: status)

    values = generated(project, rootless=rootless)

    assert f"{values['APP_UID']}:{values['APP_GID']}" == ids


@pytest.mark.parametrize(
    ("folder", "start"),
    [
        ("shop", "shop-"),
        ("My Shop.2", "my-shop-2-"),
        ("Bücher & Söhne", "bucher-sohne-"),
        ("_x", "x-"),
        ("日本", "stack-"),
    ],
)
def test_a_project_name_is_valid_for_compose(folder: str, start: str) -> None:
    name = project_name(Path("/srv") / folder)

    assert name.startswith(start)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name)


def test_two_folders_of_the_same_name_are_two_projects() -> None:
    assert project_name(Path("/a/shop")) != project_name(Path("/b/shop"))


def test_a_written_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / ".env"
    for text in ("A=1\n", "A=2\n"):  # a new file, a file that is completed in place
        assert write_env(file, text)

        assert (file.read_text(), file.stat().st_mode & 0o777) == (text, 0o600)
        assert list(file.parent.iterdir()) == [file]


def test_a_file_that_another_inv_just_made_stays(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("theirs")
    monkeypatch.setattr(Path, "exists", lambda self: False)  # as a moment ago

    assert not write_env(file, "ours")

    assert file.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_77(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RefusedError, match="cannot be written: ") as caught:
        write_env(tmp_path / "file" / ".env", "A=1")

    assert caught.value.code == 77


@pytest.mark.parametrize(
    ("line", "filled"),
    [
        ("SECRET_KEY=", "SECRET_KEY=made"),
        ("SECRET_KEY=  # mine", "SECRET_KEY=made # mine"),
        ("export SECRET_KEY=''", "export SECRET_KEY=made"),
        ('SECRET_KEY = ""', "SECRET_KEY=made"),
    ],
)
def test_an_empty_value_is_filled_in_place(line: str, filled: str, project: Project) -> None:
    file = project.root / ".env"
    file.write_text("".join(f"{name}=x\n" for name in GENERATED if name != "SECRET_KEY") + line)

    text, names = complete_env(project, file, lambda: {"SECRET_KEY": "made"})

    assert (text.splitlines()[-1], names) == (filled, ["SECRET_KEY"])
    assert assignments(text)["SECRET_KEY"] == "made"


def test_a_file_with_an_unreadable_line_is_not_completed(project: Project) -> None:
    file = project.root / ".env"
    file.write_text('SECRET_KEY="unfinished\n')

    with pytest.raises(SettingError, match=r"\.env has a line that is no assignment: line 1"):
        complete_env(project, file, make)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(exists: bool, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "env"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    (tmp_path / ".env").symlink_to(target)

    assert write_env(tmp_path / ".env", "new")

    assert (tmp_path / ".env").readlink() == target
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o600)
