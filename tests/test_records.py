"""A record is checked field by field; a fault names the field and the value seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from composed.records import read_object, record, text_map


@dataclass(frozen=True)
class Sample:
    name: str
    count: int
    at: float
    names: tuple[str, ...]
    rows: Mapping[str, int]
    later: int = 0


GOOD = {"name": "a", "count": 1, "at": 1.5, "names": ["b", "c\n"], "rows": {"a\nb": 0}}


def test_a_record_has_its_fields_and_passes_over_others() -> None:
    made = record(Sample, GOOD | {"unknown": [1]})

    assert made == Sample("a", 1, 1.5, ("b", "c\n"), {"a\nb": 0})


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("name", (1.5, None, [], {}, True, "\ud800", "a\0", "\x1b[31m"), "a text"),
        ("count", (1.5, None, "1", True, -1, 10**400, float("inf")), "a whole number from 0"),
        ("at", ("1", None, True, float("nan"), float("inf"), 10**400), "a number"),
        ("names", ("ab", None, {"a": "b"}, ["\udfff"], [1], [["a"]]), "a list of texts"),
        ("rows", (None, [], {"a": "1"}, {"a": -1}, {"\ud800": 1}), "names with whole numbers"),
    ],
)
def test_a_value_of_another_kind_names_the_field(
    name: str, values: tuple[object, ...], words: str
) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name} is .{{1,60}}, not {words}$") as caught:
            record(Sample, GOOD | {name: value})

        assert str(caught.value).isascii()


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match=r"^name is missing$"):
        record(Sample, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not JSON, line 1"),
        ("{\n'a'}", "it is not JSON, line 2"),
        ("[]", "it is not a JSON object"),
        ("[" * 10_000, "it is nested too deeply"),
        ('{"a":' * 10_000, "it is nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', "it has a number that is too long"),
    ],
)
def test_a_text_that_is_no_object_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "record").write_text(text)

    with pytest.raises(ValueError, match=words):
        read_object(tmp_path / "record")


def test_a_map_of_texts_has_texts_alone() -> None:
    assert text_map({"a": "b"}) == {"a": "b"}
    with pytest.raises(ValueError, match="a is 1, not a text"):
        text_map({"a": 1})
