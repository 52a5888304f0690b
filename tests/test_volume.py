"""What the volume and the settings have in common, against a recorder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from composed.data.psql import Psql
from composed.docker.volume import volume
from composed.docker.volume.credentials import Misfit, Server
from composed.docker.volume.upgrade import DATABASES, _Server
from composed.docker.volume.volume import Volume
from composed.env.file import with_value
from composed.env.settings import assignments
from composed.gateway import Answer, Gateway
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import DB_ROW, DC, PS_ROW, RAW, Inv, model, ps_answer

LOGIN = (
    f"{DC} exec --no-TTY --env PGPASSWORD db psql --no-psqlrc --host db --username cp_user "
    "--no-password --dbname task_db --command SELECT 1"
)
LOOK = (
    "docker run --rm --network none --user 0:0 --volume shop_db-data:/volume:ro --entrypoint sh "
    "postgres:15 -c"
)
REFUSED = Answer(2, "", 'FATAL:  password authentication failed for user "cp_user"\n')
NO_ROLE = Answer(2, "", 'FATAL:  role "cp_user" does not exist\n')
FIFTEEN = "postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n15\n"
FACTS = '["version", "15.18"]\n["rows", "public.a", 3]\n["end", ""]\n'

TO_17: dict[str, Any] = {
    "Env": ["PGDATA=/var/lib/postgresql/data"],
    "Volumes": {"/var/lib/postgresql/data": {}},
}
FROM_18: dict[str, Any] = {
    "Env": ["PG_MAJOR=18", "PGDATA=/var/lib/postgresql/18/docker"],
    "Volumes": {"/var/lib/postgresql": {}},
}


def configured(name: str, image: str, mount: str = "/var/lib/postgresql/data") -> str:
    """Return a model whose database has this volume and image."""
    found: dict[str, Any] = json.loads(model(backend=0, db=0))
    found["services"]["db"] |= {
        "image": image,
        "volumes": [{"type": "volume", "source": "db-data", "target": mount}],
        "environment": {
            "POSTGRES_USER": "cp_user",
            "POSTGRES_DB": "task_db",
            "POSTGRES_PASSWORD": "not$$a$$secret",
        },
    }
    found["volumes"] = {"db-data": {"name": name}}
    return json.dumps(found)


def raw() -> str:
    found = json.loads(json.dumps(RAW))
    found["services"]["db"] |= {
        "image": "${POSTGRES_IMAGE:-postgres:15}",
        # As Compose 2.26 has it, cut short at a colon.
        "volumes": [{"type": "volume", "source": "db-data", "target": "${POSTGRES_MOUNT"}],
        "environment": {
            "POSTGRES_USER": "${DB_USER}",
            "POSTGRES_DB": "${POSTGRES_DB:-task_db}",
            "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?type inv env}",
        },
    }
    found["volumes"] = {"db-data": {"name": "${POSTGRES_VOLUME:-x}"}}
    return json.dumps(found)


@pytest.fixture(autouse=True)
def server(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A volume of PostgreSQL 15 that fits."""
    recorder.on(".env", "config", "--format").say(configured("shop_db-data", "postgres:15"))
    recorder.on("config", "--no-interpolate").say(raw())
    recorder.on("image", "inspect", "--format", "{{json .Config}}").say(json.dumps(TO_17))
    recorder.on("docker", "run").say(FIFTEEN)
    recorder.on("--no-psqlrc", "--quiet").say("postgres\ntask_db\n")
    recorder.on("image", "inspect", "--format", "json").say("[]")
    return recorder


# --- looking -----------------------------------------------------------------


def test_what_fits_is_looked_at_once_and_written_down(
    inv: Inv, recorder: Recorder, project: Project
) -> None:
    assert inv("up") == 0
    first = recorder.lines("ask")
    assert sum(line.startswith(LOOK) for line in first) == 1
    assert LOGIN in first
    assert recorder.ran[0][4:] == ["up", "--detach", "--wait", "db"]

    recorder.calls.clear()
    recorder.calls.clear()
    assert inv("up") == 0

    assert not any("docker run" in line or "psql" in line for line in recorder.lines("ask"))
    assert [argv[4:6] for argv in recorder.ran] == [["up", "--detach"]]
    record = project.root / ".composed/shop/volume.json"
    assert record.stat().st_mode & 0o777 == 0o600
    assert "not$a$secret" not in record.read_text()


def test_the_password_is_in_no_argument_list(inv: Inv, recorder: Recorder) -> None:
    recorder.on("--env", "PGPASSWORD").give(REFUSED)
    inv("up")
    inv("db.credentials")

    every = [*recorder.asked, *recorder.ran, *recorder.piped]
    assert not any("not$a$secret" in word for argv in every for word in argv)


def test_a_volume_that_is_not_there_yet_fits(inv: Inv, recorder: Recorder) -> None:
    recorder.on("volume", "inspect").say("[]", code=1, err="no such volume")

    assert inv("up") == 0

    assert not any("docker run" in line or "psql" in line for line in recorder.lines("ask"))


def test_an_image_that_is_not_here_is_pulled_on_the_terminal(inv: Inv, recorder: Recorder) -> None:
    recorder.on("image", "inspect", "--format", "{{json .Config}}").say(code=1, err="No such image")

    assert inv("up") == 0

    assert recorder.ran[0][4:] == ["pull", "db"]


def test_a_dry_run_looks_at_nothing(inv: Inv, recorder: Recorder) -> None:
    assert inv("--dry", "up") == 0

    assert not any("docker run" in line for line in recorder.lines("ask"))


def test_for_the_databases_own_programs_no_password_is_needed(inv: Inv, recorder: Recorder) -> None:
    assert inv("up", "--service", "db") == 0

    assert LOGIN not in recorder.lines("ask")


def test_django_in_a_container_of_its_own_needs_it(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("ps", "--all").say(ps_answer(PS_ROW, {**DB_ROW, "Health": "starting"}))
    recorder.on("--env", "PGPASSWORD").give(REFUSED)

    assert inv("up", "--service", "db") == 75
    recorder.on("ps", "--all").say(ps_answer())
    assert inv("manage", "--", "check") == 78

    assert "inv db.credentials" in capsys.readouterr().err


# --- versions and layouts ----------------------------------------------------


@pytest.mark.parametrize(
    ("image", "major", "ways"),
    [("postgres:17", 17, ["Move the data: inv db.upgrade"]), ("postgres:14", 14, [])],
)
def test_another_major_version_is_refused_before_anything_starts(
    image: str,
    major: int,
    ways: list[str],
    inv: Inv,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorder.on(".env", "config", "--format").say(configured("shop_db-data", image))
    recorder.on("docker", "run").say(f"postgres (PostgreSQL) {major}.1\n15\n")

    assert inv("up") == 78

    assert recorder.ran == []
    said = capsys.readouterr().err
    assert (
        f"Volume shop_db-data holds data of PostgreSQL 15; POSTGRES_IMAGE is {image}, which is "
        f"{major}.\n"
    ) in said
    lines = [*ways, "Stay where it is: write POSTGRES_IMAGE=postgres:15 into .env"]
    assert "".join(f"\n  {line}" for line in lines) in said


@pytest.mark.parametrize("said", ["", "postgres (PostgreSQL) 15.1\n", "15\n"])
def test_what_cannot_be_told_is_left_to_postgresql(said: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("docker", "run").say(said)

    assert inv("up") == 0


@pytest.mark.parametrize(
    ("config", "mount", "fitting"),
    [
        (TO_17, "/var/lib/postgresql/data", "/var/lib/postgresql/data"),
        (TO_17, "/var/lib/postgresql", "/var/lib/postgresql/data"),
        (FROM_18, "/var/lib/postgresql", "/var/lib/postgresql"),
        (FROM_18, "/var/lib/postgresql/data", "/var/lib/postgresql"),
        (
            {**FROM_18, "Env": [*FROM_18["Env"], "PGDATA=/var/lib/postgresql/data/own"]},
            "/var/lib/postgresql/data",
            "/var/lib/postgresql/data",
        ),
        ({}, "/data", "/data"),
        ({"Volumes": {"/data": {}}}, "/elsewhere", "/elsewhere"),
    ],
)
def test_a_mount_is_where_the_image_keeps_its_data(
    config: dict[str, Any], mount: str, fitting: str
) -> None:
    assert volume.mount_for(config, mount) == fitting


def test_a_mount_beside_the_data_is_refused(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("image", "inspect", "--format", "{{json .Config}}").say(json.dumps(FROM_18))

    assert inv("up") == 78

    assert "  Write POSTGRES_MOUNT=/var/lib/postgresql into .env\n" in capsys.readouterr().err


def test_the_look_finds_the_data_of_every_layout(recorder: Recorder) -> None:
    found = volume.versions(Gateway(Path()), Volume("v", "/m", "i"))

    assert found == (15, 15)
    assert "cat PG_VERSION */PG_VERSION */docker/PG_VERSION" in recorder.asked[-1][-1]


# --- credentials -------------------------------------------------------------

WAYS = "inv down --volumes && inv up && inv db.restore --latest\n"


@pytest.mark.parametrize(
    ("answers", "problem", "before"),
    [
        (
            {"--env PGPASSWORD": REFUSED},
            "POSTGRES_PASSWORD is not the one of cp_user in volume shop_db-data.\n"
            "  Write the old one into .env: POSTGRES_PASSWORD=…\n",
            "",
        ),
        (
            {
                "--env PGPASSWORD": REFUSED,
                "--no-psqlrc --quiet": Answer(0, "postgres\nold\ntest_old\n", ""),
            },
            "POSTGRES_DB is 'task_db': there is no such database in volume shop_db-data.\n"
            "  Write the old one into .env: POSTGRES_DB=old\n",
            "POSTGRES_DB=old ",
        ),
        (
            {"--env PGPASSWORD": REFUSED, "--no-psqlrc --quiet": NO_ROLE},
            "DB_USER is 'cp_user': there is no such user in volume shop_db-data.\n"
            "  Write the old one into .env: DB_USER=…\n",
            "DB_USER=… POSTGRES_DB=… ",
        ),
    ],
)
def test_credentials_that_do_not_fit_end_up_with_all_ways_out(
    answers: dict[str, Answer],
    problem: str,
    before: str,
    inv: Inv,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, answer in answers.items():
        recorder.on(*words.split()).give(answer)

    assert inv("up") == 78

    said = capsys.readouterr().err
    assert problem in said
    assert "  Or change the volume's to the one in .env: inv db.credentials\n" in said
    assert f"  Or make the volume anew, and bring the data back: {before}{WAYS}" in said
    assert [argv[4:] for argv in recorder.ran] == [["up", "--detach", "--wait", "db"]]


def test_credentials_in_list_form_are_named_by_their_settings(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    written = json.loads(raw())
    environment = written["services"]["db"]["environment"]
    written["services"]["db"]["environment"] = [f"{n}={v}" for n, v in environment.items()]
    recorder.on("config", "--no-interpolate").say(json.dumps(written))
    recorder.on("--env", "PGPASSWORD").give(REFUSED)
    recorder.on("--no-psqlrc", "--quiet").give(NO_ROLE)

    assert inv("up") == 78

    assert "DB_USER is 'cp_user': there is no such user in" in capsys.readouterr().err


def test_names_that_fitted_before_are_named(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("up") == 0
    changed = configured("shop_db-data", "postgres:15").replace('"cp_user"', '"anna"')
    recorder.on(".env", "config", "--format").say(changed)
    recorder.on("--no-psqlrc", "--quiet").give(NO_ROLE)
    recorder.on("--env", "PGPASSWORD").give(REFUSED)

    assert inv("up") == 78

    assert f"DB_USER=cp_user POSTGRES_DB=task_db {WAYS}" in capsys.readouterr().err


def test_a_login_that_fails_for_another_reason_is_no_verdict(inv: Inv, recorder: Recorder) -> None:
    recorder.on("--env", "PGPASSWORD").say(code=2, err="could not translate host name")

    assert inv("up") == 0
    assert inv("db.credentials") == 0


def mend(monkeypatch: pytest.MonkeyPatch, *wrong: Any) -> None:
    """Answer as a server does that is changed: what was wrong is right after each step."""
    left = [Misfit(name, ("postgres", "old")) for name in wrong]
    monkeypatch.setattr(Server, "misfit", lambda _: left.pop(0) if left else None)


def test_the_password_goes_through_stdin_and_not_into_the_log(
    inv: Inv,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mend(monkeypatch, "POSTGRES_PASSWORD")

    assert inv("db.credentials") == 0

    (script,) = recorder.fed
    assert "ALTER ROLE \"cp_user\" WITH LOGIN PASSWORD 'not$a$secret';" in script
    assert script.index("log_statement = 'none'") < script.index("ALTER ROLE")
    assert capsys.readouterr().out == (
        "The password of cp_user is the one in .env now.\n  Type: inv up\n"
    )


def test_user_and_database_are_renamed(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend(monkeypatch, "POSTGRES_USER", "POSTGRES_DB")
    recorder.on("--username", "composed_credentials").say("old_user\n")

    assert inv("db.credentials") == 0

    assert recorder.ran[0][4:] == ["stop", "db"]
    single = f"{DC} run --rm --no-deps --no-TTY --label composed.call=CALL db postgres --single"
    assert recorder.lines("pipe")[0] == f"{single} postgres"
    assert recorder.fed[0].endswith("CREATE ROLE composed_credentials SUPERUSER LOGIN\n")
    assert recorder.fed[2:] == [
        'ALTER ROLE "old_user" RENAME TO "cp_user";',
        "DROP ROLE IF EXISTS composed_credentials;",
        'ALTER DATABASE "old" WITH ALLOW_CONNECTIONS false;\n'
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'old';\n"
        'ALTER DATABASE "old" RENAME TO "task_db";\n'
        'ALTER DATABASE "task_db" WITH ALLOW_CONNECTIONS true;\n',
    ]


def test_a_rename_that_fails_takes_the_helper_back(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend(monkeypatch, "POSTGRES_USER")
    answers = iter([Answer(0, "old_user\n", ""), Answer(1, "", "cp_user exists\n")])
    recorder.on("--username", "composed_credentials").do(lambda _: next(answers))

    assert inv("db.credentials") == 74

    dropping = recorder.fed.index("DROP ROLE IF EXISTS composed_credentials;")
    assert "--username old_user" in recorder.lines("pipe")[dropping]


def test_which_of_several_databases_is_not_guessed(
    inv: Inv,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorder.on("--no-psqlrc", "--quiet").say("a\nb\npostgres\n")
    recorder.on("--env", "PGPASSWORD").give(REFUSED)

    assert inv("db.credentials") == 78

    assert "There are: a, b, postgres. Write one into .env" in capsys.readouterr().err
    assert recorder.piped == []


def test_what_still_does_not_fit_is_said(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend(monkeypatch, *["POSTGRES_PASSWORD"] * 9)

    assert inv("db.credentials") == 74


# --- upgrade -----------------------------------------------------------------


@pytest.fixture
def newer(recorder: Recorder) -> Recorder:
    """A volume of 15, and an image of 17."""

    def model_of(call: Call) -> Answer:
        env = {"POSTGRES_VOLUME": "shop_db-data", "POSTGRES_IMAGE": "postgres:17"} | call.env
        mount = env.get("POSTGRES_MOUNT", "/var/lib/postgresql/data")
        return Answer(0, configured(env["POSTGRES_VOLUME"], env["POSTGRES_IMAGE"], mount), "")

    recorder.on(".env", "config", "--format").do(model_of)
    recorder.on("volume", "inspect", "shop_db-data-17").say(code=1, err="no such volume")
    recorder.on("--entrypoint", "sh", "postgres:17").say("postgres (PostgreSQL) 17.1\n15\n")
    recorder.on("run", "--detach").say("c1\n")
    recorder.on("pg_dumpall").say("\\restrict x\nCREATE ROLE cp_user;\nALTER ROLE cp_user;\n")
    recorder.on("--dbname", "task_db").say(FACTS)
    recorder.on("--dbname", "postgres").say()
    recorder.on("pg_dump").say("the dump")
    return recorder


def databases(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    original = Psql.sql

    def sql(self: Psql, script: str, database: str = "postgres") -> str:
        rows = original(self, script, database)
        return "\n".join(names) if script == DATABASES else rows

    monkeypatch.setattr(Psql, "sql", sql)
    monkeypatch.setattr(_Server, "contents", lambda _self, _name: ({"public.a": 3}, "s 1"))


def test_an_upgrade_copies_each_database_and_names_the_new_volume(
    inv: Inv,
    newer: Recorder,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    databases(newer, monkeypatch, "postgres", "task_db")

    assert inv("db.upgrade") == 0

    commands = [call for call in newer.calls if "config" not in call.argv]
    started = [call.env for call in commands if "POSTGRES_VOLUME" in call.env]
    assert started == [
        {
            "POSTGRES_VOLUME": "shop_db-data",
            "POSTGRES_MOUNT": "/var/lib/postgresql/data",
            "POSTGRES_IMAGE": "postgres:15",
        },
        {
            "POSTGRES_VOLUME": "shop_db-data-17",
            "POSTGRES_MOUNT": "/var/lib/postgresql/data",
            "POSTGRES_IMAGE": "postgres:17",
        },
    ]
    assert [argv[4:] for argv in newer.ran] == [["stop"]]
    inside = "docker exec --interactive c1"
    lines = newer.lines("pipe")
    restore = f"{inside} pg_restore --username cp_user --exit-on-error --dbname postgres"
    assert [line for line in lines if "pg_restore" in line] == [restore, f"{restore} --create"]
    assert any("DO $do$ BEGIN CREATE ROLE cp_user; EXCEPTION" in script for script in newer.fed)
    assert not any("restrict" in script for script in newer.fed)
    values = assignments((project.root / ".env").read_text())
    assert values["POSTGRES_VOLUME"] == "${COMPOSE_PROJECT_NAME}_db-data-17"
    assert values["POSTGRES_IMAGE"] == "postgres:17"
    assert "POSTGRES_MOUNT" not in values
    assert "docker volume rm shop_db-data\n" in capsys.readouterr().out
    assert not any(line.startswith("docker volume rm") for line in newer.lines("ask"))


def test_to_18_the_mount_changes_too(
    inv: Inv, newer: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases(newer, monkeypatch, "task_db")
    newer.on("{{json .Config}}", "postgres:17").say(json.dumps(FROM_18))

    assert inv("db.upgrade") == 0

    values = assignments((project.root / ".env").read_text())
    assert values["POSTGRES_MOUNT"] == "/var/lib/postgresql"


@pytest.mark.parametrize("program", ["pg_restore", "pg_dump"])
def test_a_copy_that_fails_leaves_the_settings(
    program: str,
    inv: Inv,
    newer: Recorder,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (project.root / ".env").read_text()
    databases(newer, monkeypatch, "task_db")
    newer.on(program).say(code=1, err="disk full\n")

    assert inv("db.upgrade") == 74

    problem = f"{program} ended with 1; the old volume stays:\n  disk full\n"
    assert problem in capsys.readouterr().err
    assert (project.root / ".env").read_text() == before
    assert "docker volume rm shop_db-data-17" in newer.lines("ask")
    assert list((project.root / ".composed/shop/upgrades").iterdir()) == []


def test_a_difference_stops_it(
    inv: Inv, newer: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases(newer, monkeypatch, "task_db")
    counts = iter(range(9))
    monkeypatch.setattr(
        "composed.docker.volume.upgrade._Server.contents", lambda *_: ({"a": next(counts)}, "")
    )

    assert inv("db.upgrade") == 65


def test_a_volume_in_use_is_not_upgraded(
    inv: Inv, newer: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    newer.on("ps", "--quiet", "--filter", "volume=shop_db-data").say("c8\nc9\n")
    newer.on("docker", "inspect", "--format", "…", "c8", "c9").say("\nother-db-1\n")

    assert inv("db.upgrade") == 77

    assert "  Stop it: docker stop other-db-1\n" in capsys.readouterr().err


def test_a_container_that_docker_ps_lists_after_its_end_does_not_use_the_volume(
    inv: Inv, newer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases(newer, monkeypatch, "task_db")
    newer.on("ps", "--quiet", "--filter", "volume=shop_db-data").say("c9\n")
    newer.on("docker", "inspect", "--format", "…", "c9").say("\n")

    assert inv("db.upgrade") == 0


def test_a_server_that_does_not_start_is_75(
    inv: Inv, newer: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    newer.on("pg_isready").say(code=1)
    newer.on("docker", "inspect").say("false\n")
    newer.on("docker", "logs").say(err="FATAL: no\n")

    assert inv("db.upgrade") == 75

    assert "PostgreSQL did not start. Its last lines:\n  FATAL: no" in capsys.readouterr().err


def test_settings_in_the_environment_would_win_over_the_new_ones(
    inv: Inv, newer: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_VOLUME", "mine")

    assert inv("db.upgrade") == 78

    assert "  Type: unset POSTGRES_VOLUME\n" in capsys.readouterr().err


def test_a_compose_file_without_the_settings_says_what_to_write(
    inv: Inv, newer: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    newer.on("config", "--no-interpolate").say(json.dumps(RAW))

    assert inv("db.upgrade") == 78

    assert "name: ${POSTGRES_VOLUME:-shop_db-data}" in capsys.readouterr().err


def test_an_old_image_of_another_version_is_refused(
    inv: Inv, newer: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    newer.on("--entrypoint", "sh", "postgres:16").say("postgres (PostgreSQL) 16.1\n15\n")

    assert inv("db.upgrade", "--old-image", "postgres:16") == 78

    problem = "The data is of PostgreSQL 15; postgres:16 is another version.\n"
    assert problem in capsys.readouterr().err


def test_an_image_that_cannot_be_had_is_66(inv: Inv, newer: Recorder) -> None:
    newer.on("{{json .Config}}", "postgres:15").say(code=1, err="No such image")
    newer.on("docker", "pull", "postgres:15").say(code=1)

    assert inv("db.upgrade") == 66


def test_an_engine_that_cannot_be_asked_for_the_volume_is_69(inv: Inv, recorder: Recorder) -> None:
    recorder.on("volume", "inspect").say(code=1, err="Cannot connect to the Docker daemon")
    recorder.on("docker", "version").say(code=1, err="Cannot connect to the Docker daemon")

    assert inv("db.upgrade") == 69


def test_a_volume_that_does_not_tell_its_version_is_not_taken_to_fit(
    inv: Inv, newer: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    newer.on("docker", "run", "--rm").say("sh: postgres: not found\n")

    assert inv("db.upgrade") == 66

    assert "does not say which PostgreSQL it is" in capsys.readouterr().err


def test_without_a_volume_there_is_nothing_to_upgrade(inv: Inv, recorder: Recorder) -> None:
    recorder.on("volume", "inspect").say(code=1, err="no such volume")

    assert inv("db.upgrade") == 66


def test_data_of_this_version_stays(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv("db.upgrade") == 0

    assert capsys.readouterr().out == "The data is of this version: nothing was changed.\n"
    assert recorder.ran == []


@pytest.mark.parametrize("verb", ["db.upgrade", "db.credentials"])
def test_a_dry_run_changes_nothing(verb: str, inv: Inv, newer: Recorder) -> None:
    assert inv("--dry", verb) == 0

    assert (newer.ran, newer.piped) == ([], [])


@pytest.fixture
def upgrades(project: Project) -> Path:
    """The records of upgrades, one of which was killed."""
    folder = project.root / ".composed/shop/upgrades"
    folder.mkdir(parents=True)
    (folder / "c0ffee").write_text("shop_db-data-17")
    return folder


@pytest.mark.parametrize(("now", "removed"), [("shop_db-data-17", False), ("shop_db-data", True)])
def test_what_a_killed_upgrade_left_is_removed_unless_it_is_in_use(
    now: str, removed: bool, inv: Inv, recorder: Recorder, upgrades: Path
) -> None:
    recorder.on(".env", "config", "--format").say(configured(now, "postgres:17"))
    recorder.on("volume", "ls").say("shop_db-data\n")

    assert inv("ps") == 0

    assert ("docker volume rm shop_db-data-17" in recorder.lines("ask")) is removed
    assert list(upgrades.iterdir()) == []


@pytest.mark.parametrize("listed", [Answer(1, "", "down"), Answer(0, "shop_db-data-17\n", "")])
def test_what_could_not_be_removed_for_sure_is_tried_again(
    listed: Answer, inv: Inv, recorder: Recorder, upgrades: Path
) -> None:
    recorder.on(".env", "config", "--format").say(configured("shop_db-data", "postgres:17"))
    recorder.on("volume", "ls").give(listed)

    assert inv("ps") == 0

    assert [file.name for file in upgrades.iterdir()] == ["c0ffee"]


def test_the_password_that_psql_repeats_is_taken_out(
    inv: Inv,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mend(monkeypatch, "POSTGRES_PASSWORD")
    recorder.on("psql").say(code=1, err="ERROR: at 'not$a$secret'\n")

    assert inv("db.credentials") == 74

    problem = "psql ended with 1; the volume does not fit .env yet:\n  ERROR: at '[secret]'\n"
    assert problem in capsys.readouterr().err


# --- doctor, tests, env files ------------------------------------------------


def test_doctor_has_a_row_for_each(
    inv: Inv, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("--env", "PGPASSWORD").give(REFUSED)
    recorder.on("…datname ^@ 'test_task_db'…").say("test_task_db\n")

    inv("doctor", "--json")

    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)["findings"]}
    assert (rows["volume"]["state"], rows["volume"]["seen"]) == ("ok", "shop_db-data")
    assert rows["credentials"]["state"] == "wrong"
    assert rows["test database"]["cure"] == (
        """inv dbshell --command 'DROP DATABASE "test_task_db"'"""
    )


def test_a_test_run_of_django_never_asks(
    inv: Inv, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inv("manage", "--", "test", "task_api") == 0

    assert recorder.ran[-1][-3:] == ["test", "--noinput", "task_api"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=2\n", "A=9\nB=2\n"),
        ("B=2\n", "B=2\nA=9\n"),
        ("# A=1\nA=\n", "# A=1\nA=9\n"),
        ("export A=1\nA=2\n", "A=9\nA=9\n"),
    ],
)
def test_a_value_is_written_in_place_of_the_old_one(text: str, expected: str) -> None:
    assert with_value(text, "A", "9") == expected


def test_nothing_is_looked_at_without_a_volume(inv: Inv, recorder: Recorder) -> None:
    recorder.on(".env", "config", "--format").say(model(backend=0, db=0))

    assert inv("up") == 0
    assert inv("db.credentials") == 0
    assert inv("db.upgrade") == 0

    assert not any("docker run" in line or "psql" in line for line in recorder.lines("ask"))


def test_a_pull_that_fails_is_left_to_up(inv: Inv, recorder: Recorder) -> None:
    recorder.on("image", "inspect", "--format", "{{json .Config}}").say(code=1, err="No such image")
    recorder.on("pull", "db").say(code=1)

    assert inv("up") == 0

    assert [argv[4] for argv in recorder.ran] == ["pull", "up"]


def test_an_old_volume_of_that_name_is_not_written_over(
    inv: Inv, newer: Recorder, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases(newer, monkeypatch, "task_db")
    newer.on("volume", "inspect", "shop_db-data-17").say("[]")
    newer.on("volume", "inspect", "shop_db-data-17-2").say(code=1, err="no such volume")

    assert inv("db.upgrade") == 0

    values = assignments((project.root / ".env").read_text())
    assert values["POSTGRES_VOLUME"] == "${COMPOSE_PROJECT_NAME}_db-data-17-2"
