"""The Compose files of a folder, and the name that Compose gives the stack."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from composed.compose_files import (
    as_typed,
    check_files,
    compose_files,
    interpolated,
    stack_name,
)
from composed.env.settings import env_files
from composed.errors import SettingError
from composed.project import Project


def found(root: Path, *names: str, keys: tuple[str, ...] = (), **environ: str) -> tuple[str, str]:
    """Make these files; return the files to name and Compose's folder, from the root."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    chosen = compose_files(root, keys, environ)
    named = " ".join(os.path.relpath(file, root) for file in chosen.named)
    return named, os.path.relpath(chosen.folder, root)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["compose.yaml", "docker-compose.local.yml"], ("", ".")),
        (["docker-compose.yml", "infra/docker-compose.yml"], ("", ".")),
        (
            ["docker-compose.local.yml", "docker-compose.prod.yml"],
            ("docker-compose.local.yml", "."),
        ),
        (["local.yml", "production.yml"], ("local.yml", ".")),
        (["compose.dev.yaml", "compose.override.yaml"], ("compose.dev.yaml", ".")),
        (["docker-compose-products.yml"], ("docker-compose-products.yml", ".")),
        (["infra/compose.yml"], ("infra/compose.yml", "infra")),
        (["a/b/docker-compose.yml", "tests/compose.yml"], ("a/b/docker-compose.yml", "a/b")),
        (["venv/pyvenv.cfg", "venv/x/compose.yml"], ("", ".")),
        (["a/docker-compose.local.yml"], ("a/docker-compose.local.yml", "a")),
        (["a/b/c/compose.yml", ".devcontainer/compose.yml"], ("", ".")),
        ([], ("", ".")),
    ],
)
def test_the_likeliest_file_counts(
    names: list[str], expected: tuple[str, str], tmp_path: Path
) -> None:
    assert found(tmp_path, *names) == expected


def test_files_that_are_equally_likely_are_listed(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"several Compose files: a/compose.yml, b/"):
        found(tmp_path, "a/compose.yml", "b/compose.yml")


@pytest.mark.parametrize(
    "name",
    [
        "docker-compose-prod.yml",
        "docker-compose.production.yml",
        "compose.eu-prod.yaml",
        "production/compose.yml",
    ],
)
def test_a_file_for_production_is_never_a_guess(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as raised:
        found(tmp_path, name)

    assert str(raised.value) == (
        f"The only Compose file is {name}, which looks like one for production.\n"
        f'  Name yours in pyproject.toml: [tool.composed] compose_files = ["{name}"]'
    )
    assert found(tmp_path, name, keys=(name,))[0] == name


def test_a_key_names_the_files(tmp_path: Path) -> None:
    names = ("x/a.yml", "x/b.yml")

    assert found(tmp_path, *names, "compose.yml", keys=names) == ("x/a.yml x/b.yml", "x")
    with pytest.raises(SettingError, match=r"There is no Compose file .*gone.yml"):
        found(tmp_path, keys=("gone.yml",))


def test_compose_file_is_read_by_compose_itself(tmp_path: Path) -> None:
    value = f"x/a.yml{os.pathsep}x/b.yml"

    assert found(tmp_path, "x/a.yml", "compose.yml", COMPOSE_FILE=value) == ("", "x")
    (tmp_path / ".env").write_text("export COMPOSE_FILE='y/a.yml'\n")
    assert found(tmp_path, "y/a.yml") == ("", "y")


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("", {"COMPOSE_FILE": f"x/a.yml{os.pathsep}b.yml"}, "x/a.yml b.yml"),
        ("COMPOSE_FILE=x/a.yml # local\n", {}, "x/a.yml"),
        ("COMPOSE_FILE=no.yml\nCOMPOSE_FILE: x/a.yml\n", {}, "x/a.yml"),
        ("COMPOSE_FILE=x/a.yml,b.yml\nCOMPOSE_PATH_SEPARATOR=,\n", {}, "x/a.yml b.yml"),
        ("COMPOSE_FILE=${DIR:-x}/${NAME}.yml\nNAME=b\n", {"NAME": "a"}, "x/a.yml"),
    ],
)
def test_the_files_of_compose_file_are_found_from_the_root(
    text: str, environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "compose.yml").touch()
    (tmp_path / ".env").write_text(text)

    chosen = compose_files(tmp_path, (), environ)

    assert [os.path.relpath(file, tmp_path) for file in chosen.all()] == expected.split()
    assert chosen.folder == tmp_path / "x"


def test_two_env_files_count_where_one_names_the_folder_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / ".env").write_text("COMPOSE_FILE=x/a.yml\n")
    both = (tmp_path / "x/.env", tmp_path / ".env")

    assert compose_files(tmp_path, (), {}).settings == both
    assert compose_files(tmp_path, (), {"COMPOSE_FILE": "x/a.yml"}).settings == both[:1]
    assert env_files(Project(tmp_path), {}) == both[1:]
    both[0].touch()
    assert env_files(Project(tmp_path), {}) == both


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}-$A-${C}", "a-a-"),
        ("${A:-x}${B:-x}${C:-x}", "axx"),
        ("${A-x}${B-x}${C-x}", "ax"),
        ("${A+x}${B+x}${C+x}${B:+x}", "xx"),
        ("${C:-${D-deep}}", "deep"),
        ("${E}", "in a"),
        ("$$A ${A:?must}", "$A a"),
        ("$SELF", "$SELF"),
    ],
)
def test_variables_are_replaced_as_compose_does(text: str, expected: str) -> None:
    values = {"A": "a", "B": "", "E": "in ${A}", "SELF": "$SELF"}

    assert interpolated(text, values) == expected


def test_all_files_are_named_for_an_override(tmp_path: Path) -> None:
    for name in ("compose.yaml", "compose.override.yaml", "a.yml"):
        (tmp_path / name).touch()
    chosen = compose_files(tmp_path, (), {})

    assert [file.name for file in chosen.all()] == ["compose.yaml", "compose.override.yaml"]
    keys = compose_files(tmp_path, ("a.yml",), {})
    assert [file.name for file in keys.all()] == ["a.yml"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("docker-compose.yml docker-compose.override.yaml", "0 1"),
        ("docker-compose.yaml compose.override.yaml", "0 1"),
        ("docker-compose.yml docker-compose.yaml", "0"),
        ("compose.yaml compose.override.yml compose.override.yaml", "0 1"),
        ("compose.yml docker-compose.override.yml docker-compose.override.yaml", "0 1"),
        ("compose.override.yml", ""),
    ],
)
def test_all_files_are_those_that_compose_takes(names: str, expected: str, tmp_path: Path) -> None:
    files = names.split()
    for name in files:
        (tmp_path / name).touch()

    found = compose_files(tmp_path, (), {}).all()

    assert [file.name for file in found] == [files[int(n)] for n in expected.split()]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("name: shop\n", "shop"),
        ("name: ${X}\n", "my"),
        ("name: ${X:-shop}\n", "shop"),
        ('"name": "${X-My.Shop} one" # x\n', "myshopone"),
        ("name: ${APP}-$STAGE\n", "shop-test"),
        ("services:\n  name: x\n", "my"),
        ("name:\n", "my"),
    ],
)
def test_the_file_may_name_the_stack(text: str, name: str, tmp_path: Path) -> None:
    root = tmp_path / "_My"
    root.mkdir()
    (root / "compose.yml").write_text(text)
    values = {"APP": "shop", "STAGE": "test"}

    assert stack_name(compose_files(root, (), {}), values) == name


def test_the_last_file_with_a_name_names_the_stack(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("name: one\n")
    (tmp_path / "compose.override.yaml").write_text("name: two\n")
    (tmp_path / "x").mkdir()
    (tmp_path / "x/local.yml").write_text("name: three\n")

    assert stack_name(compose_files(tmp_path, (), {}), {}) == "two"
    (tmp_path / ".env").write_text("COMPOSE_FILE=x/local.yml\n")
    assert stack_name(compose_files(tmp_path, (), {}), {}) == "three"


def test_the_file_of_a_folder_above_counts_where_there_is_no_other(tmp_path: Path) -> None:
    sub = tmp_path / "shop" / "a"
    sub.mkdir(parents=True)
    (sub.parent / "docker-compose.yml").touch()

    files = compose_files(sub, (), {})

    assert (files.named, files.folder, stack_name(files, {})) == ((), sub.parent, "shop")
    assert files.settings == (sub.parent / ".env",)
    (sub / "compose.yml").touch()
    assert compose_files(sub, (), {}).folder == sub


def test_a_linked_folder_has_the_path_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "releases/1", tmp_path / "current"
    (real / "sub").mkdir(parents=True)
    link.symlink_to(real)
    monkeypatch.chdir(real / "sub")
    monkeypatch.setenv("PWD", str(link / "sub"))

    assert (as_typed(real), as_typed(real / "a")) == (link, link / "a")
    assert as_typed(tmp_path) == tmp_path
    assert stack_name(compose_files(real, (), {}), {}) == "current"
    for elsewhere in ("", "sub", str(tmp_path), "\0"):  # left by another program
        assert as_typed(real, {"PWD": elsewhere}) == real


@pytest.mark.parametrize(
    "name",
    ["compose.yaml", "docker-compose.yml", "compose.override.yml", "docker-compose.override.yaml"],
)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_compose_would_wait_for_is_named(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    found(tmp_path, *{"docker-compose.yml"} - {name})  # which ours would take, and Compose not
    make(tmp_path / name)

    with pytest.raises(SettingError, match=f"{name} cannot be read: it is a (pipe|device), not a"):
        check_files(tmp_path, compose_files(tmp_path, (), {}))


@pytest.mark.parametrize(("keys", "chosen"), [(("own.yml",), ""), ((), "own.yml")])
def test_a_named_pipe_is_no_compose_file(
    keys: tuple[str, ...], chosen: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "own.yml")

    with pytest.raises(SettingError, match=r"own\.yml cannot be read: it is a pipe, not a file\."):
        check_files(tmp_path, compose_files(tmp_path, keys, {"COMPOSE_FILE": chosen}))


def test_only_what_compose_reads_is_checked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "compose.yml")
    (tmp_path / "sub").mkdir()
    found(tmp_path / "sub", "own.yml", "docker-compose.yml")

    check_files(tmp_path, compose_files(tmp_path, ("sub/own.yml",), {}))
    check_files(tmp_path / "sub", compose_files(tmp_path / "sub", (), {}))
    (tmp_path / "sub/docker-compose.yml").unlink()
    (tmp_path / "sub/own.yml").unlink()
    with pytest.raises(SettingError, match="it is a pipe"):
        check_files(tmp_path / "sub", compose_files(tmp_path / "sub", (), {}))
