"""The table of a run: for a terminal, and for docs/performance.md."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.figures import Line, Measured, Run

_COLUMNS = ("", "median (least–most)", "ratio (least–most)", "against", "target", "met")
_BUSY = 0.5


def rich_table(found: Run) -> Table:
    """The table as a terminal shows it."""
    table = Table(title=found.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for line in found.lines:
        style = "red" if line.met is False else None
        table.add_row(*map(Text, _cells(line)), style=style)
    return table


def markdown(found: Run) -> str:
    """The table with its circumstances and notes, as it stands in the page."""
    head = [f"| {' | '.join(_COLUMNS)} |", "| --- | --: | --: | --- | --- | --- |"]
    body = [f"| {' | '.join(_marked(line))} |" for line in found.lines]
    notes = [f"- {note}" for note in found.notes]
    return "\n".join([_circumstances(found), "", *head, *body, *(["", *notes] if notes else [])])


def _circumstances(found: Run) -> str:
    machine = found.machine
    beside = f", beside other work (load {machine.load_before:g} before)" if machine.load_before > _BUSY else ""
    gpu = f", {machine.gpu}" if machine.gpu else ""
    used = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    return (
        f"{found.at:%Y-%m-%d %H:%M} UTC, {machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB{gpu}, "
        f"{machine.system}{beside}. {used}."
    )


def _marked(line: Line) -> tuple[str, ...]:
    """The cells for Markdown: what is missed stands out."""
    *others, met = _cells(line)
    return (*others, "**no**" if met == "no" else met)


def _cells(line: Line) -> tuple[str, ...]:
    met = {None: "", True: "yes", False: "no"}[line.met]
    what = f"{line.what} ({line.note})" if line.note else line.what
    return (
        what,
        "–" if line.measured is None else _with_spread(line.measured),
        "" if line.ratio is None else _with_spread(line.ratio),
        line.against or "",
        line.target.sentence if line.target else "",
        met,
    )


def _with_spread(measured: Measured) -> str:
    middle = f"{number(measured.median)} {measured.unit}"
    if len(measured.values) == 1:
        return middle
    return f"{middle} ({number(measured.low)}–{number(measured.high)})"


def number(value: float) -> str:
    """Three digits that count, without powers of ten."""
    if value == 0:
        return "0"
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4
    return f"{value:,.{decimals}f}".replace(",", " ")
