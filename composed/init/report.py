"""What is known of a project: the lists that `composed init` ends with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from composed.errors import ComposedError
from composed.terminal import table


class Fact(NamedTuple):
    """A thing and its value; ``place`` is a file with the line, or a key, where known."""

    what: str
    value: str
    place: str = ""

    @classmethod
    def missing(cls, what: str, error: ComposedError) -> "Fact":
        """Return the fact that an error keeps unknown; its place is what to type."""
        return cls(what, error.problem, "; ".join(error.hints))


@dataclass
class Report:
    """The facts by how sure they are; ``choices`` are the answers to a key of several services."""

    found: list[Fact] = field(default_factory=list)
    guessed: list[Fact] = field(default_factory=list)
    unknown: list[Fact] = field(default_factory=list)
    warnings: list[Fact] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)


def as_text(report: Report) -> str:
    """Return the three lists, then the warnings."""
    lists = (
        ("FOUND", "VALUE", "FROM", report.found),
        ("GUESSED", "VALUE", "FROM", report.guessed),
        ("COULD NOT TELL", "WHY", "TYPE", report.unknown),
        ("WARNING", "WHAT", "FROM", report.warnings),
    )
    return "\n\n".join(_listed(*parts) for parts in lists)


def _listed(heading: str, value: str, place: str, facts: Sequence[Fact]) -> str:
    return table([(heading, value, place), *facts]) if facts else f"{heading}: nothing"
