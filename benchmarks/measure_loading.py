"""Benchmark 2: from files to a volume in Hounsfield units, against pydicom's plain loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from bench.figures import Line, at_least, compared
from bench.running import Options, run
from bench.series_files import SYNTAXES, series_files
from bench.timing import alternate, say
from pydicom.pixels.processing import apply_rescale

from ctiqa_node.ct.loader import load_series

SLICES = 300


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """Load the same series in each transfer syntax: by the plain loop, by ours with one thread, by ours as it ships."""
    lines, sizes = [], []
    for name in SYNTAXES:
        paths = series_files(options.scratch, SLICES, name)
        sizes.append(f"{name} {sum(path.stat().st_size for path in paths) / 2**20:.0f} MiB")
        np.testing.assert_array_equal(load_series(paths).hu, _plain(paths))
        say(name)
        cases: dict[str, Callable[[], object]] = {
            "pydicom's loop": partial(_plain, paths),
            "one thread": partial(load_series, paths, threads=1),
            "a thread for each core": partial(load_series, paths),
        }
        took = {case: found.per_second(SLICES, "slices/s") for case, found in alternate(cases, options.rounds).items()}
        base = compared(f"{name}: pydicom's loop", took["pydicom's loop"])
        lines += [base, compared(f"{name}: one thread", took["one thread"], base)]
        lines.append(compared(f"{name}: a thread for each core", took["a thread for each core"], base, at_least(1)))
    notes = (
        f"{SLICES} slices of 512 × 512, 16 bits, chest anatomy with quantum noise: {', '.join(sizes)}; read before, so "
        "from the system's memory.",
        "pydicom's loop: `dcmread`, `pixel_array`, `apply_rescale`, `numpy.stack`; it neither sorts nor checks. "
        "The numbers are equal, which each run asserts.",
    )
    return lines, notes


def _plain(paths: Sequence[Path]) -> npt.NDArray[np.float32]:
    slices = []
    for path in paths:
        dataset = pydicom.dcmread(path)
        slices.append(apply_rescale(dataset.pixel_array, dataset).astype(np.float32))
    return np.stack(slices)


if __name__ == "__main__":
    packages = ("imagecodecs", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm")
    run("loading", "Loading: 300 slices from files to Hounsfield units", measure, packages)
