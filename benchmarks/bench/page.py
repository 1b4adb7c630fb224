"""docs/performance.md: its tables stand between markers, and are what the committed JSON says."""

from __future__ import annotations

import re
from pathlib import Path

from bench.curves import draw
from bench.figures import Run
from bench.running import FOUND, ROOT
from bench.tables import markdown

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
CURVES_OF = "turnaround"
"""The benchmark that the figure shows."""
_FIGURE = "![Time and most memory of a series, over its slices](pictures/performance.png)"
_BLOCK = re.compile(r"(<!-- bench: ([a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def results(folder: Path = RESULTS) -> dict[str, Run]:
    """The runs in a folder, by their names."""
    runs = (Run.model_validate_json(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    return {run.name: run for run in runs}


def blocks(page: str) -> dict[str, str]:
    """What stands between the markers of each benchmark."""
    return {match[2]: match[0] for match in _BLOCK.finditer(page)}


def shown(run: Run) -> str:
    """What stands in the page of a run."""
    return f"{markdown(run)}\n\n{_FIGURE}" if run.name == CURVES_OF else markdown(run)


def filled(page: str, runs: dict[str, Run]) -> str:
    """The page with the tables of these runs; a benchmark without a run keeps what stands there."""

    def block(match: re.Match[str]) -> str:
        run = runs.get(match[2])
        return match[0] if run is None else f"{match[1]}{shown(run)}\n\n{match[3]}"

    return _BLOCK.sub(block, page)


def write() -> list[str]:
    """Take the newest runs over into the results that are committed, and into the page; tells their names."""
    RESULTS.mkdir(exist_ok=True)
    names = []
    for found in sorted(FOUND.glob("*.json")):
        (RESULTS / found.name).write_bytes(found.read_bytes())
        names.append(found.stem)
    runs = results()
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), runs), encoding="utf-8")
    if CURVES_OF in runs:
        draw(runs[CURVES_OF])
    return names
