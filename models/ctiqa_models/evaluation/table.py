"""A table of results: rows of methods, ours and the papers', under columns of figures."""

from __future__ import annotations

from dataclasses import dataclass

from ctiqa_models.evaluation.figures import Figure

Cell = Figure | str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One method: its name, its cells (None: not known), and whose figures they are ("paper", "measured", …)."""

    name: str
    cells: tuple[Cell, ...]
    source: str = "measured"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, with a title and notes (what the data were, and what to keep in mind)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
