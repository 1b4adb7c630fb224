"""docs/pictures/performance.png: time and memory of a series over its slices, from the committed results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import Run
from bench.running import ROOT

PICTURE = ROOT / "docs" / "pictures" / "performance.png"
INK, THEIRS, FRAME = "#1a5276", "#b9770e", "#555555"
LINEAR = "--"


def curve(found: Run, name: str) -> list[tuple[float, float, float, float]]:
    """The points of one curve: slices, median, least, most."""
    return sorted(
        (line.point.at, line.measured.median, line.measured.low, line.measured.high)
        for line in found.lines
        if line.point is not None and line.point.curve == name and line.measured is not None
    )


def draw(found: Run, path: Path = PICTURE) -> None:
    """Draw time beside memory, both over slices; the bars are the spread, the broken line is proportional growth."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    seconds = curve(found, "time")
    _plot(time, seconds, "report in the archive", INK)
    first, last = seconds[0][0], seconds[-1][0]
    anchor = min(seconds, key=lambda point: abs(point[0] - 100))
    ends = (max(first, anchor[0]), last)
    proportional = [anchor[1] * slices / anchor[0] for slices in ends]
    time.plot(ends, proportional, LINEAR, color=FRAME, linewidth=1, label="in proportion")
    time.set_yscale("log")
    time.set_ylabel("seconds after the quiet time")
    for name, label, colour in (("worker", "worker", INK), ("receiver", "receiver", THEIRS)):
        points = [(at, *(value / 1024 for value in values)) for at, *values in curve(found, name)]
        _plot(memory, points, label, colour)
    memory.set_ylim(bottom=0)
    memory.set_ylabel("most memory, GiB")
    for axes in (time, memory):
        _finish(axes, [int(point[0]) for point in seconds])
    path.parent.mkdir(exist_ok=True)
    # Without a date in it, so that the same results give the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _plot(axes: Axes, points: Sequence[Sequence[float]], label: str, colour: str) -> None:
    slices, median, low, high = zip(*points, strict=True)
    spread = [[m - lo for m, lo in zip(median, low, strict=True)], [h - m for m, h in zip(median, high, strict=True)]]
    axes.errorbar(slices, median, yerr=spread, fmt="o-", color=colour, capsize=3, markersize=4, label=label)


def _finish(axes: Axes, slices: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(slices, [f"{count:,}".replace(",", " ") for count in slices])
    axes.minorticks_off()
    axes.set_xlabel("slices of 512 × 512")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
