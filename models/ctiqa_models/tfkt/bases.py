"""What pictures are made of: a slice as it came, and the same without noise, which is the reference of every label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ctiqa_models.data.slices import read_slice
from ctiqa_models.n2q.body import find_anatomy, quietest_deviation
from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.resample import resize
from ctiqa_models.simulation.dose import noise_of_sinogram, project
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.projector import filtered_back_projection, mu_to_hu
from ctiqa_models.tfkt.plan import draw_kernel

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0
DENOISING = 1.5
"""Strength of the denoising in standard deviations of the slice's own noise: below 1 the noise still shows."""
_ITERATIONS = 100
_PHANTOM_FIELD_MM = 400.0
_PHANTOM_HEIGHTS = 4
_PHANTOM_MATRICES = (1.0, 1.0, 0.75, 0.875, 1.25, 1.5)
"""Rows that a phantom is reconstructed on before it is brought to the pictures' own."""
_PHANTOM_DOSES = (0.25, 16.0)
"""The lowest dose of a phantom, as a fraction of full dose, and how many times as much the highest is."""


@dataclass(frozen=True, slots=True)
class Base:
    """One slice: HU [1, n, n] as it came and denoised, the side of a pixel, and whose it is.

    `noise_hu` is the standard deviation that the slice came with, where tissue is quietest.
    """

    name: str
    patient: str
    own: torch.Tensor
    clean: torch.Tensor
    pixel_mm: float
    noise_hu: float


def slice_base(file: Path, size: int) -> Base:
    """The base that a training slice gives, at `size` rows and columns; ValueError when the file is no such slice."""
    one = read_slice(file)
    hu = torch.from_numpy(one.hu.astype(np.float32)).clamp(LOWEST_HU, HIGHEST_HU)[None]
    hu = resize(hu, (size, size))
    slice_noise = quietest_deviation(hu[0].numpy(), find_anatomy(hu[0].numpy()))
    clean = total_variation(hu, torch.tensor([DENOISING * slice_noise]), iterations=_ITERATIONS)
    return Base(file.stem, one.patient, hu, clean, one.spacing_mm * one.hu.shape[0] / size, slice_noise)


def phantom_base(seed: int, size: int) -> Base:
    """A slice of a made-up patient, scanned: projected, reconstructed with a kernel drawn at random, then resized.

    Scanned, because what a reconstruction blurs must not pass for smoothing. `clean` has no noise, `own` that of a dose
    drawn at random. Seeds that follow one another are the heights of one patient.
    """
    lots = torch.Generator().manual_seed(seed)
    rows = round(size * _PHANTOM_MATRICES[int(torch.randint(len(_PHANTOM_MATRICES), (1,), generator=lots))])
    dose = math.exp(math.log(_PHANTOM_DOSES[1]) * float(torch.rand(1, generator=lots))) * _PHANTOM_DOSES[0]
    patient, height = divmod(seed, _PHANTOM_HEIGHTS)
    drawn = anatomy(patient, _PHANTOM_HEIGHTS, rows, _PHANTOM_FIELD_MM)[height]
    sinogram, geometry = project(torch.from_numpy(drawn)[None], _PHANTOM_FIELD_MM / rows)
    kernel = draw_kernel(lots)
    scanned = mu_to_hu(filtered_back_projection(sinogram, geometry, kernel))
    noisy = scanned + noise_of_sinogram(sinogram, geometry, dose, lots, kernel)
    own, clean = (_as_stored(hu, size) for hu in (noisy, scanned))
    noise_hu = quietest_deviation(own[0].numpy(), find_anatomy(clean[0].numpy()))
    return Base(f"phantom_{seed:04d}", f"phantom-{patient}", own, clean, _PHANTOM_FIELD_MM / size, noise_hu)


def _as_stored(hu: torch.Tensor, size: int) -> torch.Tensor:
    """Whole Hounsfield units in the circle that is reconstructed, padding around it, then `size` rows and columns."""
    rows = hu.shape[-1]
    axis = torch.arange(rows) - (rows - 1) / 2
    outside = torch.hypot(axis[:, None], axis[None, :]) > rows / 2
    stored = hu.round().clamp(LOWEST_HU, HIGHEST_HU).masked_fill(outside, LOWEST_HU)
    return resize(stored, (size, size))
