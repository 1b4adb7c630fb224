"""Training examples of N2Q: real slices beside the noise that the reference scanner would have added to them.

Noise is simulated once, at full resolution, and kept at the network's resolution. Adding it there in any amount gives
every dose, because resizing and the dose formula are both linear in HU.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.n2q.preprocess import SIZE, to_matrix
from ctiqa_models.resample import resize
from ctiqa_models.simulation.dose import noise_of_sinogram, project
from ctiqa_models.simulation.projector import SHARP, SMOOTH, STANDARD, Kernel

_KERNELS: tuple[Kernel, ...] = (SMOOTH, STANDARD, SHARP)
_KERNELS_PER_SLICE = 2
_REALISATIONS = 2
_SIMULATED_DOSE = 0.25


@dataclass(frozen=True, slots=True)
class Examples:
    """Slices and noise at 256×256.

    `hu` is float16 [n, 256, 256]; `noise` float16 HU [n, 2 kernels, 2 realisations, 256, 256] is that of full dose on
    the reference scanner (twice as much is a quarter dose); `fov_mm` and `patients` run with n.
    """

    hu: npt.NDArray[np.float16]
    noise: npt.NDArray[np.float16]
    fov_mm: npt.NDArray[np.float64]
    patients: tuple[str, ...]

    def of(self, patients: Sequence[str]) -> Examples:
        """The examples of these patients only."""
        chosen = [index for index, patient in enumerate(self.patients) if patient in set(patients)]
        kept = tuple(self.patients[index] for index in chosen)
        return Examples(self.hu[chosen], self.noise[chosen], self.fov_mm[chosen], kept)

    def save(self, file: Path) -> None:
        """Keep the examples, so that the next training need not simulate them again."""
        with file.open("wb") as stream:
            np.savez(stream, hu=self.hu, noise=self.noise, fov_mm=self.fov_mm, patients=np.asarray(self.patients))

    @staticmethod
    def load(file: Path) -> Examples:
        """Examples that `save` kept."""
        with np.load(file) as kept:
            patients = tuple(str(patient) for patient in kept["patients"])
            return Examples(kept["hu"], kept["noise"], kept["fov_mm"], patients)


def simulate_examples(folder: Path, processes: int = 1) -> Examples:
    """Read every .npz of `folder` (keys `hu` [n, n], `spacing_mm`, `patient`) and simulate its noise: a second each.

    Raises ValueError when there are no files, or one is not square.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(f"no training slices: {folder} holds no .npz file")
    # Spawned, not forked: torch's thread pools do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_simulate_slice, files))
    hu, noise, fov_mm, patients = zip(*parts, strict=True)
    return Examples(np.stack(hu), np.stack(noise), np.asarray(fov_mm), tuple(patients))


def _simulate_slice(file: Path) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16], float, str]:
    """One slice at the network's size, its noise, its field of view in mm and its patient."""
    torch.set_num_threads(1)
    with np.load(file) as slice_file:
        hu = torch.from_numpy(slice_file["hu"].astype(np.float32))[None]
        spacing, patient = float(slice_file["spacing_mm"][0]), str(slice_file["patient"])
    seed = zlib.crc32(file.name.encode())  # the same file has the same noise, whatever lies beside it
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(_KERNELS), generator=generator)[:_KERNELS_PER_SLICE].tolist()
    sinogram, geometry = project(hu, spacing)
    twice = sinogram.expand(_REALISATIONS, -1, -1)
    full_dose = _SIMULATED_DOSE**0.5
    noise = [
        resize(noise_of_sinogram(twice, geometry, _SIMULATED_DOSE, generator, _KERNELS[index]), (SIZE, SIZE))
        * full_dose
        for index in chosen
    ]
    return (
        to_matrix(hu)[0].numpy().astype(np.float16),
        torch.stack(noise).numpy().astype(np.float16),
        spacing * hu.shape[-1],
        patient,
    )
