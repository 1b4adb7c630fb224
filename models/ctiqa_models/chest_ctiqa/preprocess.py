"""From a series in Hounsfield units to what the Chest CT-IQA network takes, for training and for use alike.

The paper feeds whole volumes. Shrunk to what a CPU can take, their noise is gone, and crops at native resolution do not
show how big the patient is; but only both together tell the exposure. So the noise is measured before anything is
shrunk: each slice becomes a small picture (size and build of the patient) and two maps of how strong its fine and its
coarser detail is, taken at native resolution by an à-trous decomposition (Starck & Murtagh 1994, A&A 288:342). Their
ratio is the sharpness of the kernel, their level the noise. A further channel holds the size of a native pixel, on
which noise depends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from ctiqa_models.resample import resize

LOW_HU, HIGH_HU = -1000.0, 400.0
"""What the picture shows: lung and soft tissue; bone is white."""

PICTURE_CHANNELS = 1
BAND_CHANNELS = 2
_PADDING_HU, _METAL_HU = -1024.0, 3071.0
_USUAL_PIXEL_MM = 0.75
_USUAL_LOG_DETAIL = 2.5


@dataclass(frozen=True, slots=True)
class Shape:
    """What the network takes: `slices` slices of `size` × `size`, and whether the maps of detail are there."""

    slices: int = 8
    size: int = 128
    detail: bool = True

    @property
    def channels(self) -> int:
        """Channels of the network's input: picture, two maps of detail, pixel size; or the picture alone."""
        return PICTURE_CHANNELS + (BAND_CHANNELS + 1 if self.detail else 0)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices out of `count`, the middles of as many equal parts: all when there are no more."""
    taken = min(count, wanted)
    return [int((part + 0.5) * count / taken) for part in range(taken)]


def slice_channels(hu: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Slices [z, y, x] in HU as channels [c, z, size, size]: picture in −1 … 1, then fine and coarser detail.

    Detail is the logarithm of 1 HU + its root mean square over the area of an output pixel, centred on common noise.
    """
    hu = hu.clamp(_PADDING_HU, _METAL_HU)
    size = (shape.size, shape.size)
    picture = (resize(hu, size).clamp(LOW_HU, HIGH_HU) - LOW_HU) / (HIGH_HU - LOW_HU) * 2 - 1
    if not shape.detail:
        return picture[None]
    smooth = _blur(hu, 1)
    smoother = _blur(smooth, 2)
    bands = [resize(band.square(), size).clamp(min=0).sqrt() for band in (hu - smooth, smooth - smoother)]
    return torch.stack([picture, *(torch.log1p(band) - _USUAL_LOG_DETAIL for band in bands)])


def network_input(channels: torch.Tensor, pixel_mm: float, shape: Shape) -> torch.Tensor:
    """The input [c, slices, size, size] from `slice_channels` [c', z, size, size] of `z` ≤ `slices` slices.

    With fewer slices each is shown several times, in order.
    """
    order = spread(channels.shape[1], shape.slices)
    shown = channels[:, order].float()
    if not shape.detail:
        return shown
    pixel = torch.full_like(shown[:1], 2 * math.log(pixel_mm / _USUAL_PIXEL_MM))
    return torch.cat([shown, pixel])


def spread(count: int, wanted: int) -> Sequence[int]:
    """`wanted` indices that run through all of `count` ≤ `wanted`."""
    return [index * count // wanted for index in range(wanted)]


def _blur(image: torch.Tensor, step: int) -> torch.Tensor:
    """The binomial 3×3 filter (1 2 1)/4 on pixels `step` apart, of [z, y, x]."""
    padded = functional.pad(image[:, None], (step, step, step, step), mode="replicate")[:, 0]
    rows = (padded[:, : -2 * step] + 2 * padded[:, step:-step] + padded[:, 2 * step :]) / 4
    return (rows[..., : -2 * step] + 2 * rows[..., step:-step] + rows[..., 2 * step :]) / 4
