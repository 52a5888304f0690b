"""Transfers of databases: pipes of programs, and the second try with another search_path."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from composed.data.psql import Psql
from composed.data.transfer import copy, transfer, with_search_path
from composed.errors import DataError, InputOutputError
from composed.gateway import Gateway

LARGE = "head -c 10000000 /dev/zero"  # does not fit into a pipe that nobody reads

EMPTIED = b"SELECT pg_catalog.set_config('search_path', '', false);\n"
OWN = b"SELECT pg_catalog.set_config('search_path', 'app, it''s', false);\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def client(gateway: Gateway, note: str = "", **scripts: str) -> Psql:
    """Return a client of a server where each program is a shell script with its arguments."""

    def inside(program: str, *args: str) -> list[str]:
        return ["sh", "-c", scripts[program], program, *args]  # $0 is the program's name

    return Psql(gateway, inside, "anna", note=note)


def test_a_dump_arrives_whole(gateway: Gateway, tmp_path: Path) -> None:
    source, target = client(gateway, pg_dump=LARGE), client(gateway, pg_restore="cat > restored")

    assert (
        transfer(
            source, source.program("pg_dump"), target, target.program("pg_restore"), "Copying"
        ).code
        == 0
    )

    assert (tmp_path / "restored").read_bytes() == bytes(10_000_000)


def test_a_program_in_the_middle_is_fed(gateway: Gateway, tmp_path: Path) -> None:
    psql = client(gateway, pg_restore="cat", psql="cat > restored")
    chunks = [b"ab" * 1_000_000, b"cd"]

    transfer(
        psql, psql.inside("pg_restore"), psql, psql.program("psql"), "Restoring", chunks=chunks
    )

    assert (tmp_path / "restored").read_bytes() == b"".join(chunks)


@pytest.mark.parametrize(
    ("dump", "restore", "first"),
    [
        # After the whole dump, only pg_restore failed.
        ("echo dump", "cat; echo restore >&2; exit 1", "pg_restore"),
        # An archive that breaks off makes pg_restore fail as well.
        ("echo dump; echo dump >&2; exit 1", "cat; echo restore >&2; exit 1", "pg_dump"),
        # A pg_restore that reads no more leaves pg_dump at work, which fails later or never.
        (f"{LARGE}; echo dump >&2; exit 1", "echo restore >&2; exit 1", "pg_restore"),
        # A dump may fail although pg_restore is content.
        ("echo dump >&2; exit 1", "cat", "pg_dump"),
    ],
)
def test_the_first_failure_is_named(dump: str, restore: str, first: str, gateway: Gateway) -> None:
    source = client(gateway, pg_dump=dump, note="note of pg_dump")
    target = client(gateway, pg_restore=restore, note="note of pg_restore")

    def moved() -> str:
        answer = transfer(
            source, source.inside("pg_dump"), target, target.program("pg_restore"), "Copying"
        )
        return target.checked("pg_restore", answer)

    with pytest.raises(InputOutputError) as error:
        moved()

    line = first.removeprefix("pg_")
    assert str(error.value) == f"{first} ended with 1; note of {first}:\n  {line}"


def test_a_copy_that_fails_is_tried_again_as_sql(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = 'case "$*" in *custom*) echo custom;; *) echo "$@"; cat head;; esac'
    (tmp_path / "head").write_bytes(EMPTIED)
    psql = 'case "$*" in *restored*) cat > restored;; *) echo "app, it\'s";; esac'
    server = client(
        gateway, pg_dump=dump, pg_restore="echo 'ERROR: f does not exist' >&2; exit 1", psql=psql
    )
    emptied = []

    copy(server, "shop", server, "restored", "Copying", empty=lambda: emptied.append(True))

    assert (tmp_path / "restored").read_bytes().endswith(OWN)
    assert len(emptied) == 2
    said = "A first try failed (ERROR: f does not exist). Again, with search_path app, it's …\n"
    assert capsys.readouterr().err == said


def test_a_full_disk_is_not_filled_twice(gateway: Gateway) -> None:
    full = "echo 'ERROR:  could not extend file: No space left' >&2; exit 1"
    server, emptied = client(gateway, pg_dump="echo dump", pg_restore=full), []

    with pytest.raises(InputOutputError, match="No space left"):
        copy(server, "shop", server, "new", "Copying", empty=lambda: emptied.append(True))

    assert len(emptied) == 1


def test_an_error_of_what_is_fed_is_raised(gateway: Gateway) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise DataError("the file breaks off")

    psql = client(gateway, pg_restore="cat", psql="cat > restored")
    to_sql, load = psql.inside("pg_restore"), psql.inside("psql")

    with pytest.raises(DataError, match="breaks off"):
        transfer(psql, to_sql, psql, load, "Restoring", chunks=chunks())


def test_a_program_may_print_more_than_a_pipe_holds_while_it_is_fed(gateway: Gateway) -> None:
    argv = ["sh", "-c", "head -c 1000000 /dev/zero; cat > /dev/null"]

    with gateway.pipe(argv, [bytes(1 << 20)] * 5) as pipe:
        assert len(pipe.end().out) == 1_000_000


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"-- dump\n" + EMPTIED, b"-- dump\n" + OWN),
        # A dump that makes the database empties the path twice.
        (EMPTIED + b"CREATE DATABASE a;\n" + EMPTIED, OWN + b"CREATE DATABASE a;\n" + OWN),
        # In the data of a table, the line is a text.
        (
            EMPTIED + b"COPY a (x) FROM stdin;\n" + EMPTIED,
            OWN + b"COPY a (x) FROM stdin;\n" + EMPTIED,
        ),
        (EMPTIED + b"CREATE TABLE a ();\n" + EMPTIED, OWN + b"CREATE TABLE a ();\n" + EMPTIED),
        (b"", b""),
    ],
)
def test_the_head_of_a_dump_gets_the_path(size: int, before: bytes, after: bytes) -> None:
    chunks = [before[at : at + size] for at in range(0, len(before), size)]

    assert b"".join(with_search_path("app, it's")(chunks)) == after
