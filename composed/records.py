"""Records of Composed in JSON: each field is checked, and a fault names the field."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from composed import files

Record = TypeVar("Record")
NameInDatabase: TypeAlias = Annotated[str, "any text that PostgreSQL takes for a name"]

MOST = (1 << 53) - 1  # as far as every reader of JSON counts

# Of surrogates, only those that stand for a byte of a path are in a text.
_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_NO_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")  # nor escape codes


def record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Return the dataclass ``kind`` from the values; names of no field are passed over.

    Raises :class:`ValueError` that names the first field that is missing or of another type.
    """
    hints, found = get_type_hints(kind, include_extras=True), {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        if field.name in values:
            found[field.name] = _checked(field.name, values[field.name], hints[field.name])
        elif field.default is MISSING:
            raise ValueError(f"{field.name} is missing")
    return kind(**found)


def read_object(file: Path) -> dict[str, Any]:
    """Return a JSON object; raises :class:`ValueError` for any other text, or OSError."""
    try:
        values = json.loads(files.text(file))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, line {error.lineno}") from None
    except ValueError:
        raise ValueError("it has a number that is too long") from None
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004  # a fault of the file
    return values


def text_map(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values, all of them texts; raises :class:`ValueError` for the first other."""
    return {name: _checked(name, value, str) for name, value in values.items()}


def _checked(name: str, value: Any, kind: Any) -> Any:
    valid, words = _KINDS[kind]
    if not valid(value):
        raise ValueError(f"{name} is {_shown(value)}, not {words}")
    return tuple(value) if kind == tuple[str, ...] else value


def _shown(value: Any) -> str:
    """Return a value in ASCII, shortened: it may be large, or no text for a terminal."""
    try:
        shown = ascii(value)
    except RecursionError:
        return "nested too deeply"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not _NO_TEXT.search(value)


def _is_name(value: object) -> bool:
    """Return whether the value may be a name in a database: any text that UTF-8 has."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and -MOST < value < MOST  # type: ignore[operator]  # no NaN


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_table(value: object) -> bool:
    return (
        isinstance(value, dict)
        and all(map(_is_name, value))
        and all(map(_is_count, value.values()))
    )


_KINDS: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    str: (_is_text, "a text"),
    NameInDatabase: (_is_name, "a text"),
    int: (_is_count, "a whole number from 0"),
    float: (_is_number, "a number"),
    tuple[str, ...]: (_is_list, "a list of texts"),
    Mapping[str, int]: (_is_table, "names with whole numbers"),
}
