"""The report of `make soak`: one row for each soak, as JSON and as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from counting import Count
from phases import PHASES

FOLDER = Path(__file__).resolve().parents[2] / "build" / "soak"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, how often it was injected, and what was counted afterwards."""

    fault: str
    times: int
    count: Count
    seconds: float
    phases: Mapping[str, int] = field(default_factory=dict)
    """In which phases of the node it fell; several can be under way at once."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """At which steps of the worker it fell."""


class Report:
    """Collects rows; each is on disk at once."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = dict(about)
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Another row; the file is written anew."""
        self.rows.append(row)
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {**self._about, "soaks": [_as_json(each) for each in self.rows]}
        (FOLDER / "report.json").write_text(json.dumps(content, indent=1))
        (FOLDER / "report.txt").write_text(self.text())

    def text(self) -> str:
        """The same for people."""
        lines = [", ".join(f"{name} {value}" for name, value in self._about.items()), ""]
        head = ("fault", "times", "promised", "found", "lost", "doubled", "series", "final", "results", "again", "rec.")
        lines.append(f"{head[0]:<58}" + "".join(f"{name:>9}" for name in head[1:]) + f"{'s':>7}")
        for row in self.rows:
            each = row.count
            values = (
                row.times, each.promised, each.found, len(each.lost), len(each.doubled), each.series, each.final,
                each.results, each.sent_again, each.reconcile,
            )  # fmt: skip
            lines.append(f"{row.fault:<58}" + "".join(f"{value:>9}" for value in values) + f"{row.seconds:>7.0f}")
        phases = sum((Counter(row.phases) for row in self.rows), Counter[str]())
        lines += ["", "Kills of the node by what was under way (several at once count in each):"]
        lines += [f"  {phase:<12}{phases[phase]:>5}" for phase in PHASES]
        lines += ["", "Kills of the worker by what it was at:"]
        steps = sum((Counter(row.steps) for row in self.rows), Counter[str]())
        lines += [f"  {step:<28}{number:>5}" for step, number in sorted(steps.items())]
        return "\n".join(lines) + "\n"


def _as_json(row: Row) -> dict[str, Any]:
    values = asdict(replace(row, phases=dict(row.phases), steps=dict(row.steps)))
    values["count"]["lost"], values["count"]["doubled"] = len(row.count.lost), len(row.count.doubled)
    return {**values, "seconds": round(row.seconds, 1)}
