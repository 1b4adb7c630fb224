"""How a benchmark is run: its options, its scratch folder, and what is printed and written at its end."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench.figures import LEAST_ROUNDS, Line, Run
from bench.machine import describe, versions
from bench.tables import rich_table

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "build" / "bench"
"""Where the JSON files of runs go."""
WIDTH = 140


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who runs a benchmark may choose."""

    rounds: int
    scratch: Path
    """A folder for files that may be used again by the next run; on the disk that is measured."""
    own: argparse.Namespace
    """What the benchmark's own options were given, or left at."""


Measure = Callable[[Options], tuple[Sequence[Line], Sequence[str]]]
"""A benchmark: its lines, and sentences for below the table."""


def run(
    name: str,
    title: str,
    measure: Measure,
    packages: Sequence[str] = (),
    *,
    with_gpu: bool = False,
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Run a benchmark as a program: measure, print the table, write `build/bench/NAME.json`."""
    options = _options(title, add_options)
    machine, began = describe(with_gpu=with_gpu), time.monotonic()
    lines, notes = measure(options)
    found = Run(
        name=name,
        title=title,
        at=datetime.now(UTC).replace(microsecond=0),
        seconds=round(time.monotonic() - began, 1),
        machine=machine,
        versions=versions(*packages),
        lines=tuple(lines),
        notes=tuple(notes),
    )
    FOUND.mkdir(parents=True, exist_ok=True)
    (FOUND / f"{name}.json").write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    console = Console(width=WIDTH)
    console.print(rich_table(found))
    for note in found.notes:
        console.print(note, highlight=False, markup=False)


def numbers(text: str) -> tuple[int, ...]:
    """Of an option: whole numbers between commas, from the least on."""
    return tuple(sorted({int(part) for part in text.split(",")}))


def _options(title: str, add_options: Callable[[argparse.ArgumentParser], None] | None) -> Options:
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="how often each case is measured")
    parser.add_argument("--scratch", type=Path, default=FOUND / "scratch", help="folder for large files")
    if add_options is not None:
        add_options(parser)
    given = parser.parse_args()
    if given.rounds < LEAST_ROUNDS:
        parser.error(f"at least {LEAST_ROUNDS} rounds")
    given.scratch.mkdir(parents=True, exist_ok=True)
    return Options(given.rounds, given.scratch.resolve(), given)
