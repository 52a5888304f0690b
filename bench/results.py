"""Results of a measurement: samples, the samples of the peer, the budget; printed as a table."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

__all__ = ["Budget", "Row", "table"]

Samples = list[float]


@dataclass(frozen=True)
class Budget:
    """A figure of at most `most`: ours (limit), ours - peer (difference) or ours / peer (ratio)."""

    kind: Literal["limit", "difference", "ratio"]
    most: float

    def figure(self, ours: float, peer: float) -> float:
        return {"limit": ours, "difference": ours - peer, "ratio": ours / peer if peer else 0.0}[
            self.kind
        ]


@dataclass
class Row:
    """A row for a budget. Without samples, `note` has the reason."""

    name: str
    budget: Budget | None
    unit: str = "s"
    ours: Samples | None = None
    peer: Samples | None = None
    note: str = ""

    @property
    def figure(self) -> float | None:
        if not self.ours or not self.budget:
            return None
        return self.budget.figure(median(self.ours), median(self.peer) if self.peer else 0.0)

    @property
    def verdict(self) -> str:
        if self.figure is None or not self.budget:
            return "not measured"
        return "met" if self.figure <= self.budget.most else "MISSED"

    def cells(self) -> list[str]:
        return [
            self.name,
            _shown(self.ours, self.unit),
            _shown(self.peer, self.unit),
            self._with_unit(self.figure),
            f"≤ {self._with_unit(self.budget.most)}" if self.budget else "",
            self.verdict,
            str(len(self.ours)) if self.ours else "",
            self.note,
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer,
            "budget": asdict(self.budget) if self.budget else None,
            "figure": self.figure,
            "verdict": self.verdict,
            "note": self.note,
        }

    def _with_unit(self, value: float | None) -> str:
        if value is None or not self.budget:
            return ""
        if self.budget.kind == "ratio":
            return f"{value:.2f} times"
        sign = "+" if self.budget.kind == "difference" else ""
        return f"{value:{sign}.2f} {self.unit}"


HEAD = ["measured", "ours", "peer", "figure", "budget", "verdict", "n", "note"]


def table(rows: list[Row]) -> str:
    """Render the rows as a Markdown table that also reads well on a terminal."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    shown = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def _shown(samples: Samples | None, unit: str) -> str:
    return f"{median(samples):.2f} {unit}" if samples else ""
