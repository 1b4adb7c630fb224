"""From Hounsfield units to what the N2Q network takes, for training and for use alike."""

from __future__ import annotations

import torch
from torch.nn import functional

from ctiqa_models.resample import resize
from ctiqa_models.voi import ABDOMEN

SIZE = 256
"""Rows and columns of the network's input and of its map."""

_AIR_HU = -1024.0


def to_matrix(hu: torch.Tensor) -> torch.Tensor:
    """Slices [z, y, x] in HU brought to [z, 256, 256]; padding outside the reconstruction circle becomes air."""
    return resize(hu.clamp(min=_AIR_HU), (SIZE, SIZE))


def network_input(hu: torch.Tensor, channels: int) -> torch.Tensor:
    """The network's input [z, channels, 256, 256] from slices [z, 256, 256] in HU (see `to_matrix`).

    Channel 0 is the abdomen window, −110 … 190 HU, scaled to [−1, 1]. Channel 1 is its high-pass residue (N2Q poster).
    The slice is resized before it is windowed, not after, so that noise of any amplitude stays additive until the end.
    """
    grey = ABDOMEN.apply(hu)[:, None] * 2 - 1
    if channels == 1:
        return grey
    if channels == 2:
        return torch.cat((grey, high_pass(grey)), dim=1)
    raise ValueError(f"N2Q takes one or two channels, not {channels}")


def high_pass(image: torch.Tensor) -> torch.Tensor:
    """x − up(down(gauss5×5(x))) of [z, 1, y, x]: what a low-pass pyramid of one level leaves out, mostly noise."""
    blurred = functional.conv2d(functional.pad(image, (2, 2, 2, 2), mode="reflect"), _gauss5(image))
    halved = functional.avg_pool2d(blurred, 2)
    return image - functional.interpolate(halved, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _gauss5(like: torch.Tensor) -> torch.Tensor:
    """The binomial 5×5 kernel (1 4 6 4 1)/16, a Gaussian of σ = 1 pixel."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=like.dtype, device=like.device) / 16
    return torch.outer(row, row)[None, None]
