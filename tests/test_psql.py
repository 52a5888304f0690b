"""The PostgreSQL client, with shell scripts as programs."""

import re
from pathlib import Path

import pytest

from composed.calls import Calls
from composed.data.postgres import PostgreSQL
from composed.data.psql import Psql
from composed.database import identifier, literal
from composed.errors import InputOutputError
from composed.gateway import Answer, Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def client(gateway: Gateway, *, note: str = "", secret: str = "", **scripts: str) -> Psql:
    """Return a client of a server where each program is a shell script."""

    def inside(program: str, *_: str) -> list[str]:
        return ["sh", "-c", scripts[program]]

    return Psql(gateway, inside, "anna", note=note, secret=secret)


def test_psql_reads_no_settings_of_the_user_and_stops_at_an_error(gateway: Gateway) -> None:
    psql = Psql(gateway, lambda *argv: ["docker", "exec", "db", *argv], "anna")

    command = " ".join(psql.command("shop", "--output", "/dev/null"))

    assert command == (
        "docker exec db psql --username anna --no-password --no-psqlrc --quiet --tuples-only "
        "--no-align --set ON_ERROR_STOP=1 --dbname shop --output /dev/null"
    )


def test_a_script_goes_through_stdin(gateway: Gateway) -> None:
    assert client(gateway, psql="cat").sql("SELECT 1;") == "SELECT 1;"


def test_an_error_has_the_exit_code_the_note_and_the_last_lines(gateway: Gateway) -> None:
    psql = client(gateway, note="all is as before", psql="seq 12 >&2; exit 3")

    with pytest.raises(InputOutputError) as error:
        psql.sql("SELECT 1;")

    assert error.value.problem == "psql ended with 3; all is as before:"
    assert error.value.hints == ("3", "4", "5", "6", "7", "8", "9", "10", "11", "12")


def test_a_user_who_is_not_in_the_volume_gets_the_ways_out(gateway: Gateway) -> None:
    fatal = 'psql: error: connection failed: FATAL:  role "other" does not exist'

    error = client(gateway).error("psql", Answer(2, "", fatal))

    assert error.hints == (fatal, "The volume was made for another user. For the ways out: inv up")


def test_an_error_shows_the_lines_from_the_reason_on(gateway: Gateway) -> None:
    stderr = "\n".join(["NOTICE: a", "pg_restore: error: COPY failed: ERROR:  no", *"123456789012"])

    error = client(gateway).error("pg_restore", Answer(1, "", stderr))

    assert error.hints == ("pg_restore: error: COPY failed: ERROR:  no", *"123456789")


@pytest.mark.parametrize(
    ("code", "what"), [(137, "the database"), (143, "the database"), (-9, "the command")]
)
def test_a_database_that_is_stopped_beside_is_named(code: int, what: str, gateway: Gateway) -> None:
    error = client(gateway, note="all is as before").error("psql", Answer(code, "", "\n"))

    assert error.problem == (
        f"psql ended with {code}; all is as before: {what} was stopped meanwhile."
    )
    assert error.hints == ("Type the same command again.",)


@pytest.mark.parametrize("secret", ["plain", "it's a 'secret'"])
def test_no_error_shows_the_password(secret: str, gateway: Gateway) -> None:
    stderr = f"FATAL: {secret}\nLINE 1: ALTER ROLE anna PASSWORD {literal(secret)};\n"

    error = client(gateway, secret=secret).error("psql", Answer(1, "", stderr))

    assert error.hints == ("FATAL: [secret]", "LINE 1: ALTER ROLE anna PASSWORD '[secret]';")


def test_a_program_may_end_before_the_end_of_the_input(gateway: Gateway) -> None:
    answer = client(gateway).feed(["sh", "-c", "echo done; exit 3"], [bytes(1 << 20)] * 9)

    assert answer == Answer(3, "done\n", "")


def test_quotes_are_doubled_in_sql() -> None:
    assert identifier('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"


OLD = "read line; case $line in *restrict*) exit 3;; esac"


@pytest.mark.parametrize(
    ("program", "guard"), [("cat", rb"\\restrict [0-9a-f]{32}\n"), (OLD, b"")], ids=["new", "old"]
)
def test_a_foreign_script_runs_restricted_where_psql_can(
    program: str, guard: bytes, gateway: Gateway, tmp_path: Path
) -> None:
    database = PostgreSQL(client(gateway, psql=program), "shop", Calls(gateway, tmp_path))

    script = b"".join(database._restricted([b"SELECT 1;"]))

    assert re.fullmatch(guard + rb"SET standard_conforming_strings = on;\nSELECT 1;", script)
