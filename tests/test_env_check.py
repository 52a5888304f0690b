"""The env contract: every kind of finding, for people and for programs."""

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
    """Prepare the model that Compose resolves with these settings."""
    written = {name: value.replace("$", "$$") for name, value in values.items()}
    recorder.on("--file", "-").say(json.dumps({"services": {"check": {"environment": written}}}))


def check(project: Project, more: str = "", **environ: str) -> list[Finding]:
    """Add these lines to ``.env`` and check; return the findings that are not ``ok``."""
    if more:
        with (project.root / ".env").open("a", newline="") as env:
            env.write(more)
    rows = check_env(project, Gateway(project.root), environ)
    return [row for row in rows if row.state != "ok"]


def test_a_good_file_has_a_finding_for_each_part(project: Project, recorder: Recorder) -> None:
    assert check_env(project, Gateway(project.root), {}) == [
        Finding(".env", "ok", "well-formed, private"),
        Finding("settings", "ok", "7 set, all known"),
        Finding("readings", "ok", "alike in 7 values"),
    ]
    words = ["--project-name", "check", "--file", "-", "config", "--format", "json"]
    assert recorder.asked[-1] == ["docker", "compose", "--env-file", ".env", *words]


def test_a_foreign_project_needs_no_env_file(project: Project, recorder: Recorder) -> None:
    recorder.on("--variables").say()
    compose_reads(recorder, {})
    (project.root / ".env").unlink()
    project.example.write_text("A=1\n")

    found = [Finding("settings", "ok", "there is no .env here")]
    assert check_env(Project.at(project.root), Gateway(project.root), {}) == found


def test_a_missing_file_is_the_only_finding(project: Project) -> None:
    seen, cure = "missing: there is no such file", "Make it, or take it out of COMPOSE_ENV_FILES"
    assert check(project, COMPOSE_ENV_FILES=".env,more") == [Finding("more", "wrong", seen, cure)]

    (project.root / ".env").unlink()
    assert check(project) == [Finding(".env", "wrong", seen, "inv env")]


@pytest.mark.parametrize(
    ("line", "state", "seen", "cure"),
    [
        ("SECRET_KEY=", "wrong", "missing: it has no default", "inv env"),
        ("DB_PROT=1", "warning", "unknown: nothing reads it", "Rename it: DB_PORT"),
        ("C=1", "warning", "unknown: nothing reads it", "Remove it, or write it in .env.example"),
        ("DB_PORT=", "warning", "empty: the default 5433 counts", ""),
        (
            *("DB_PORT=http", "wrong", "malformed: it is 'http'"),
            "Valid: a port from 1 to 65535, or 0 for any.",
        ),
    ],
)
def test_a_setting_that_is_missing_unknown_empty_or_malformed(
    line: str, state: str, seen: str, cure: str, project: Project, recorder: Recorder
) -> None:
    compose_reads(recorder, {})

    rows = check(project, f"{line}\n")

    row = (line.partition("=")[0], state, seen, cure)
    assert row in rows
    assert all("is set in line" in further.seen for further in rows if further != row)


@pytest.mark.parametrize("name", ["SECRET_KEY_FILE", "COMPOSE_PROFILES", "COMPOSED_MODE"])
def test_these_settings_are_known(name: str, project: Project) -> None:
    assert check(project, f"{name}=auto\n") == []


def test_every_malformed_setting_is_listed(project: Project) -> None:
    rows = check(project, "DB_PORT=x\nDEBUG=perhaps\nWEB_CONCURRENCY=0\n")

    assert [row.what for row in rows] == ["DB_PORT", "DEBUG", "WEB_CONCURRENCY"]


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        *(("SECRET_KEY", value, "wrong") for value in ("changeme", "<key>", "django-insecure-1")),
        ("ALLOWED_HOSTS", "your-host.example", "wrong"),
        *(("POSTGRES_PASSWORD", value, "warning") for value in ("password", "12345")),
    ],
)
def test_a_placeholder_is_only_named(name: str, value: str, state: str, project: Project) -> None:
    rows = check(project, f"{name}={value}\n")

    (row,) = (row for row in rows if row.seen.startswith("placeholder: "))
    assert (row.what, row.state) == (name, state)
    assert value not in row.seen + row.cure.replace("password)", "")


@pytest.mark.parametrize("key", ["short", "0123456789" * 3, "ab" * 40])
def test_a_key_that_the_server_refuses_is_wrong(key: str, project: Project) -> None:
    (project.root / ".env").write_text(ENV.replace("not-a-secret-either-and-long-enough", key))

    (row,) = [row for row in check(project) if row.state == "wrong"]

    assert (row.what, row.seen.split(":")[0]) == ("SECRET_KEY", "weak")
    assert key not in row.seen + row.cure


def test_a_secret_of_the_example_is_a_placeholder(project: Project) -> None:
    text = project.example.read_text()
    project.example.write_text(text.replace("SECRET_KEY=", "SECRET_KEY=known-to-all"))

    seen = [row.seen for row in check(project, "SECRET_KEY=known-to-all\n")]

    assert "placeholder: the value of .env.example" in seen


def test_a_setting_required_by_compose_needs_a_value(project: Project, recorder: Recorder) -> None:
    recorder.on("--variables").say(f"{ROWS}LICENCE true\nTOKEN true\n")

    rows = check(project, LICENCE="from the process")

    seen, cure = "missing: a Compose file requires it", "Write it in .env: TOKEN=…"
    assert Finding("TOKEN", "wrong", seen, cure) in rows
    assert ("LICENCE", "wrong") not in [row[:2] for row in rows]


def test_a_setting_that_is_read_and_not_declared_is_named(project: Project) -> None:
    file = project.root / project.source / project.settings_files[1]
    file.write_text('import os\nos.environ["DEBUGG"], os.getenv("HOME"), os.getenv("QUITE_NEW")')

    seen = "undeclared: gunicorn.conf.py reads it, .env.example has no such name"
    assert sorted(check(project)) == [
        Finding("DEBUGG", "warning", seen, "Add it to .env.example, or is it DEBUG?"),
        Finding("QUITE_NEW", "warning", seen, "Add it to .env.example"),
    ]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        *(("h$sh-h#sh", "a $"), ("hu\\sh", "a backslash"), ("h'sh", "a quote"), ("h#sh", "a #")),
        ('"hu\nsh"', "a quote"),
    ],
)
def test_a_value_read_differently_is_named_with_the_fault_and_not_shown(
    raw: str, fault: str, project: Project, recorder: Recorder
) -> None:
    compose_reads(recorder, {"POSTGRES_PASSWORD": "something else"})
    (project.root / ".env").write_text(ENV.replace("not-a-secret\n", f"{raw}\n"))

    (row,) = (row for row in check(project) if "read differently" in row.seen)

    assert (row.what, row.state) == ("POSTGRES_PASSWORD", "warning")
    assert row.seen == f"read differently by Compose and python-dotenv: {fault} in its value"
    quoted = "Put it in single quotes: POSTGRES_PASSWORD='…'"
    assert row.cure == ("Use letters, digits, - and _ alone" if "h'" in raw else quoted)


def test_settings_in_the_environment_are_not_compared(project: Project, recorder: Recorder) -> None:
    check(project, POSTGRES_DB="x")

    assert "POSTGRES_DB" not in recorder.calls[-1].text
    assert "POSTGRES_USER" in recorder.calls[-1].text


def test_a_reference_that_compose_resolves_is_right(project: Project, recorder: Recorder) -> None:
    assert check(project, "POSTGRES_VOLUME=${COMPOSE_PROJECT_NAME}_x\n") == []
    assert "POSTGRES_VOLUME" not in recorder.calls[-1].text


def test_a_setting_that_compose_refuses_is_named(project: Project, recorder: Recorder) -> None:
    refusal = Answer(1, "", 'level=warning\nfailed to read /x/.env: Invalid template: "h${sh"')
    recorder.on("--file", "-").give(refusal)
    recorder.on("/dev/null", "config").give(refusal)

    rows = check(project, "EXTRA_KEY=h${sh\n")

    seen = "malformed: Compose refuses the $ in its value"
    assert Finding("EXTRA_KEY", "wrong", seen, "Put it in single quotes: EXTRA_KEY='…'") in rows
    assert recorder.calls[-1].text == "EXTRA_KEY=h${sh\n"
    assert "h${sh" not in str(rows)


def test_a_refusal_of_unknown_cause_is_reported(project: Project, recorder: Recorder) -> None:
    recorder.on("--file", "-").say(code=1, err="failed to read /x/.env: hush")

    (row,) = check(project)

    assert row[:3] == ("readings", "wrong", "malformed: Compose refuses the files")


def test_without_docker_the_rest_is_checked(project: Project, recorder: Recorder) -> None:
    recorder.on("docker").say(code=127)

    rows = check_env(project, Gateway(project.root), {})

    names = (".env", "settings", "Compose files")
    assert [(row.what, row.state) for row in rows] == [(name, "ok") for name in names]


@pytest.mark.parametrize(
    ("text", "what", "state", "seen"),
    [
        ("\nbad line\n", ".env, line 9", "wrong", "malformed: no assignment"),
        ('A="hush\n', ".env, line 8", "wrong", "malformed: no assignment"),
        ("DEBUG\n", ".env, line 8", "warning", "malformed: DEBUG without ="),
        ("POSTGRES_DB=x\n", ".env, line 8", "warning", "POSTGRES_DB is set in line 4"),
        ("a-b=1\n", ".env, line 8", "warning", "malformed: no Compose file can"),
        ("DEBUG=1\r\n", ".env", "warning", "lines end with a carriage return"),
    ],
)
def test_odd_lines_are_named(text: str, what: str, state: str, seen: str, project: Project) -> None:
    rows = [(row.what, row.state, row.seen[: len(seen)]) for row in check(project, text)]

    assert (what, state, seen) in rows
    assert "hush" not in str(rows)


def test_a_byte_order_mark_is_named_and_does_no_harm(project: Project) -> None:
    file = project.root / ".env"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert [row.seen for row in check(project)] == ["begins with a byte order mark"]


def test_a_file_that_others_can_read_is_named(project: Project) -> None:
    file = project.root / ".env"
    file.chmod(0o640)

    seen, cure = "readable by others: 0640", f"chmod 600 {file}"
    assert check(project) == [Finding(".env", "warning", seen, cure)]


@pytest.mark.parametrize(
    ("out", "state", "seen"),
    [
        ("H .env\n", "wrong", "tracked by git, with its secrets"),
        ("? .env\n", "warning", "git does not ignore it"),
    ],
)
def test_git_must_not_have_the_file(
    out: str, state: str, seen: str, project: Project, recorder: Recorder
) -> None:
    recorder.on("git", "ls-files").say(out)

    assert [row[1:3] for row in check(project)] == [(state, seen)]


@pytest.mark.parametrize(
    ("name", "content"),
    [(".env", b"A=\xff\n"), (".env", b"A=\0\n"), (".env.example", b"COMPOSE_PROJECT_NAME=\n\xff")],
)
def test_a_binary_file_is_the_only_finding(name: str, content: bytes, project: Project) -> None:
    (project.root / name).write_bytes(content)

    (row,) = check(project)

    assert (row.what, row.state, row.cure) == (name, "wrong", "Save it as plain UTF-8.")


def test_the_verb_prints_a_table_and_fails_for_a_fault(inv: Inv, project: Project) -> None:
    assert inv("env", "--check") == 0
    assert inv.out().splitlines()[0].split() == ["CHECK", "STATE", "SEEN", "TYPE"]

    (project.root / ".env").unlink()
    assert inv("env", "--check") == 78
    assert not (project.root / ".env").exists()


def test_the_verb_prints_json(inv: Inv) -> None:
    assert inv("env", "--check", "--json") == 0

    report = json.loads(inv.out())
    assert report["ok"] is True
    assert report["findings"][0].keys() == {"what", "state", "seen", "cure"}


def test_json_without_check_is_64(inv: Inv) -> None:
    assert inv("env", "--json") == 64
    assert "Type: inv env --check --json" in inv.err()


def test_inv_env_mends_an_old_file(inv: Inv, project: Project, recorder: Recorder) -> None:
    compose_reads(recorder, {})
    file = project.root / ".env"
    file.write_text(
        "SECRET_KEY=kept-from-last-year-and-the-year-before\nPOSTGRES_PASSWORD=kept-too\nDJANGO_PORT=1\n"
    )
    file.chmod(0o600)
    assert inv("env", "--check") == 78

    assert inv("env") == 0

    assert (
        "SECRET_KEY=kept-from-last-year-and-the-year-before\nPOSTGRES_PASSWORD=kept-too\n"
        in file.read_text()
    )
    assert [(row.what, row.state) for row in check(project)] == [("DJANGO_PORT", "warning")]


@pytest.mark.parametrize(
    ("line", "reads", "fault"),
    [
        ('UPLOAD="direct" # or other', True, "a quote"),
        ("UPLOAD=direct # or other", True, "a #"),
        ('UPLOAD="direct"', True, ""),
        ("UPLOAD=direct", True, ""),
        ('UPLOAD="direct" # or other', False, ""),
    ],
)
def test_a_value_that_django_environ_reads_in_a_third_way_is_a_finding(
    line: str, reads: bool, fault: str, project: Project
) -> None:
    call = "environ.Env().read_env()" if reads else ""
    (project.root / "server/task_api/settings.py").write_text(f"import environ\n{call}\n")

    rows = [row for row in check(project, f"{line}\n") if "django-environ" in row.seen]

    assert [row.seen for row in rows] == (
        [f"read differently by django-environ: {fault} in its value"] if fault else []
    )
