"""Findings: the rows of `inv doctor` and `inv env --check`."""

import json
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from composed.errors import ComposedError
from composed.terminal import table

State: TypeAlias = Literal["ok", "warning", "wrong"]


class Finding(NamedTuple):
    """A row: the thing checked, its state, the value seen, the next command to type.

    Only ``wrong`` makes a check fail. ``seen`` never holds a secret.
    """

    what: str
    state: State
    seen: str
    cure: str = ""

    @classmethod
    def of(cls, what: str, error: ComposedError | None, seen: str = "") -> "Finding":
        """Return the finding for an error, or "ok" and the value ``seen`` without an error."""
        if error is None:
            return cls(what, "ok", seen)
        return cls(what, "wrong", error.problem, "; ".join(error.hints))


def any_wrong(findings: Sequence[Finding]) -> bool:
    """Return whether the check failed; warnings do not count."""
    return any(finding.state == "wrong" for finding in findings)


def as_table(findings: Sequence[Finding]) -> str:
    """Return a row for each finding, for people."""
    headings = ("CHECK", "STATE", "SEEN", "TYPE")
    return table([headings, *((f.what, f.state, f.seen or "-", f.cure) for f in findings)])


def as_json(findings: Sequence[Finding]) -> str:
    """Return a JSON object with all findings, for programs."""
    rows = [finding._asdict() for finding in findings]
    return json.dumps({"ok": not any_wrong(findings), "findings": rows}, indent=2)
