"""From Hounsfield units to what a TFKT network takes, for training and for use alike."""

from __future__ import annotations

import torch

from ctiqa_models.resample import resize
from ctiqa_models.voi import Window

SIZE = 512
"""Rows and columns of the network's input."""

AIR_HU = -1024.0
WHITE_HU = 450.0

LDCTIQAC = Window(centre=(AIR_HU + WHITE_HU) / 2, width=WHITE_HU - AIR_HU)
"""What the images of LDCTIQAC 2023 show, −1024 … 450 HU: fat at 0.63, muscle at 0.73, cortical bone saturated."""


def network_input(hu: torch.Tensor) -> torch.Tensor:
    """The network's input [z, 1, 512, 512] in 0–1 from slices [z, y, x] in HU.

    Padding outside the reconstruction circle becomes air. A slice is resized before it is windowed, so that noise stays
    additive until the end; then comes the window of LDCTIQAC, then each slice is stretched to its own range.
    """
    slices = resize(hu.clamp(min=AIR_HU), (SIZE, SIZE))
    return stretched(LDCTIQAC.apply(slices))[:, None]


def stretched(grey: torch.Tensor) -> torch.Tensor:
    """Per-slice min–max normalisation of [z, y, x] to [0, 1] (TFKT's recipe); a constant slice becomes 0."""
    low, high = grey.amin(dim=(1, 2), keepdim=True), grey.amax(dim=(1, 2), keepdim=True)
    return (grey - low) / (high - low).clamp(min=torch.finfo(grey.dtype).tiny)
