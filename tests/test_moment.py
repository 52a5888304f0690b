"""The moment of a dump: the locks, their waits and the errors, with prepared answers of psql."""

import pytest

from composed.data.moment import at_a_moment
from composed.data.psql import Psql
from composed.errors import InputOutputError
from composed.gateway import Answer
from tests.recorder import Recorder
from tests.samples import FACTS

TAKEN, MADE_AFTER_THE_LIST, LOCKED = "55P03 \n", "00000 \n", "00000 00-1\n"


@pytest.fixture
def psql(recorder: Recorder) -> Psql:
    return Psql(recorder, lambda *argv: [*argv], "us")  # type: ignore[arg-type]  # as in `inv`


def test_every_table_is_locked_before_the_moment(psql: Psql, recorder: Recorder) -> None:
    recorder.on("psql").say(f"{LOCKED}{FACTS}")

    result, facts = at_a_moment(psql, "shop", lambda snapshot: f"read {snapshot}")

    assert (result, facts.rows) == ("read 00-1", {"public.a": 3, "public.b": 4})
    (script,) = recorder.fed
    order = ("REPEATABLE READ", ":lock;", "pg_export_snapshot()", "'rows'")
    places = [script.index(words) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize("failed", [TAKEN, MADE_AFTER_THE_LIST, "42P01 \n", "3F000 \n"])
def test_a_table_that_cannot_be_locked_is_tried_again(
    failed: str, psql: Psql, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.on("psql").say(f"{failed}77 (ALTER TABLE a)\n\n" * 5 + f"{LOCKED}{FACTS}")

    assert at_a_moment(psql, "shop", str)[0] == "00-1"

    assert recorder.fed[0].count("ROLLBACK;") == 5
    assert capsys.readouterr().err == (
        "Waiting for the end of a change of a table, by session 77 (ALTER TABLE a) …\n"
    )


@pytest.mark.parametrize("rest", ["", "\n", '["rows", "public.a"', '["version", "15.18"]\n'])
def test_facts_that_break_off_are_an_error(rest: str, psql: Psql, recorder: Recorder) -> None:
    recorder.on("psql").say(f"{LOCKED}{rest}", code=2, err="server closed the connection\n")

    with pytest.raises(InputOutputError, match="server closed the connection"):
        at_a_moment(psql, "shop", str)


@pytest.mark.parametrize("out", ["42501 \n", ""])
def test_another_error_ends_the_wait(out: str, psql: Psql, recorder: Recorder) -> None:
    recorder.on("psql").say(out, code=3, err="ERROR: permission denied for table a\n")

    with pytest.raises(InputOutputError, match="permission denied"):
        at_a_moment(psql, "shop", str)


def test_a_change_between_the_moment_and_pg_dump_begins_a_new_moment(
    psql: Psql, recorder: Recorder
) -> None:
    answers = iter([f"{LOCKED}1\n", f"{LOCKED}{FACTS}"])
    recorder.on("psql").do(lambda _: Answer(0, next(answers), ""))
    reads = []

    def read(snapshot: str) -> None:
        reads.append(snapshot)
        if len(reads) == 1:
            raise InputOutputError("pg_dump waited too long")

    at_a_moment(psql, "shop", read)

    assert len(reads) == len(recorder.fed) == 2


def test_an_error_of_pg_dump_alone_is_raised(psql: Psql, recorder: Recorder) -> None:
    recorder.on("psql").say(f"{LOCKED}0\n")

    def read(_: str) -> None:
        raise InputOutputError("no space")

    with pytest.raises(InputOutputError, match="no space"):
        at_a_moment(psql, "shop", read)
