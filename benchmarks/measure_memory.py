"""Benchmark 4, the part of the volume: time and memory of a series over its slices, loaded and read once by a model.

Each case is a process of its own, as its peak counts; `--slices` is how it is told what to do.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Line, Measured, at_most, compared
from bench.running import Options, run
from bench.series_files import series_files
from bench.timing import forget_peak, in_child, peak_mib, resident_mib, say

SIZES = (300, 1000, 3000)
MODEL = "snr"


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """Load each series and let the model that is quickest over all slices read it."""
    for slices in SIZES:
        series_files(options.scratch, slices)
    found: dict[int, list[dict[str, float]]] = {slices: [] for slices in SIZES}
    for turn in range(options.rounds):
        for slices in SIZES:
            arguments = ("--slices", str(slices), "--scratch", str(options.scratch))
            found[slices].append(in_child(Path(__file__), *arguments))
        say(f"round {turn + 1} of {options.rounds}")
    lines = []
    for what, unit, limit in (("peak memory", "MiB", 1.3), ("time a slice", "ms", None)):
        base: Line | None = None
        for slices in SIZES:
            measured = Measured(unit=unit, values=tuple(_value(each, what, slices) for each in found[slices]))
            target = at_most(limit) if limit is not None and slices == SIZES[-1] else None
            line = compared(f"{what}, {slices:,} slices", measured, base, target)
            base = base or line
            lines.append(line)
    before = Measured(unit="MiB", values=tuple(each["before"] for rounds in found.values() for each in rounds))
    note = (
        f"512 × 512 uncompressed, loaded with a thread for each core and read by {MODEL}. With all that it imports the "
        f"process has {before.median:.0f} MiB before it loads anything. The {SIZES[-1]:,} slices are "
        f"{SIZES[-1] / 1024:.1f} GiB of float32."
    )
    return lines, [note]


def _value(each: dict[str, float], what: str, slices: int) -> float:
    return each["peak"] if what == "peak memory" else 1000 * each["seconds"] / slices


def one(slices: int, scratch: Path) -> None:
    """Do it once, and print what it took."""
    from ctiqa_node.analysis import Analyst
    from ctiqa_node.ct.loader import load_series
    from ctiqa_node.ct.scratch import Scratch
    from ctiqa_node.tasks import sparing

    paths = series_files(scratch, slices)
    analyst = Analyst("cpu", (MODEL,))
    before = resident_mib()
    forget_peak()
    began = time.perf_counter()
    volume = load_series(paths, scratch=Scratch(scratch))
    (assessed,) = analyst.assess(volume, sparing(volume, lambda _share: None))
    took = time.perf_counter() - began
    assert assessed.model.measurements, assessed.model.reason
    print(json.dumps({"seconds": took, "peak": peak_mib(), "before": before}))


if __name__ == "__main__":
    if "--slices" in sys.argv:
        one(int(sys.argv[sys.argv.index("--slices") + 1]), Path(sys.argv[sys.argv.index("--scratch") + 1]))
    else:
        run("memory", "Time and memory over slices: loading and reading a volume", measure)
