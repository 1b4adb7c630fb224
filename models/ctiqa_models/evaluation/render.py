"""Tables of results as text for a terminal, as JSON, and as Markdown."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ctiqa_models.evaluation.figures import Figure
from ctiqa_models.evaluation.table import Cell, Table

NOTHING = "–"
_LARGE = 10.0


def cell_text(cell: Cell) -> str:
    """A cell as it is read: `0.984 [0.979–0.988]`, a text as it is, and – for what is not known or no number.

    Without an interval there are four decimals, as in the papers' tables; with one three, which is more than it covers.
    Values from 10 on have two.
    """
    if cell is None or (isinstance(cell, Figure) and math.isnan(cell.value)):
        return NOTHING
    if isinstance(cell, str):
        return cell
    if cell.low is None or cell.high is None:
        return _number(cell.value, 4)
    between = "–" if cell.low >= 0 else " to "  # a dash beside a minus sign cannot be read
    return f"{_number(cell.value, 3)} [{_number(cell.low, 3)}{between}{_number(cell.high, 3)}]"


def _texts(table: Table) -> list[tuple[str, ...]]:
    """The cells of each row as they are read; in a table of counts alone, whole numbers."""
    figures = [cell for row in table.rows for cell in row.cells if isinstance(cell, Figure)]
    if any(one.value > 1 for one in figures) and all(one.low is None and one.value.is_integer() for one in figures):
        return [
            tuple(f"{cell.value:.0f}" if isinstance(cell, Figure) else cell_text(cell) for cell in row.cells)
            for row in table.rows
        ]
    return [tuple(map(cell_text, row.cells)) for row in table.rows]


def _number(value: float, decimals: int) -> str:
    return f"{value:.{2 if abs(value) >= _LARGE else decimals}f}".replace("-", "\N{MINUS SIGN}")


def as_text(tables: Sequence[Table], width: int = 160) -> str:
    """The tables for a terminal of `width` columns, without colours."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, no_color=True, highlight=False)
    for index, table in enumerate(tables):
        if index:
            console.print()
        console.print(_rich(table))
        for note in table.notes:
            console.print(Text(f"  {note}"))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _rich(table: Table) -> RichTable:
    made = RichTable(title=Text(table.title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    made.add_column("", overflow="fold")
    for column in table.columns:
        made.add_column(Text(column), overflow="fold")
    made.add_column("Source", overflow="fold")
    for row, texts in zip(table.rows, _texts(table), strict=True):
        made.add_row(*(Text(text) for text in (row.name, *texts, row.source)))
    return made


def as_markdown(tables: Sequence[Table]) -> str:
    """The tables in Markdown, each with its title as a heading of level 3 and its notes as a list."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    lines = [f"### {table.title}", "", _line(("", *table.columns, "source")), "| --- " * (len(table.columns) + 2) + "|"]
    lines += [_line((row.name, *texts, row.source)) for row, texts in zip(table.rows, _texts(table), strict=True)]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def as_json(tables: Sequence[Table]) -> str:
    """The tables as a JSON list; a figure is {value, low, high}, what is no number null."""
    content = [
        {
            "title": table.title,
            "columns": list(table.columns),
            "rows": [
                {"name": row.name, "source": row.source, "cells": [_cell_json(cell) for cell in row.cells]}
                for row in table.rows
            ],
            "notes": list(table.notes),
        }
        for table in tables
    ]
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _cell_json(cell: Cell) -> str | Mapping[str, float | None] | None:
    if not isinstance(cell, Figure):
        return cell
    return {name: _finite(value) for name, value in (("value", cell.value), ("low", cell.low), ("high", cell.high))}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
}
"""By the name that the command line gives them."""
