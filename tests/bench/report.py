"""What a run leaves behind: Markdown, JSON and charts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

NOTHING = "-"
Cell = str | float | int | None


@dataclass
class Table:
    """One table of the report."""

    title: str
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""

    def add(self, *cells: Cell) -> None:
        assert len(cells) == len(self.columns), (cells, self.columns)
        self.rows.append(list(cells))

    def markdown(self) -> str:
        lines = ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in self.rows]
        note = [self.note, ""] if self.note else []
        return "\n".join([f"### {self.title}", "", *note, *lines, ""])


@dataclass
class Goal:
    """One line of what is to be reached. `reached` None: it could not be measured."""

    what: str
    reach: str
    measured: str
    reached: bool | None

    def cells(self) -> list[Cell]:
        return [self.what, self.reach, self.measured, {True: "yes", False: "no", None: "not measured"}[self.reached]]


@dataclass
class Line:
    """One line of a chart: named, as (x, y)."""

    chart: str  # which chart it is in
    name: str
    points: list[tuple[float, float]]


@dataclass
class Findings:
    """All of one run."""

    conditions: dict[str, str] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def goal(self, what: str, reach: str, measured: str, reached: bool | None) -> None:
        self.goals.append(Goal(what, reach, measured, reached))

    def markdown(self) -> str:
        goals = Table("Goals", ["what", "reach", "measured", "reached"], [g.cells() for g in self.goals])
        parts = [goals.markdown(), *(table.markdown() for table in self.tables)]
        if self.skipped:
            parts.append("### Skipped\n\n" + "\n".join(f"- {line}" for line in self.skipped) + "\n")
        parts.append("### Conditions\n\n" + "\n".join(f"- {n}: {v}" for n, v in self.conditions.items()) + "\n")
        return "\n".join(parts)

    def json(self) -> str:
        return json.dumps(asdict(self), indent=1, default=str)


def shown(cell: Any) -> str:
    """Return a figure with as many digits as it deserves: three that count."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return NOTHING
    if isinstance(cell, float):
        digits = 0 if abs(cell) >= 100 else 1 if abs(cell) >= 10 else 2
        return f"{cell:,.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def ratio(ours: float, theirs: float) -> str:
    """Return ours as a part of theirs, in percent."""
    return f"{100 * ours / theirs:.0f} %" if theirs else NOTHING
