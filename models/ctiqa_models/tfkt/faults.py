"""Faults that some training pictures have besides dose and few views: views that are missing or lost, smoothing.

None of them is one of `simulation.held_out_distortions`, which are for testing alone.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.tfkt.plan import Loss, Smoothing

_WIDEST_WEDGE = 0.2
_MOST_LOST = 0.08
_ITERATIONS = 40


def lost_views(clean: torch.Tensor, loss: Loss, amount: float, generator: torch.Generator) -> torch.Tensor:
    """The error of `clean` [1, views, detectors] when views are lost; `amount` 0–1 says how many.

    `WEDGE`: a range of angles is missing (up to 36°). `ARCING`: the tube drops out for single views, which then measure
    a part of what they should. The rest is weighted up, so that the mean of the slice stays.
    """
    if loss is Loss.NONE:
        return torch.zeros_like(clean)
    views = clean.shape[1]
    share = torch.zeros(views)
    if loss is Loss.WEDGE:
        width = max(1, round(amount * _WIDEST_WEDGE * views))
        start = int(torch.randint(views, (1,), generator=generator))
        share[(torch.arange(width) + start) % views] = 1.0
    else:
        number = max(1, round(amount * _MOST_LOST * views))
        lost = torch.randperm(views, generator=generator)[:number]
        share[lost] = 0.3 + 0.7 * torch.rand(number, generator=generator)
    weight = (1 - share) / (1 - share).mean()
    return clean * (weight - 1)[None, :, None]


def smoothed(hu: torch.Tensor, smoothing: Smoothing, amount: float, pixel_mm: float) -> torch.Tensor:
    """A slice [n, n] in HU without some of its noise and detail; `amount` 0–1, from mild to plastic."""
    if smoothing is Smoothing.TOTAL_VARIATION:
        strength = torch.tensor([5.0 * 30.0**amount])
        return total_variation(hu[None], strength, iterations=_ITERATIONS)[0]
    picture = hu.numpy()
    if smoothing is Smoothing.GAUSSIAN:
        sigma = (0.4 + 2.6 * amount) / pixel_mm
        return torch.from_numpy(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    # cv2.medianBlur takes int16 for small kernels only, so the median of 3×3 is taken again and again.
    for _ in range(1 + round(7 * amount)):
        picture = cv2.medianBlur(np.ascontiguousarray(picture, dtype=np.float32), 5)
    return torch.from_numpy(picture)
