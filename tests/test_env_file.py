"""``.env``: made whole, completed, never overwritten."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from composed.env.file import complete_env, edit_env, generated, project_name, set_value
from composed.env.settings import assignments
from composed.errors import RefusedError, SettingError
from composed.project import Project
from tests.samples import GENERATED, ROOT, MonkeyPatch

VALUES = {name: f"made-{name}" for name in GENERATED}


def make() -> Mapping[str, str]:
    return VALUES


def test_a_new_file_is_the_example_with_the_empty_values_filled(project: Project) -> None:
    text, names = complete_env(project, project.root / "new", None, make)

    assert names == list(GENERATED)
    assert {name: assignments(text)[name] for name in GENERATED} == VALUES
    example = project.example.read_text().splitlines()
    changed = [new for old, new in zip(example, text.splitlines(), strict=True) if old != new]
    assert sorted(changed) == sorted(f"{name}={value}" for name, value in VALUES.items())


def test_a_value_in_the_file_stays(project: Project) -> None:
    before = "# mine\nSECRET_KEY=kept\nPOSTGRES_PASSWORD=\nEXTRA=1"

    text, names = complete_env(project, project.root / ".env", before, make)

    assert "SECRET_KEY" not in names
    lines = "# mine\nSECRET_KEY=kept\nPOSTGRES_PASSWORD=made-POSTGRES_PASSWORD\nEXTRA=1\n"
    assert text.startswith(lines)


def test_a_complete_file_needs_no_values(project: Project) -> None:
    file = project.root / ".env"
    text = file.read_text()

    assert complete_env(project, file, text, lambda: pytest.fail("needless")) == (text, [])


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
        ("b\udcff", "b-"),  # the byte FF, which is no UTF-8
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
        edit_env(file, lambda _, text=text: text)  # type: ignore[misc]

        assert (file.read_text(), file.stat().st_mode & 0o777) == (text, 0o600)
        assert list(file.parent.iterdir()) == [file]


def test_a_file_system_without_hard_links_gets_a_file_too(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", fail)

    edit_env(tmp_path / ".env", lambda _: "A=1\n")

    assert [file.read_text() for file in tmp_path.iterdir()] == ["A=1\n"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_a_change_by_another_program_meanwhile_stays(
    exists: bool, links: bool, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", fail)
    file, seen = tmp_path / ".env", []
    if exists:
        file.write_text("A=1\n")

    def change(text: str | None) -> str:
        seen.append(text)
        if len(seen) == 1:
            file.write_text("A=theirs\n")
        return f"{text or ''}B=ours\n"

    assert edit_env(file, change) == ("A=theirs\n", "A=theirs\nB=ours\n")

    assert seen == ["A=1\n" if exists else None, "A=theirs\n"]
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_77(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RefusedError, match="cannot be written: ") as caught:
        edit_env(tmp_path / "file" / ".env", lambda _: "A=1")

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
    before = "".join(f"{name}=x\n" for name in GENERATED if name != "SECRET_KEY") + line
    file = project.root / ".env"

    text, names = complete_env(project, file, before, lambda: {"SECRET_KEY": "made"})

    assert (text.splitlines()[-1], names) == (filled, ["SECRET_KEY"])
    assert assignments(text)["SECRET_KEY"] == "made"


def test_a_file_of_a_windows_editor_is_completed_in_place(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\nSECRET_KEY=\r\n# last\r\n")

    edit_env(file, lambda text: set_value(text or "", "SECRET_KEY", "SECRET_KEY=made"))

    assert file.read_bytes() == b"A=1\nSECRET_KEY=made\n# last\n"


def test_a_file_with_an_unreadable_line_is_not_completed(project: Project) -> None:
    file = project.root / ".env"

    with pytest.raises(SettingError, match=r"\.env has a line that is no assignment: line 1"):
        complete_env(project, file, 'SECRET_KEY="unfinished\n', make)


def test_no_change_is_lost_when_many_processes_change_a_file(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from composed.env.file import edit_env\n"
        "for number in range(20):\n"
        "    line = f'{sys.argv[2]}_{number}=1\\n'\n"
        "    edit_env(Path(sys.argv[1]), lambda text: (text or '') + line)"
    )
    file, names = tmp_path / "new" / ".env", [f"P{number}" for number in range(6)]
    argv = [sys.executable, "-c", script, str(file)]
    processes = [subprocess.Popen([*argv, name], cwd=ROOT) for name in names]

    assert [process.wait() for process in processes] == [0] * 6

    assert {*assignments(file.read_text())} == {f"{n}_{i}" for n in names for i in range(20)}
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(exists: bool, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "env"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    (tmp_path / ".env").symlink_to(target)

    edit_env(tmp_path / ".env", lambda _: "new")

    assert (tmp_path / ".env").readlink() == target
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o600)
