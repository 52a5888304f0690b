"""The env contract: every kind of finding, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from composed.doctor.env_check import check_env
from composed.env.settings import assignments
from composed.findings import Finding
from composed.gateway import Answer, Gateway
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import ENV, Inv

ROWS = "NAME REQUIRED DEFAULT VALUE ALTERNATE VALUE\n"


@pytest.fixture(autouse=True)
def _server(project: Project, recorder: Recorder) -> None:
    """Give the project a server that reads two settings, and Compose files that read three."""
    folder = project.root / project.source
    for path in project.settings_files:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("")
    (folder / project.settings_files[0]).write_text('env("SECRET_KEY")\nenv("DEBUG")\n')
    variables = "POSTGRES_VOLUME false\nSECRET_KEY true\nDB_PORT false 5433\n"
    recorder.on("--variables").say(ROWS + variables)
    (project.root / ".env").chmod(0o600)
    compose_reads(recorder, assignments(ENV))


def compose_reads(recorder: Recorder, values: Mapping[str, str]) -> None:
    """Prepare what Compose resolves a model of these settings to."""
    written = {name: value.replace("$", "$$") for name, value in values.items()}
    model = {"services": {"check": {"environment": written}}}
    recorder.on("--file", "-").say(json.dumps(model))


def check(project: Project, more: str = "", **environ: str) -> list[Finding]:
    """Check ``.env`` with these lines more; return what is not ``ok``."""
    file = project.root / ".env"
    if more:
        file.write_text(file.read_text() + more)
    found = check_env(project, Gateway(project.root), environ)
    return [row for row in found if row.state != "ok"]


def test_a_good_file_has_a_row_for_each_side(project: Project, recorder: Recorder) -> None:
    found = check_env(project, Gateway(project.root), {})

    assert found == [
        Finding(".env", "ok", "well-formed, private"),
        Finding("settings", "ok", "7 set, all known"),
        Finding("readings", "ok", "alike in 7 values"),
    ]
    words = ["--project-name", "check", "--file", "-", "config", "--format", "json"]
    assert recorder.asked[-1] == ["docker", "compose", "--env-file", ".env", *words]


def test_a_missing_file_is_one_row(project: Project) -> None:
    (project.root / ".env").unlink()

    assert check(project) == [Finding(".env", "wrong", "missing: there is no such file", "inv env")]


def test_a_further_env_file_that_is_missing_is_named(project: Project) -> None:
    cure = "Make it, or take it out of COMPOSE_ENV_FILES"

    found = check(project, COMPOSE_ENV_FILES=".env,more")

    assert found == [Finding("more", "wrong", "missing: there is no such file", cure)]


@pytest.mark.parametrize(
    ("lines", "row"),
    [
        (
            "SECRET_KEY=\n",
            Finding("SECRET_KEY", "wrong", "missing: it has no default", "inv env"),
        ),
        (
            "DB_PROT=1\n",
            Finding("DB_PROT", "warning", "unknown: nothing reads it", "Rename it: DB_PORT"),
        ),
        (
            "COLOUR=1\n",
            Finding(
                *("COLOUR", "warning", "unknown: nothing reads it"),
                "Remove it, or write it in .env.example",
            ),
        ),
        ("DB_PORT=\n", Finding("DB_PORT", "warning", "empty: its default counts, 5433")),
        (
            "DB_PORT=http\n",
            Finding(
                *("DB_PORT", "wrong", "malformed: it is 'http'"),
                "Valid: a port from 1 to 65535, or 0 for any.",
            ),
        ),
    ],
)
def test_a_setting_that_is_missing_unknown_empty_or_malformed(
    lines: str, row: Finding, project: Project, recorder: Recorder
) -> None:
    compose_reads(recorder, {})

    found = check(project, lines)

    assert row in found
    assert all("stands in line" in other.seen for other in found if other != row)


@pytest.mark.parametrize("name", ["SECRET_KEY_FILE", "COMPOSE_PROFILES", "COMPOSED_MODE"])
def test_these_are_known(name: str, project: Project) -> None:
    assert check(project, f"{name}=auto\n") == []


def test_all_that_is_malformed_is_listed(project: Project) -> None:
    found = check(project, "DB_PORT=x\nDEBUG=perhaps\nWEB_CONCURRENCY=0\n")

    assert [row.what for row in found] == ["DB_PORT", "DEBUG", "WEB_CONCURRENCY"]


@pytest.mark.parametrize(
    ("line", "state"),
    [
        *(
            (f"SECRET_KEY={value}\n", "wrong")
            for value in ("changeme", "<key>", "django-insecure-1")
        ),
        ("ALLOWED_HOSTS=your-host.example\n", "wrong"),
        ("POSTGRES_PASSWORD=password\n", "warning"),
        ("POSTGRES_PASSWORD=12345\n", "warning"),
    ],
)
def test_a_placeholder_is_found_and_not_shown(line: str, state: str, project: Project) -> None:
    name, _, value = line.strip().partition("=")

    (row,) = (row for row in check(project, line) if row.seen.startswith("placeholder: "))

    assert (row.what, row.state) == (name, state)
    assert value not in row.seen + row.cure.replace("password)", "")


def test_a_secret_of_the_example_is_a_placeholder(project: Project) -> None:
    text = project.example.read_text()
    project.example.write_text(text.replace("SECRET_KEY=", "SECRET_KEY=known-to-all"))

    seen = [row.seen for row in check(project, "SECRET_KEY=known-to-all\n")]

    assert "placeholder: the value of .env.example" in seen


def test_what_the_compose_files_require_has_to_be_there(
    project: Project, recorder: Recorder
) -> None:
    recorder.on("--variables").say(f"{ROWS}LICENCE true\nTOKEN true\n")

    found = check(project, LICENCE="from the process")

    assert (
        Finding(
            "TOKEN", "wrong", "missing: a Compose file requires it", "Write it in .env: TOKEN=…"
        )
        in found
    )
    assert ("LICENCE", "wrong") not in [row[:2] for row in found]


def test_what_is_read_and_not_declared_is_named(project: Project) -> None:
    file = project.root / project.source / project.settings_files[1]
    file.write_text('import os\nos.environ["DEBUGG"], os.getenv("HOME"), os.getenv("QUITE_NEW")')

    assert sorted(check(project)) == [
        Finding(
            *("DEBUGG", "warning"),
            "undeclared: gunicorn.conf.py reads it, .env.example has no such name",
            "Add it to .env.example, or is it DEBUG?",
        ),
        Finding(
            *("QUITE_NEW", "warning"),
            "undeclared: gunicorn.conf.py reads it, .env.example has no such name",
            "Add it to .env.example",
        ),
    ]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        *(("h$sh-h#sh", "a $"), ("hu\\sh", "a backslash"), ("h'sh", "a quote"), ("h#sh", "a #")),
        ('"hu\nsh"', "a quote"),
    ],
)
def test_a_value_read_differently_is_named_with_its_fault_and_not_shown(
    raw: str, fault: str, project: Project, recorder: Recorder
) -> None:
    compose_reads(recorder, {"POSTGRES_PASSWORD": "something else"})
    (project.root / ".env").write_text(ENV.replace("not-a-secret\n", f"{raw}\n"))

    found = [row for row in check(project) if "read differently" in row.seen]

    (row,) = found
    assert (row.what, row.state) == ("POSTGRES_PASSWORD", "warning")
    assert row.seen == f"read differently by Compose and python-dotenv: {fault} in its value"
    quoted = "Put it in single quotes: POSTGRES_PASSWORD='…'"
    assert row.cure == ("Use letters, digits, - and _ alone" if "h'" in raw else quoted)


def test_what_the_process_overrides_is_not_compared(project: Project, recorder: Recorder) -> None:
    check(project, POSTGRES_DB="x")

    assert "POSTGRES_DB" not in recorder.calls[-1].text
    assert "POSTGRES_USER" in recorder.calls[-1].text


def test_a_reference_that_compose_alone_resolves_is_right(
    project: Project, recorder: Recorder
) -> None:
    assert check(project, "POSTGRES_VOLUME=${COMPOSE_PROJECT_NAME}_x\n") == []
    assert "POSTGRES_VOLUME" not in recorder.calls[-1].text


def test_the_setting_that_compose_refuses_is_found(project: Project, recorder: Recorder) -> None:
    refusal = Answer(1, "", 'level=warning\nfailed to read /x/.env: Invalid template: "h${sh"')
    recorder.on("--file", "-").give(refusal)
    recorder.on("/dev/null", "config").give(refusal)

    found = check(project, "EXTRA_KEY=h${sh\n")

    seen = "malformed: Compose refuses the $ in its value"
    assert Finding("EXTRA_KEY", "wrong", seen, "Put it in single quotes: EXTRA_KEY='…'") in found
    assert recorder.calls[-1].text == "EXTRA_KEY=h${sh\n"
    assert "h${sh" not in str(found)


def test_a_refusal_without_a_reason_found_is_told(project: Project, recorder: Recorder) -> None:
    recorder.on("--file", "-").say(code=1, err="failed to read /x/.env: hush")

    (row,) = check(project)

    assert row[:3] == ("readings", "wrong", "malformed: Compose refuses the files")


def test_without_docker_the_rest_is_checked(project: Project, recorder: Recorder) -> None:
    recorder.on("docker").say(code=127)

    found = check_env(project, Gateway(project.root), {})

    assert [(row.what, row.state) for row in found] == [
        (".env", "ok"),
        ("settings", "ok"),
        ("Compose files", "ok"),
    ]


@pytest.mark.parametrize(
    ("lines", "row"),
    [
        ("\nbad line\n", Finding(".env, line 9", "wrong", "malformed: no assignment", "…")),
        ('A="hush\n', Finding(".env, line 8", "wrong", "malformed: no assignment", "…")),
        ("DEBUG\n", Finding(".env, line 8", "warning", "malformed: DEBUG without =", "…")),
        ("POSTGRES_DB=x\n", Finding(".env, line 8", "warning", "POSTGRES_DB stands in line 4", "")),
        ("a-b=1\n", Finding(".env, line 8", "warning", "malformed: no Compose file can", "")),
        ("DEBUG=1\r\n", Finding(".env", "warning", "lines end with a carriage return", "")),
    ],
)
def test_a_line_that_is_odd_is_named(lines: str, row: Finding, project: Project) -> None:
    file = project.root / ".env"
    file.write_bytes(file.read_bytes() + lines.encode())

    found = [(f.what, f.state, f.seen[: len(row.seen)]) for f in check(project)]

    assert row[:3] in found
    assert "hush" not in str(found)


def test_a_byte_order_mark_is_named_and_does_no_harm(project: Project) -> None:
    file = project.root / ".env"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert [row.seen for row in check(project)] == ["begins with a byte order mark"]


def test_a_file_that_others_can_read_is_named(project: Project) -> None:
    file = project.root / ".env"
    file.chmod(0o640)

    assert check(project) == [
        Finding(".env", "warning", "readable by others: 0640", f"chmod 600 {file}")
    ]


@pytest.mark.parametrize(
    ("out", "state", "seen"),
    [
        ("H .env\n", "wrong", "tracked by git, with its secrets"),
        ("? .env\n", "warning", "git does not ignore it"),
    ],
)
def test_git_must_not_have_it(
    out: str, state: str, seen: str, project: Project, recorder: Recorder
) -> None:
    recorder.on("git", "ls-files").say(out)

    assert [row[1:3] for row in check(project)] == [(state, seen)]


@pytest.mark.parametrize("content", [b"A=\xff\n", b"A=\0\n"])
def test_a_file_that_is_no_text_is_one_row(content: bytes, project: Project) -> None:
    (project.root / ".env").write_bytes(content)

    (row,) = check(project)

    assert (row.what, row.state, row.cure) == (".env", "wrong", "Save it as plain UTF-8.")


def test_an_example_that_is_no_text_is_one_row(project: Project) -> None:
    project.example.write_bytes(b"\xff")

    assert [row.what for row in check(project)] == [".env.example"]


def test_the_verb_shows_a_table_and_fails_for_what_is_wrong(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("env", "--check") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["CHECK", "STATE", "SEEN", "TYPE"]

    (project.root / ".env").unlink()
    assert inv("env", "--check") == 78
    assert not (project.root / ".env").exists()


def test_the_verb_prints_json(
    inv: Inv, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("env", "--check", "--json") == 0

    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["findings"][0].keys() == {"what", "state", "seen", "cure"}


def test_json_alone_is_64(inv: Inv, capsys: pytest.CaptureFixture[str]) -> None:
    assert inv("env", "--json") == 64
    assert "Type: inv env --check --json" in capsys.readouterr().err


def test_a_file_from_last_year_needs_nothing_by_hand(
    inv: Inv, project: Project, recorder: Recorder
) -> None:
    compose_reads(recorder, {})
    file = project.root / ".env"
    file.write_text("SECRET_KEY=kept-from-last-year\nPOSTGRES_PASSWORD=kept-too\nDJANGO_PORT=1\n")
    file.chmod(0o600)
    assert inv("env", "--check") == 78

    assert inv("env") == 0

    assert "SECRET_KEY=kept-from-last-year\nPOSTGRES_PASSWORD=kept-too\n" in file.read_text()
    assert [(row.what, row.state) for row in check(project)] == [("DJANGO_PORT", "warning")]


def test_a_project_without_an_example_is_told_so(project: Project) -> None:
    project.example.unlink()

    (row,) = (row for row in check(project) if row.what == ".env.example")

    assert row[1:3] == ("warning", "missing: nothing says which settings there are")
