"""Training slices of made-up patients, for whoever has no data: chest and abdomen, a new body for every seed."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.simulation.phantom import anatomy

FIELDS_OF_VIEW_MM = (320.0, 360.0, 400.0, 440.0)
"""The phantoms take turns."""

_UNFINISHED = "unfinished"


def write_phantoms(folder: Path, patients: int, slices: int, size: int = 512, processes: int = 1) -> list[Path]:
    """Write `slices` noise-free slices [size, size] of each of `patients` phantoms, from the kidneys to the lungs.

    They are `phantom-0001` … to the split. A file that is there already is kept, so that an interrupted run goes on.
    Raises ValueError when there is nothing to draw.
    """
    if min(patients, slices, size) < 1:
        raise ValueError(f"phantoms need at least one patient, slice and pixel: {patients}, {slices}, {size}")
    (folder / _UNFINISHED).mkdir(parents=True, exist_ok=True)
    draw = partial(_write_patient, folder, slices, size)
    seeds = range(1, patients + 1)
    if processes <= 1:
        written = [draw(seed) for seed in seeds]
    else:
        with ProcessPoolExecutor(processes) as pool:
            written = list(pool.map(draw, seeds))
    return [file for files in written for file in files]


def _write_patient(folder: Path, slices: int, size: int, seed: int) -> list[Path]:
    patient = f"phantom-{seed:04d}"
    files = [folder / f"{patient}-{index:03d}.npz" for index in range(slices)]
    if all(file.exists() for file in files):
        return files
    field_mm = FIELDS_OF_VIEW_MM[seed % len(FIELDS_OF_VIEW_MM)]
    for file, hu in zip(files, anatomy(seed, slices, size, field_mm), strict=True):
        part = folder / _UNFINISHED / file.name
        write_slice(part, TrainingSlice(np.round(hu).astype(np.int16), field_mm / size, patient))
        part.replace(file)
    return files
