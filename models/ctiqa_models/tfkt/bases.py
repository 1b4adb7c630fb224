"""What pictures are made of: a slice as it came, and the same without noise, which is the reference of every label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ctiqa_models.data.slices import read_slice
from ctiqa_models.n2q.body import find_anatomy, quietest_deviation
from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.resample import resize
from ctiqa_models.simulation.phantom import anatomy

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0
DENOISING = 1.5
"""Strength of the denoising in standard deviations of the slice's own noise: below 1 the noise still shows."""
_ITERATIONS = 100
_PHANTOM_FIELD_MM = 400.0
_PHANTOM_HEIGHTS = 2


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
    """A made-up patient's abdomen (even seeds) or chest (odd seeds): clean as it is."""
    drawn = anatomy(seed // _PHANTOM_HEIGHTS, _PHANTOM_HEIGHTS, size, _PHANTOM_FIELD_MM)[seed % _PHANTOM_HEIGHTS]
    hu = torch.from_numpy(drawn).clamp(LOWEST_HU, HIGHEST_HU)[None]
    patient = f"phantom-{seed // _PHANTOM_HEIGHTS}"
    return Base(f"phantom_{seed:04d}", patient, hu, hu, _PHANTOM_FIELD_MM / size, 0.0)
