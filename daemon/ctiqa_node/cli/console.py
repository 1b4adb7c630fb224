"""What every command prints with: two consoles, JSON, tables, times, and the words for values."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, TypeAdapter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctiqa_node.db.columns import now
from ctiqa_node.db.states import DeliveryState
from ctiqa_node.report import wording
from ctiqa_node.report.quantities import quantity

if TYPE_CHECKING:
    from ctiqa_node.result_values import ModelResult

WIDTH_WITHOUT_TERMINAL = 160
"""Wide enough for a line with two UIDs, so that what is piped into grep is not broken."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


def out() -> Console:
    """Standard output, for what was asked for."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error, for complaints and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=width, highlight=False)


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """Print a value, or a list of values, as indented JSON."""
    if isinstance(value, BaseModel):
        typer.echo(value.model_dump_json(indent=2))
    else:
        typer.echo(TypeAdapter(list[BaseModel]).dump_json(list(value), indent=2, serialize_as_any=True).decode())


def print_failure(message: str) -> None:
    """Say on standard error what went wrong."""
    err().print(plain(message, style="bold red"), soft_wrap=True)


def plain(text: str, style: str = "") -> Text:
    """A text as it is: what a peer sent is never read as markup, and its control characters never reach a terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text), style=style)


def say(text: str, style: str = "") -> None:
    """Print one sentence on standard output, on one line where nobody folds it."""
    out().print(plain(text, style), soft_wrap=True)


def table(title: str | None, *columns: str) -> Table:
    """An empty table; text that is too wide is folded, never cut, so that UIDs can be copied."""
    made = Table(
        title=None if title is None else plain(title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def row(into: Table, *cells: object) -> None:
    """Add a row of plain texts; None and "" show as an empty cell."""
    into.add_row(*(plain("" if cell is None else str(cell)) for cell in cells))


def facts(*pairs: tuple[str, object]) -> Table:
    """Names and values below each other; pairs without a value (None, "", 0) are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", 0):
            row(grid, name, value)
    return grid


def state_of_sending(state: str) -> str:
    """The state of a delivery in words, where its name says too little."""
    return "sent, waiting for commitment" if state == DeliveryState.UNCOMMITTED else state


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 file", "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def when(moment: datetime) -> str:
    """A moment in UTC, as the log has it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def age(moment: datetime) -> str:
    """How long ago a moment was, or how far it is ahead, in its two largest units."""
    seconds = round((now() - moment).total_seconds())
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def duration(seconds: int) -> str:
    """A time span in its two largest units: "2 h 5 min"."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def value_lines(model: ModelResult) -> Iterator[tuple[str, str]]:
    """The values of the series and its likeliest classes: a title and a text with the unit."""
    for measurement in model.measurements:
        title = quantity(measurement.name).title
        yield title, wording.value_text(measurement.name, measurement.value, measurement.unit)
    for name in dict.fromkeys(c.name for c in model.classifications):
        likeliest = max((c for c in model.classifications if c.name == name), key=lambda c: c.probability)
        yield wording.evaluation_title(name), wording.class_text(likeliest.label, likeliest.probability)


def values_in_short(models: Sequence[ModelResult]) -> str:
    """All values of a series in one line."""
    return ", ".join(f"{title} {text}" for model in models for title, text in value_lines(model))
