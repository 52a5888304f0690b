"""Settings: the order of their sources, and the values that are refused."""

from pathlib import Path

import pytest

from composed.env.settings import NAME, Settings, assignments, declared, env_files, load_settings
from composed.errors import SettingError
from composed.project import Project
from tests.samples import GENERATED, ROOT

EXAMPLE = declared((ROOT / ".env.example").read_text())
COMPLETE = dict.fromkeys(GENERATED, "1")


def test_a_commented_line_declares_a_setting_and_default() -> None:
    text = "# About it: FOO=bar is meant.\n# PORT=8000\n#DEBUG=true\nSECRET=\nNAME=x\n# prose = y\n"

    assert declared(text) == {"PORT": "8000", "DEBUG": "true", "SECRET": "", "NAME": "x"}


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(project: Project) -> None:
    (project.root / ".env").write_text("BACKEND_PORT=1\nDB_PORT=2\nCOMPOSE_PROJECT_NAME=x\n")

    settings = load_settings(project, {"BACKEND_PORT": "9", "UNRELATED": "z"})

    assert (settings["BACKEND_PORT"], settings["DB_PORT"]) == ("9", "2")
    assert settings["WEB_CONCURRENCY"] == "2"
    assert "UNRELATED" not in settings.values


def test_env_files_follow_compose_and_start_at_the_root() -> None:
    project = Project(Path("/srv/shop"))

    assert env_files(project, {}) == (Path("/srv/shop/.env"),)
    files = (Path("/srv/shop/a"), Path("/b/c"))
    assert env_files(project, {"COMPOSE_ENV_FILES": "a, /b/c"}) == files


def test_a_later_env_file_wins(project: Project) -> None:
    (project.root / "more").write_text("POSTGRES_DB=other\n")

    settings = load_settings(project, {"COMPOSE_ENV_FILES": ".env,more"})

    assert settings["POSTGRES_DB"] == "other"
    assert settings["COMPOSE_PROJECT_NAME"] == "shop"


def test_values_are_read_without_interpolation() -> None:
    text = "A=ab$cd\nB='x y'\nC\nD=${A}\nE=\n"

    assert assignments(text) == {"A": "ab$cd", "B": "x y", "D": "${A}", "E": ""}


def test_an_empty_setting_names_itself_and_the_cure() -> None:
    empty = {"SECRET_KEY": "", "DB_USER": ""}
    settings = Settings(empty, (Path(".env"),), {}, ("SECRET_KEY",))

    for name, cure in {"SECRET_KEY": "Type: inv env", "DB_USER": "Write there: DB_USER=…"}.items():
        with pytest.raises(SettingError) as caught:
            settings[name]

        assert str(caught.value) == f"{name} has no value in .env.\n  {cure}"
        assert caught.value.code == 78


def test_an_empty_setting_has_the_default() -> None:
    assert Settings({"DB_PORT": ""}, (), {"DB_PORT": "5433"})["DB_PORT"] == "5433"


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        *(("DB_PORT", port, "a port") for port in ("-1", "65536", "80 ", "²", "http")),
        *(("WEB_CONCURRENCY", count, "a whole number") for count in ("two", "-2", "1.5", "0")),
        *(("APP_UID", user, "the number of a user") for user in ("me", "-1")),
        *((name, "maybe", "true or false") for name in ("DEBUG", "HTTPS_ONLY")),
        ("COMPOSED_MODE", "dokcer", "auto, docker, local."),
        *(("COMPOSE_PROJECT_NAME", name, "lower-case letters") for name in ("../x", "Shop", "-a")),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: str, valid: str) -> None:
    settings = Settings({**COMPLETE, name: value}, (), {name: "2"})

    with pytest.raises(SettingError, match=f"{name} is {value!r}") as caught:
        settings.check()

    assert f"Valid: {valid}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        *(("DB_PORT", port, "5433") for port in ("0", "65535")),
        *(("WEB_CONCURRENCY", count, "2") for count in ("70000", "")),
        *(("DB_MEMORY", size, "2g") for size in ("512m", "3GB", "1073741824")),
        ("DEBUG", "True", "true"),
        ("APP_GID", "1000", ""),
        ("COMPOSE_PROJECT_NAME", "shop-1_a", ""),
        ("POSTGRES_DB", "x", "task_db"),
    ],
)
def test_these_values_are_valid(name: str, value: str, default: str) -> None:
    Settings({**COMPLETE, name: value}, (), {name: default}).check()


@pytest.mark.parametrize("name", [n for n, default in EXAMPLE.items() if default.isdecimal()])
def test_a_setting_with_a_number_takes_no_word(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is 'x'"):
        Settings({**COMPLETE, name: "x"}, (), EXAMPLE).check()


@pytest.mark.parametrize("name", ["BACKEND_MEMORY", "DB_MEMORY"])
def test_a_size_takes_no_word(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is 'lots'.*\n.*512m or 2g"):
        Settings({**COMPLETE, name: "lots"}, (), EXAMPLE).check()


def test_a_name_that_no_example_declares_is_checked_too() -> None:
    with pytest.raises(SettingError, match=r"COMPOSE_PROJECT_NAME is '\.\./x'"):
        Settings({"COMPOSE_PROJECT_NAME": "../x"}, (), {}, ("COMPOSE_PROJECT_NAME",)).check()


def test_a_number_that_only_the_server_knows_is_not_checked() -> None:
    Settings({**COMPLETE, "CACHE_SECONDS": "0.5"}, (), {"CACHE_SECONDS": "5"}).check()


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_setting_without_a_value_is_refused(name: str) -> None:
    settings = Settings({**COMPLETE, name: ""}, (Path(".env"),), {}, GENERATED)

    with pytest.raises(SettingError, match=rf"{name} has no value in \.env\.\n  Type: inv env"):
        settings.check()


def test_an_env_file_that_is_no_text_is_named(project: Project) -> None:
    for content in (b"A=\xff\n", b"\xff\xfeA\0", b"A=\0\n"):
        (project.root / ".env").write_bytes(content)

        reason = r"\.env cannot be read: it (is not UTF-8|has a NUL)"
        with pytest.raises(SettingError, match=reason):
            load_settings(project, {})


def test_an_env_file_from_windows_is_read(project: Project) -> None:
    (project.root / ".env").write_bytes(b"\xef\xbb\xbfPOSTGRES_DB=x\r\nDB_PORT=1\r\n")

    settings = load_settings(project, {})

    assert (settings["POSTGRES_DB"], settings["DB_PORT"]) == ("x", "1")


@pytest.mark.parametrize(
    "line", ["bad line", "A: hush", 'A="hush', "A='it'\\''s'", '\n\nA="a"b', "=hush"]
)
def test_the_error_of_a_line_without_assignment_hides_the_line(line: str, project: Project) -> None:
    """A secret in a line that is passed over would count as missing and get a new value."""
    (project.root / ".env").write_text(f"B=1\n{line}\n")

    with pytest.raises(SettingError, match=r"no assignment: line [24]\.") as caught:
        load_settings(project, {})

    assert "hush" not in str(caught.value)
    assert "inv env --check" in str(caught.value)


def test_a_line_of_another_project_that_only_compose_reads_is_no_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A: b c # yes\njust words\nCOMPOSE_PROJECT_NAME: mine\nB=1\n")

    settings = load_settings(Project(tmp_path), {})

    assert (settings["A"], settings["B"], settings[NAME]) == ("b c", "1", "mine")
    assert settings.file_of("B") == tmp_path / ".env"


def test_an_env_file_that_is_a_folder_is_named(project: Project) -> None:
    (project.root / ".env").unlink()
    (project.root / ".env").mkdir()

    with pytest.raises(SettingError, match=r"\.env cannot be read: Is a directory"):
        load_settings(project, {})


def test_every_problem_is_listed() -> None:
    values = {**COMPLETE, "SECRET_KEY": "", "DB_PORT": "x", "DEBUG": "perhaps"}
    defaults = {"DB_PORT": "5433", "DEBUG": "true"}

    problems = Settings(values, (Path(".env"),), defaults, GENERATED).problems()

    names = [(problem.name, problem.given) for problem in problems]
    assert names == [("SECRET_KEY", False), ("DB_PORT", True), ("DEBUG", True)]
