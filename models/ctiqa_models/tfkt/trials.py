"""Pictures to measure a TFKT on: validation slices at falling doses, faults of rising severity, real dose pairs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ctiqa_models.data.slices import read_slice
from ctiqa_models.data.split import is_held_out
from ctiqa_models.simulation.distortions_ct import Projections, take_projections
from ctiqa_models.simulation.dose import REFERENCE_SCANNER, noise_of_sinogram
from ctiqa_models.simulation.held_out_distortions import LEVELS, HeldOut, distort_held_out
from ctiqa_models.tfkt.bases import Base, slice_base

DOSES = (1.0, 0.5, 0.25, 0.1, 0.05)
_MOST = 12


@dataclass(frozen=True, slots=True)
class Trial:
    """Pictures of one slice, HU [k, n, n], and whose they are."""

    patient: str
    hu: torch.Tensor


Make = Callable[[Base], torch.Tensor]


def chosen(files: Sequence[Path]) -> list[Path]:
    """Up to 12 slices of validation patients, as many patients among them as can be."""
    by_patient: dict[str, list[Path]] = {}
    for file in files:
        patient = read_slice(file).patient
        if is_held_out(patient):
            by_patient.setdefault(patient, []).append(file)
    rounds = [slices[number] for number in range(_MOST) for slices in by_patient.values() if number < len(slices)]
    return sorted(rounds[:_MOST])


def trials(files: Sequence[Path], size: int, name: str, make: Make, cache: Path | None) -> list[Trial]:
    """Pictures of these slices as `make` makes them; kept in the folder `cache` under `name`."""
    return [_trial(file, size, name, make, cache) for file in files]


def _trial(file: Path, size: int, name: str, make: Make, cache: Path | None) -> Trial:
    kept = cache / name / f"{file.stem}.npy" if cache is not None else None
    if kept is not None and kept.exists():
        return Trial(read_slice(file).patient, torch.from_numpy(np.load(kept).astype(np.float32)))
    base = slice_base(file, size)
    hu = make(base).round()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, hu.numpy().astype(np.int16))
    return Trial(base.patient, hu)


def at_doses(base: Base) -> torch.Tensor:
    """The slice at 100, 50, 25, 10 and 5 % of the reference scanner's full dose, denoised first: [5, n, n]."""
    projections = _projected(base)
    generator = _generator(base)
    noise = [noise_of_sinogram(projections.sinogram, projections.geometry, dose, generator) for dose in DOSES]
    return _kept(base.clean + torch.cat(noise))


def with_fault(kind: HeldOut) -> Make:
    """How to make the denoised slice with a fault that no training sees, at its five levels: [5, n, n]."""

    def make(base: Base) -> torch.Tensor:
        projections = _projected(base)
        return _kept(torch.cat([distort_held_out(projections, kind, level, _generator(base)) for level in LEVELS]))

    return make


def pairs(folder: Path) -> list[Trial]:
    """Real slices at full and at quarter dose, [2, n, n]; the name of the file stands for the patient."""
    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as kept:
            both = np.stack([kept["full"], kept["quarter"]]).astype(np.float32)
        found.append(Trial(file.stem, torch.from_numpy(both)))
    if not found:
        raise ValueError(f"{folder} holds no pairs of full and quarter dose (.npz)")
    return found


def _projected(base: Base) -> Projections:
    return take_projections(base.clean, base.pixel_mm, REFERENCE_SCANNER)


def _generator(base: Base) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(base.name.encode()))


def _kept(hu: torch.Tensor) -> torch.Tensor:
    return hu.clamp(-1024.0, 3071.0)
