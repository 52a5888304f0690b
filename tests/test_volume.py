"""The volume of the database: version, credentials and upgrade, against a recorder."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from composed.data.psql import Psql
from composed.docker.volume import volume
from composed.docker.volume.credentials import Misfit, Server
from composed.docker.volume.server import DATABASES, TemporaryServer
from composed.docker.volume.volume import DataVolume
from composed.env.file import with_value
from composed.env.settings import assignments
from composed.errors import Interrupted
from composed.gateway import Answer, Gateway, is_free
from composed.project import Project
from tests.recorder import Call, Recorder
from tests.samples import DB_ROW, DC, PS_ROW, RAW, Inv, MonkeyPatch, model, ps_answer

Answers: TypeAlias = dict[str, Answer]
Mend: TypeAlias = Callable[..., None]

LOGIN = (
    f"{DC} exec --no-TTY --env PGPASSWORD db psql --no-psqlrc --host db --username cp_user "
    "--no-password --dbname task_db --command SELECT 1"
)
LOOK = (
    "docker run --rm --network none --user 0:0 --volume shop_db-data:/volume:ro --entrypoint sh "
    "postgres:15 -c"
)


def out(text: str) -> Answer:
    """Return the answer of a command that prints this text."""
    return Answer(0, text, "")


REFUSED = Answer(2, "", 'FATAL:  password authentication failed for user "cp_user"\n')
NO_ROLE = Answer(2, "", 'FATAL:  role "cp_user" does not exist\n')
FAILS = Answer(1, "", "")
NO_ENGINE = Answer(1, "", "Cannot connect to the Docker daemon")
FIFTEEN = "postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n15\n"

TO_17: dict[str, Any] = {
    "Env": ["PGDATA=/var/lib/postgresql/data"],
    "Volumes": {"/var/lib/postgresql/data": {}},
}
FROM_18: dict[str, Any] = {
    "Env": ["PG_MAJOR=18", "PGDATA=/var/lib/postgresql/18/docker"],
    "Volumes": {"/var/lib/postgresql": {}},
}


def configured(name: str, image: str, mount: str = "/var/lib/postgresql/data") -> str:
    """Return a resolved model; the database has this volume and image."""
    config: dict[str, Any] = json.loads(model(backend=0, db=0))
    config["services"]["db"] |= {
        "image": image,
        "volumes": [{"type": "volume", "source": "db-data", "target": mount}],
        "environment": {
            "POSTGRES_USER": "cp_user",
            "POSTGRES_DB": "task_db",
            "POSTGRES_PASSWORD": "not$$a$$secret",
        },
    }
    config["volumes"] = {"db-data": {"name": name}}
    return json.dumps(config)


def written() -> dict[str, Any]:
    """Return the written model."""
    config: dict[str, Any] = json.loads(json.dumps(RAW))
    config["services"]["db"] |= {
        "image": "${POSTGRES_IMAGE:-postgres:15}",
        # Compose 2.26 cuts the target short at a colon.
        "volumes": [{"type": "volume", "source": "db-data", "target": "${POSTGRES_MOUNT"}],
        "environment": {
            "POSTGRES_USER": "${DB_USER}",
            "POSTGRES_DB": "${POSTGRES_DB:-task_db}",
            "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?type inv env}",
        },
    }
    config["volumes"] = {"db-data": {"name": "${POSTGRES_VOLUME:-x}"}}
    return config


@pytest.fixture(autouse=True)
def _fitting_volume(recorder: Recorder) -> None:
    """Answer as an engine with a volume of PostgreSQL 15 that fits."""
    recorder.on(".env", "config", "--format").say(configured("shop_db-data", "postgres:15"))
    recorder.on("config", "--no-interpolate").say(json.dumps(written()))
    recorder.on("volume", "ls").say("shop_db-data shop\n")
    recorder.on("image", "inspect", "--format", "{{json .Config}}").say(json.dumps(TO_17))
    recorder.on("docker", "run").say(FIFTEEN)
    recorder.on("--no-psqlrc", "--quiet").say('["postgres", "task_db"]')
    recorder.on("image", "inspect", "--format", "json").say("[]")


def prepare(recorder: Recorder, answers: Answers) -> None:
    for words, answer in answers.items():
        recorder.on(*words.split()).give(answer)


def looks(recorder: Recorder) -> list[str]:
    """Return the commands that look into a volume or ask the server."""
    return [line for line in recorder.lines("ask") if "docker run" in line or "psql" in line]


def env(project: Project) -> dict[str, str]:
    return assignments((project.root / ".env").read_text())


# --- when the volume is checked ------------------------------------------------


def test_a_volume_that_fits_is_checked_once(inv: Inv, recorder: Recorder, project: Project) -> None:
    assert inv("up") == 0
    first = recorder.lines("ask")
    assert sum(line.startswith(LOOK) for line in first) == 1
    assert LOGIN in first
    assert recorder.ran[0][4:] == ["up", "--detach", "--wait", "db"]

    recorder.calls.clear()
    assert inv("up") == 0

    assert looks(recorder) == []
    assert [argv[4:6] for argv in recorder.ran] == [["up", "--detach"]]
    record = project.root / ".composed/shop/volume.json"
    assert record.stat().st_mode & 0o777 == 0o600
    assert "not$a$secret" not in record.read_text()


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[1]", b'{"volume": 5}', b'{"image": "\\ud800"}', b"[" * 10_000]
)
def test_a_mangled_record_of_a_volume_is_checked_anew(
    data: bytes, inv: Inv, recorder: Recorder, project: Project
) -> None:
    assert inv("up") == 0
    record = project.root / ".composed/shop/volume.json"
    good = record.read_text()
    record.write_bytes(data)
    recorder.calls.clear()

    assert inv("up") == 0

    assert looks(recorder) != []
    assert record.read_text() == good


def test_the_password_is_in_no_argument_list(inv: Inv, recorder: Recorder) -> None:
    recorder.on("--env", "PGPASSWORD").give(REFUSED)
    inv("up")
    inv("db.credentials")

    every = [*recorder.asked, *recorder.ran, *recorder.piped]
    assert not any("not$a$secret" in word for argv in every for word in argv)


def test_a_missing_volume_fits(inv: Inv, recorder: Recorder) -> None:
    recorder.on("volume", "ls").say()

    assert inv("up") == 0

    assert looks(recorder) == []


@pytest.mark.parametrize(("code", "ran"), [(0, ["pull db", "up", "up"]), (1, ["pull db", "up"])])
def test_a_missing_image_is_pulled(code: int, ran: list[str], inv: Inv, recorder: Recorder) -> None:
    prepare(recorder, {"…Config}}": FAILS, "pull db": Answer(code, "", "")})

    assert inv("up") == 0

    assert [" ".join(argv[4:6]).removesuffix(" --detach") for argv in recorder.ran] == ran


def test_a_dry_run_checks_no_volume(inv: Inv, recorder: Recorder) -> None:
    assert inv("--dry", "up") == 0

    assert looks(recorder) == []


def test_the_database_service_alone_needs_no_password(inv: Inv, recorder: Recorder) -> None:
    assert inv("up", "--service", "db") == 0

    assert LOGIN not in recorder.lines("ask")


def test_a_one_off_container_needs_the_password(inv: Inv, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(ps_answer(PS_ROW, {**DB_ROW, "Health": "starting"}))
    recorder.on("--env", "PGPASSWORD").give(REFUSED)

    assert inv("up", "--service", "db") == 75
    recorder.on("ps", "--all").say(ps_answer())
    assert inv("manage", "--", "check") == 78

    assert "inv db.credentials" in inv.err()


# --- versions and layouts ----------------------------------------------------


@pytest.mark.parametrize(
    ("major", "way"), [(17, "Move the data: inv db.upgrade\n  Keep "), (14, "Keep ")]
)
def test_another_version_is_refused(major: int, way: str, inv: Inv, recorder: Recorder) -> None:
    image = f"postgres:{major}"
    recorder.on(".env", "config", "--format").say(configured("shop_db-data", image))
    recorder.on("docker", "run").say(f"postgres (PostgreSQL) {major}.1\n15\n")

    assert inv("up") == 78

    assert recorder.ran == []
    assert inv.err().startswith(
        f"Volume shop_db-data holds data of PostgreSQL 15; POSTGRES_IMAGE is {image}, which is "
        f"{major}.\n  {way}PostgreSQL 15: write POSTGRES_IMAGE=postgres:15 into .env\n"
    )


@pytest.mark.parametrize("text", ["", "postgres (PostgreSQL) 15.1\n", "15\n"])
def test_an_unknown_version_is_left_to_postgresql(text: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("docker", "run").say(text)

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
def test_the_mount_fits_the_image(config: dict[str, Any], mount: str, fitting: str) -> None:
    assert volume.mount_for(config, mount) == fitting


def test_a_mount_beside_the_data_is_refused(inv: Inv, recorder: Recorder) -> None:
    recorder.on("image", "inspect", "--format", "{{json .Config}}").say(json.dumps(FROM_18))

    assert inv("up") == 78

    assert "  Write POSTGRES_MOUNT=/var/lib/postgresql into .env\n" in inv.err()


def test_the_version_of_the_data_is_read_in_every_layout(recorder: Recorder) -> None:
    assert volume.versions(Gateway(Path()), DataVolume("v", "/m", "i")) == (15, 15)
    assert "cat PG_VERSION */PG_VERSION */docker/PG_VERSION" in recorder.asked[-1][-1]


# --- credentials -------------------------------------------------------------

WAYS = "inv down --volumes && inv up && inv db.restore --latest\n"


@pytest.mark.parametrize(
    ("answers", "problem", "before"),
    [
        (
            {},
            "POSTGRES_PASSWORD is not the password of cp_user in volume shop_db-data.\n"
            "  Write the old value into .env: POSTGRES_PASSWORD=…\n",
            "",
        ),
        (
            {"--no-psqlrc --quiet": out('["postgres", "old", "test_old"]')},
            "POSTGRES_DB is 'task_db': there is no such database in volume shop_db-data.\n"
            "  Write the old value into .env: POSTGRES_DB=old\n",
            "POSTGRES_DB=old ",
        ),
        (
            {"--no-psqlrc --quiet": NO_ROLE},
            "DB_USER is 'cp_user': there is no such user in volume shop_db-data.\n"
            "  Write the old value into .env: DB_USER=…\n",
            "DB_USER=… POSTGRES_DB=… ",
        ),
    ],
)
def test_credentials_that_do_not_fit_are_refused_with_all_cures(
    answers: Answers, problem: str, before: str, inv: Inv, recorder: Recorder
) -> None:
    prepare(recorder, {"--env PGPASSWORD": REFUSED, **answers})

    assert inv("up") == 78

    assert inv.err().startswith(
        f"{problem}  Or change the volume to the value in .env: inv db.credentials\n"
        f"  Or make a new volume and bring the data back: {before}{WAYS}"
    )
    assert [argv[4:] for argv in recorder.ran] == [["up", "--detach", "--wait", "db"]]


def test_credentials_in_list_form_are_named_by_their_settings(inv: Inv, recorder: Recorder) -> None:
    config = written()
    db = config["services"]["db"]
    db["environment"] = [f"{name}={value}" for name, value in db["environment"].items()]
    prepare(recorder, {"config --no-interpolate": out(json.dumps(config))})
    prepare(recorder, {"--env PGPASSWORD": REFUSED, "--no-psqlrc --quiet": NO_ROLE})

    assert inv("up") == 78

    assert "DB_USER is 'cp_user': there is no such user in" in inv.err()


def test_the_error_names_credentials_that_fitted_before(inv: Inv, recorder: Recorder) -> None:
    assert inv("up") == 0
    changed = configured("shop_db-data", "postgres:15").replace('"cp_user"', '"anna"')
    recorder.on(".env", "config", "--format").say(changed)
    recorder.on("--no-psqlrc", "--quiet").give(NO_ROLE)
    recorder.on("--env", "PGPASSWORD").give(REFUSED)

    assert inv("up") == 78

    assert f"DB_USER=cp_user POSTGRES_DB=task_db {WAYS}" in inv.err()


def test_a_login_that_fails_for_another_reason_is_no_misfit(inv: Inv, recorder: Recorder) -> None:
    recorder.on("--env", "PGPASSWORD").say(code=2, err="could not translate host name")

    assert inv("up") == 0
    assert inv("db.credentials") == 0


@pytest.fixture
def mend(monkeypatch: MonkeyPatch) -> Mend:
    """Answer as a server with wrong credentials, where each change corrects the first."""

    def prepare(*wrong: Any) -> None:
        misfits = [Misfit(name, ("postgres", "old")) for name in wrong]
        monkeypatch.setattr(Server, "misfit", lambda _: misfits.pop(0) if misfits else None)

    return prepare


def test_the_password_goes_through_stdin_unlogged(inv: Inv, recorder: Recorder, mend: Mend) -> None:
    mend("POSTGRES_PASSWORD")

    assert inv("db.credentials") == 0

    (script,) = recorder.fed
    assert "ALTER ROLE \"cp_user\" WITH LOGIN PASSWORD 'not$a$secret';" in script
    assert script.index("log_statement = 'none'") < script.index("ALTER ROLE")
    assert inv.out() == ("The password of cp_user is now the password in .env.\n  Type: inv up\n")


def test_user_and_database_are_renamed(inv: Inv, recorder: Recorder, mend: Mend) -> None:
    mend("POSTGRES_USER", "POSTGRES_DB")
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


def test_a_rename_that_fails_drops_the_helper(inv: Inv, recorder: Recorder, mend: Mend) -> None:
    mend("POSTGRES_USER")
    answers = iter([Answer(0, "old_user\n", ""), Answer(1, "", "cp_user exists\n")])
    recorder.on("--username", "composed_credentials").do(lambda _: next(answers))

    assert inv("db.credentials") == 74

    dropping = recorder.fed.index("DROP ROLE IF EXISTS composed_credentials;")
    assert "--username old_user" in recorder.lines("pipe")[dropping]


def test_one_of_several_databases_is_not_guessed(inv: Inv, recorder: Recorder) -> None:
    recorder.on("--no-psqlrc", "--quiet").say('["a", "b", "postgres"]')
    recorder.on("--env", "PGPASSWORD").give(REFUSED)

    assert inv("db.credentials") == 78

    assert "There are: a, b, postgres. Write one into .env" in inv.err()
    assert recorder.piped == []


def test_a_change_without_effect_is_an_error(inv: Inv, mend: Mend) -> None:
    mend(*["POSTGRES_PASSWORD"] * 9)

    assert inv("db.credentials") == 74


# --- upgrade -----------------------------------------------------------------


OLD = {
    "POSTGRES_VOLUME": "shop_db-data",
    "POSTGRES_MOUNT": "/var/lib/postgresql/data",
    "POSTGRES_IMAGE": "postgres:15",
}
NEW = {**OLD, "POSTGRES_VOLUME": "shop_db-data-17", "POSTGRES_IMAGE": "postgres:17"}


@pytest.fixture
def newer(recorder: Recorder, monkeypatch: MonkeyPatch) -> Recorder:
    """A volume of 15 with the database ``task_db``, and an image of 17."""

    def model_of(call: Call) -> Answer:
        env = {**OLD, "POSTGRES_IMAGE": "postgres:17"} | call.env
        volume, mount, image = (env[name] for name in OLD)
        return Answer(0, configured(volume, image, mount), "")

    recorder.on(".env", "config", "--format").do(model_of)
    recorder.on("--entrypoint", "sh", "postgres:17").say("postgres (PostgreSQL) 17.1\n15\n")
    recorder.on("run", "--detach").say("c1\n")
    recorder.on("pg_dumpall").say("\\restrict x\nCREATE ROLE cp_user;\nALTER ROLE cp_user;\n")
    recorder.on("pg_dump").say("the dump")
    databases(monkeypatch, "task_db")
    monkeypatch.setattr(TemporaryServer, "contents", lambda *_: ({"public.a": 3}, "s 1"))
    return recorder


def databases(monkeypatch: MonkeyPatch, *names: str, closed: str = "") -> None:
    original = Psql.sql
    rows = "".join(json.dumps({name: name != closed}) + "\n" for name in names)

    def sql(self: Psql, script: str, database: str = "postgres") -> str:
        return rows if script == DATABASES else original(self, script, database)

    monkeypatch.setattr(Psql, "sql", sql)


def test_an_upgrade_leaves_no_database_out(
    inv: Inv, newer: Recorder, monkeypatch: MonkeyPatch
) -> None:
    databases(monkeypatch, "it's", "task_db", closed="it's")

    assert inv("db.upgrade") == 77

    told = inv.err()
    assert "The database it's takes no connections, not even of pg_dump." in told
    assert "inv dbshell --command 'ALTER DATABASE \"it'" in told
    assert not any("pg_dump" in argv for argv in newer.piped)


def test_a_database_may_have_any_name(inv: Inv, newer: Recorder, monkeypatch: MonkeyPatch) -> None:
    databases(monkeypatch, "two\nlines", "next\u2028line", "task_db")

    assert inv("db.upgrade") == 0

    copied = [argv[-1] for argv in newer.piped if "pg_dump" in argv]
    assert copied == ["two\nlines", "next\u2028line", "task_db"]


def test_an_upgrade_copies_each_database_and_names_the_new_volume(
    inv: Inv, newer: Recorder, project: Project, monkeypatch: MonkeyPatch
) -> None:
    databases(monkeypatch, "postgres", "task_db")

    assert inv("db.upgrade") == 0

    commands = [call for call in newer.calls if "config" not in call.argv]
    assert [call.env for call in commands if "POSTGRES_VOLUME" in call.env] == [OLD, NEW]
    assert [argv[4:] for argv in newer.ran] == [["stop"]]
    restore = "docker exec --interactive c1 pg_restore --username cp_user --create --exit-on-error"
    restores = [line for line in newer.lines("pipe") if "pg_restore" in line]
    assert restores == [f"{restore} --dbname template1", f"{restore} --dbname postgres"]
    assert any("DO 'BEGIN CREATE ROLE cp_user; EXCEPTION" in script for script in newer.fed)
    assert not any("restrict" in script for script in newer.fed)
    values = env(project)
    assert values["POSTGRES_VOLUME"] == "${COMPOSE_PROJECT_NAME}_db-data-17"
    assert values["POSTGRES_IMAGE"] == "postgres:17"
    assert "POSTGRES_MOUNT" not in values
    assert "docker volume rm shop_db-data\n" in inv.out()
    assert not any(line.startswith("docker volume rm") for line in newer.lines("ask"))


def interrupted(_: Call) -> Answer:
    raise Interrupted(signal.SIGHUP)


@pytest.mark.parametrize("words", ["up", "manage -- check"])
def test_an_interrupted_stop_is_ended_before_the_next_start(
    words: str, inv: Inv, newer: Recorder, project: Project
) -> None:
    newer.on("stop").do(interrupted)
    assert inv("db.upgrade") == 129
    newer.on("stop").say()
    newer.calls.clear()
    newer.on(".env", "config", "--format").say(configured("shop_db-data", "postgres:15"))

    inv(*words.split())

    assert [argv[4] for argv in newer.ran][:2] == ["stop", "up"]
    assert not (project.root / ".composed/shop/stopping").exists()


def test_a_stop_for_new_credentials_is_marked(inv: Inv, recorder: Recorder) -> None:
    recorder.on("stop").do(interrupted)
    recorder.on("psql").say(code=2, err='role "cp_user" does not exist')

    assert inv("db.credentials") == 129

    recorder.on("stop").say()
    inv("up")
    assert [argv[4] for argv in recorder.ran][-3:-1] == ["stop", "stop"]


def test_to_18_the_mount_changes_too(inv: Inv, newer: Recorder, project: Project) -> None:
    newer.on("{{json .Config}}", "postgres:17").say(json.dumps(FROM_18))

    assert inv("db.upgrade") == 0

    assert env(project)["POSTGRES_MOUNT"] == "/var/lib/postgresql"


@pytest.mark.parametrize(("program", "last"), [("pg_restore", "psql"), ("pg_dump", "pg_dump")])
def test_a_failed_copy_is_undone(
    program: str, last: str, inv: Inv, newer: Recorder, project: Project
) -> None:
    before = (project.root / ".env").read_text()
    newer.on(program).say(code=1, err="disk full\n")
    newer.on("--output").say(code=1, err="disk full\n")  # of the second try, by psql

    assert inv("db.upgrade") == 74

    assert f"{last} ended with 1; the old volume stays:\n  disk full\n" in inv.err()
    assert (project.root / ".env").read_text() == before
    assert "docker volume rm shop_db-data-17" in newer.lines("ask")
    assert list((project.root / ".composed/shop/upgrades").iterdir()) == []


def test_a_difference_ends_the_upgrade(inv: Inv, newer: Recorder, monkeypatch: MonkeyPatch) -> None:
    counts = iter(range(9))
    monkeypatch.setattr(TemporaryServer, "contents", lambda *_: ({"a": next(counts)}, ""))

    assert inv("db.upgrade") == 65


@pytest.mark.parametrize(
    ("answers", "code", "text"),
    [
        (
            {
                "ps --quiet --filter volume=shop_db-data": out("c8\nc9\n"),
                "docker inspect --format … c8 c9": out("\nother-db-1\n"),
            },
            77,
            "  Stop the container: docker stop other-db-1\n",
        ),
        (
            {"pg_isready": FAILS, "docker inspect": out("false\n"), "docker logs": out("FATAL\n")},
            75,
            "PostgreSQL did not start. Its last lines:\n  FATAL\n",
        ),
        ({"--no-interpolate": out(json.dumps(RAW))}, 78, "name: ${POSTGRES_VOLUME:-shop_db-data}"),
        ({"…Config}} postgres:15": FAILS, "docker pull": FAILS}, 66, "no image postgres:15.\n"),
        (
            {"docker run --rm": out("sh: not found\n")},
            66,
            "PostgreSQL version of postgres:17 is unknown",
        ),
        ({"volume ls": out("")}, 66, "There is no volume to upgrade.\n"),
        ({"volume ls": NO_ENGINE, "docker version": NO_ENGINE}, 69, "does not answer"),
    ],
)
def test_an_upgrade_that_cannot_work_is_refused(
    answers: Answers, code: int, text: str, inv: Inv, newer: Recorder
) -> None:
    prepare(newer, answers)

    assert inv("db.upgrade") == code

    assert text in inv.err()


def test_a_container_that_has_ended_does_not_use_the_volume(inv: Inv, newer: Recorder) -> None:
    newer.on("ps", "--quiet", "--filter", "volume=shop_db-data").say("c9\n")
    newer.on("docker", "inspect", "--format", "…", "c9").say("\n")

    assert inv("db.upgrade") == 0


def test_a_shell_setting_is_refused(inv: Inv, newer: Recorder, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_VOLUME", "mine")

    assert inv("db.upgrade") == 78

    assert "  Type: unset POSTGRES_VOLUME\n" in inv.err()


def test_an_old_image_of_another_version_is_refused(inv: Inv, newer: Recorder) -> None:
    newer.on("--entrypoint", "sh", "postgres:16").say("postgres (PostgreSQL) 16.1\n15\n")

    assert inv("db.upgrade", "--old-image", "postgres:16") == 78

    assert "The data is of PostgreSQL 15; postgres:16 is another version.\n" in inv.err()


def test_data_of_this_version_stays(inv: Inv, recorder: Recorder) -> None:
    assert inv("db.upgrade") == 0

    assert inv.out() == "The data is of this version: nothing was changed.\n"
    assert recorder.ran == []


@pytest.mark.parametrize("verb", ["db.upgrade", "db.credentials"])
def test_a_dry_run_changes_nothing(verb: str, inv: Inv, newer: Recorder) -> None:
    assert inv("--dry", verb) == 0

    assert (newer.ran, newer.piped) == ([], [])


@pytest.mark.parametrize(
    ("current", "listed", "removed", "left"),
    [
        ("shop_db-data-17", out("shop_db-data\n"), False, []),
        ("shop_db-data", out("shop_db-data\n"), True, []),
        ("shop_db-data", out("shop_db-data-17\n"), True, ["c0ffee"]),
        ("shop_db-data", FAILS, True, ["c0ffee"]),
    ],
    ids=["in-use", "removed", "cannot-be-removed", "no-answer"],
)
def test_the_volume_of_a_killed_upgrade_stays_recorded_until_in_use_or_removed(
    current: str,
    listed: Answer,
    removed: bool,
    left: list[str],
    inv: Inv,
    recorder: Recorder,
    project: Project,
) -> None:
    upgrades = project.root / ".composed/shop/upgrades"
    upgrades.mkdir(parents=True)
    (upgrades / "c0ffee").write_text("shop_db-data-17")
    recorder.on(".env", "config", "--format").say(configured(current, "postgres:17"))
    recorder.on("volume", "ls").give(listed)

    assert inv("ps") == 0

    assert ("docker volume rm shop_db-data-17" in recorder.lines("ask")) is removed
    assert [file.name for file in upgrades.iterdir()] == left


def test_the_error_hides_the_password(inv: Inv, recorder: Recorder, mend: Mend) -> None:
    mend("POSTGRES_PASSWORD")
    recorder.on("psql").say(code=1, err="ERROR: at 'not$a$secret'\n")

    assert inv("db.credentials") == 74

    problem = "psql ended with 1; the volume does not fit .env yet:\n  ERROR: at '[secret]'\n"
    assert problem in inv.err()


# --- doctor, tests, env files ------------------------------------------------


def test_doctor_shows_volume_credentials_and_test_database(inv: Inv, recorder: Recorder) -> None:
    recorder.on("--env", "PGPASSWORD").give(REFUSED)
    recorder.on("…datname ^@ 'test_task_db'…").say('["test_task_db"]')

    inv("doctor", "--json")

    rows = {row["what"]: row for row in json.loads(inv.out())["findings"]}
    assert (rows["volume"]["state"], rows["volume"]["seen"]) == ("ok", "shop_db-data")
    assert rows["credentials"]["state"] == "wrong"
    assert rows["test database"]["cure"] == (
        """inv dbshell --command 'DROP DATABASE "test_task_db"'"""
    )


def test_a_test_run_of_django_asks_no_question(inv: Inv, recorder: Recorder) -> None:
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
def test_a_value_replaces_the_old_value(text: str, expected: str) -> None:
    assert with_value(text, "A", "9") == expected


def test_a_model_without_a_volume_is_not_checked(inv: Inv, recorder: Recorder) -> None:
    recorder.on(".env", "config", "--format").say(model(backend=0, db=0))

    assert inv("up") == 0
    assert inv("db.credentials") == 0
    assert inv("db.upgrade") == 0

    assert looks(recorder) == []


def test_an_existing_volume_is_not_overwritten(inv: Inv, newer: Recorder, project: Project) -> None:
    newer.on("volume", "ls").say("shop_db-data shop\nshop_db-data-17 shop\n")

    assert inv("db.upgrade") == 0

    assert env(project)["POSTGRES_VOLUME"] == "${COMPOSE_PROJECT_NAME}_db-data-17-2"


def test_the_database_is_stopped_and_changed_alone_under_the_lock(
    inv: Inv, recorder: Recorder, mend: Mend, project: Project
) -> None:
    held = []

    def note_lock(_: Call) -> Answer:
        with (project.root / ".composed/shop/lock").open() as lock:
            held.append(not is_free(lock))
        return Answer(0, "", "")

    mend("POSTGRES_USER")
    recorder.on("--username", "composed_credentials").say("old_user\n")
    recorder.on("stop", "db").do(note_lock)
    recorder.on("postgres", "--single").do(note_lock)

    assert inv("db.credentials") == 0

    assert held == [True, True]
