"""Axial CT slices on disk, as training reads them: one .npz a slice, whatever they were before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TrainingSlice:
    """One axial slice.

    `hu` is int16 [n, n] in Hounsfield units; `spacing_mm` the side of a pixel; `patient` decides the side of the split;
    `kernel` is the convolution kernel as the tags name it, "" when they do not; `thickness_mm` 0 when unknown.
    """

    hu: npt.NDArray[np.int16]
    spacing_mm: float
    patient: str
    kernel: str = ""
    thickness_mm: float = 0.0


def slice_files(folder: Path) -> list[Path]:
    """The slices of a folder, by name; ValueError when there are none."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(f"no training slices: {folder} holds no .npz file")
    return files


def read_slice(file: Path) -> TrainingSlice:
    """Read one slice; ValueError names the file that is none, or that is not square."""
    with np.load(file) as kept:
        if not {"hu", "spacing_mm", "patient"} <= set(kept.files):
            raise ValueError(f"{file} is no training slice: it must hold hu, spacing_mm and patient")
        hu = np.asarray(kept["hu"], dtype=np.int16)
        if hu.ndim != 2 or hu.shape[0] != hu.shape[1]:
            raise ValueError(f"{file}: training slices are square, not {list(hu.shape)}")
        return TrainingSlice(
            hu=hu,
            spacing_mm=float(np.ravel(kept["spacing_mm"])[0]),
            patient=str(kept["patient"]),
            kernel=str(kept["kernel"]) if "kernel" in kept.files else "",
            thickness_mm=float(kept["thickness_mm"]) if "thickness_mm" in kept.files else 0.0,
        )


def write_slice(file: Path, one: TrainingSlice) -> None:
    """Write one slice for `read_slice`."""
    np.savez_compressed(
        file,
        hu=one.hu,
        spacing_mm=np.asarray([one.spacing_mm, one.spacing_mm]),
        patient=one.patient,
        kernel=one.kernel,
        thickness_mm=one.thickness_mm,
    )
