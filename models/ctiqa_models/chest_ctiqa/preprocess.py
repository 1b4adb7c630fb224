"""From a series in Hounsfield units to what the Chest CT-IQA network takes, for training and for use alike.

The paper feeds whole volumes. Shrunk to what a CPU can take, their noise is gone, and crops at native resolution do not
show how big the patient is; but only both together tell the exposure. So noise is measured before anything is shrunk:
each slice becomes a small picture and two maps of how strong its fine and its coarser detail is, taken at native
resolution by an à-trous decomposition (Starck & Murtagh 1994, A&A 288:342). Beside them stands a map of the noise that
a scanner has there at any one exposure, because of what the rays go through (`expected_noise`). Detail over expected
noise is the exposure but for the kernel, and fine over coarser detail is the kernel. Both are also told, as one number
a slice spread over a channel, where soft tissue is quietest (`_quietest`): there is noise and no structure, and edges
cannot drown it in max-pooling. The last channel is the size of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from ctiqa_models.resample import resize
from ctiqa_models.simulation.projector import ParallelGeometry, back_project, forward, hu_to_mu

LOW_HU, HIGH_HU = -1000.0, 400.0
"""What the picture shows: lung and soft tissue; bone is white."""

_DETAIL_CHANNELS = 6
_MEASURED = 128
_PADDING_HU, _METAL_HU = -1024.0, 3071.0
_USUAL_PIXEL_MM = 0.75
_USUAL_LOG_DETAIL = 2.5
_FAINTEST_HU = 0.3
_USUAL_EXPECTED = 1.5

_TISSUE_HU = (-50.0, 120.0)
_QUIET_SHARE = 0.02
_LEAST_TISSUE = 100

_LEVEL_OF_SHARPNESS = (0.107, -0.250, 0.873, 0.71)
"""Coarser detail of noise at one exposure, by its sharpness: a cubic through the virtual scanner's kernels."""
_STRETCH_SHARPNESS, _STRETCH_LEVEL = 2.0, 4.0

_COARSE_SIDE = 64
_COARSE_VIEWS = 48


@dataclass(frozen=True, slots=True)
class Shape:
    """What the network takes: `slices` slices of `size` × `size`, and whether detail is told beside the picture."""

    slices: int = 8
    size: int = 32
    detail: bool = True

    @property
    def measured(self) -> int:
        """Rows and columns of `slice_channels`: detail is measured more finely than the network sees it."""
        return _MEASURED if self.detail else self.size

    @property
    def channels(self) -> int:
        """Channels of the network's input: the picture, and six of detail unless the picture stands alone."""
        return 1 + (_DETAIL_CHANNELS if self.detail else 0)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices out of `count`, the middles of as many equal parts: all when there are no more."""
    taken = min(count, wanted)
    return [int((part + 0.5) * count / taken) for part in range(taken)]


def slice_channels(hu: torch.Tensor, pixel_mm: float, shape: Shape) -> torch.Tensor:
    """Slices [z, n, n] in HU as channels [c, z, m, m], m = `measured`: picture, fine, coarser detail, expected noise.

    The picture is −1 … 1. Detail is the logarithm of 1 HU + its root mean square over the area of an output pixel,
    centred on common noise.
    """
    hu = hu.clamp(_PADDING_HU, _METAL_HU)
    size = (shape.measured, shape.measured)
    small = resize(hu, size).clamp(LOW_HU, HIGH_HU)
    picture = (small - LOW_HU) / (HIGH_HU - LOW_HU) * 2 - 1
    if not shape.detail:
        return picture[None]
    smooth = _blur(hu, 1)
    smoother = _blur(smooth, 2)
    bands = [resize(band.square(), size).clamp(min=0).sqrt() for band in (hu - smooth, smooth - smoother)]
    details = (torch.log1p(band) - _USUAL_LOG_DETAIL for band in bands)
    return torch.stack([picture, *details, expected_noise(small, pixel_mm * hu.shape[-1])])


def expected_noise(small: torch.Tensor, field_of_view_mm: float) -> torch.Tensor:
    """Logarithm of the noise that slices [z, n, n] in HU have at any one exposure, up to a constant: [z, n, n].

    In filtered back-projection the variance at a point is the sum over the views of that of the ray through it, and a
    ray's is as exp(p) when p is its line integral. 48 views of a coarse copy are enough: the map is smooth.
    """
    side = min(_COARSE_SIDE, small.shape[-1])
    coarse = resize(small, (side, side))
    geometry = ParallelGeometry(_COARSE_VIEWS, side, field_of_view_mm / side, side)
    variance = back_project(forward(hu_to_mu(coarse), geometry).exp(), geometry) / _COARSE_VIEWS
    noise = 0.5 * variance.clamp(min=1e-3).log()
    return resize(noise, (small.shape[-1], small.shape[-1]))


def slice_maps(channels: torch.Tensor, pixel_mm: float, shape: Shape) -> torch.Tensor:
    """What the network sees of each slice, [c, z, size, size], from its `slice_channels` [c', z, m, m]."""
    shown = channels.float()
    if not shape.detail:
        return shown
    picture, fine, coarse, expected = shown
    pixel = math.log(pixel_mm / _USUAL_PIXEL_MM)
    # Noise of filtered back-projection goes with the pixel as its −3/2th power.
    expected = expected - 1.5 * pixel - _USUAL_EXPECTED
    sharpness, level = _quietest(picture, fine, coarse, expected)
    maps = [picture, fine, coarse, expected]
    maps += [torch.zeros_like(picture) + number for number in (sharpness, level)]
    maps.append(torch.full_like(picture, pixel))
    return torch.stack([resize(one, (shape.size, shape.size)) for one in maps])


def network_input(maps: torch.Tensor, slices: int) -> torch.Tensor:
    """The input [c, slices, size, size] from the `slice_maps` of as many slices or fewer.

    With fewer each is shown several times, in order.
    """
    return maps[:, spread(maps.shape[1], slices)]


def _quietest(
    picture: torch.Tensor, fine: torch.Tensor, coarse: torch.Tensor, expected: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sharpness and level of the noise where the soft tissue of each slice is quietest, each [z, 1, 1].

    Sharpness is fine over coarser detail; level is coarser detail over the expected noise, less what a kernel of that
    sharpness makes of it. Both are logarithms, stretched to about −2 … 2.
    """
    low, high = ((limit - LOW_HU) / (HIGH_HU - LOW_HU) * 2 - 1 for limit in _TISSUE_HU)
    told: list[tuple[float, float]] = []
    for index, grey in enumerate(picture):
        tissue = (grey > low) & (grey < high)
        if int(tissue.sum()) < _LEAST_TISSUE:
            tissue = torch.ones_like(tissue)
        least = [
            float(torch.quantile(_log_detail(detail[index][tissue]) - expected[index][tissue], _QUIET_SHARE))
            for detail in (fine, coarse)
        ]
        told.append((least[0] - least[1], least[1]))
    sharpness, level = torch.tensor(told, dtype=picture.dtype, device=picture.device).T[..., None, None]
    usual = sum(factor * sharpness ** (3 - power) for power, factor in enumerate(_LEVEL_OF_SHARPNESS))
    return _STRETCH_SHARPNESS * sharpness, _STRETCH_LEVEL * (level - usual)


def _log_detail(detail: torch.Tensor) -> torch.Tensor:
    """Logarithm of the root mean square itself, of detail as `slice_channels` keeps it."""
    return torch.log(torch.expm1(detail + _USUAL_LOG_DETAIL).clamp(min=_FAINTEST_HU))


def spread(count: int, wanted: int) -> Sequence[int]:
    """`wanted` indices that run through all of `count` ≤ `wanted`."""
    return [index * count // wanted for index in range(wanted)]


def _blur(image: torch.Tensor, step: int) -> torch.Tensor:
    """The binomial 3×3 filter (1 2 1)/4 on pixels `step` apart, of [z, y, x]."""
    padded = functional.pad(image[:, None], (step, step, step, step), mode="replicate")[:, 0]
    rows = (padded[:, : -2 * step] + 2 * padded[:, step:-step] + padded[:, 2 * step :]) / 4
    return (rows[..., : -2 * step] + 2 * rows[..., step:-step] + rows[..., 2 * step :]) / 4
