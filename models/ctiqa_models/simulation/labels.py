"""Scores where no reader scored: an index against the clean slice, mapped to the readers' published distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ctiqa_models.voi import Window

Values = npt.NDArray[np.float64]

SOFT_TISSUE = Window(centre=40.0, width=350.0)
"""The display under which LDCTIQAC's readers saw their slices."""

READERS_COUNTS = (25, 19, 22, 42, 48, 56, 51, 65, 65, 74, 53, 56, 60, 62, 42, 65, 35, 42, 31, 51, 36)
"""How many of LDCTIQAC 2023's 1,000 published slices have the score 0.0, 0.2, … 4.0 (means of five radiologists)."""

_SCALES = 4
_VISUAL_NOISE = 2.0
_TINY = 1e-8


def vif(distorted: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Visual information fidelity in the pixel domain of grey stacks 0–1 [z, y, x] (41 pixels or more a side): [z].

    How much of the information that an eye takes from `clean` it can still take from `distorted`: 1 for the same image,
    towards 0 for a bad one, above 1 for one of more contrast. Sheikh & Bovik 2006, doi:10.1109/TIP.2005.859378, eq. 18,
    with Gaussian windows of 17, 9, 5 and 3 pixels in place of wavelet bands, as in the authors' `vifp_mscale`, and
    their visual noise of variance 2 on grey values 0–255. Raises ValueError for other shapes.
    """
    if distorted.shape != clean.shape or clean.ndim != 3 or min(clean.shape[1:]) < 41:
        raise ValueError(f"vif compares stacks [z, y, x] of 41 pixels or more, not {list(distorted.shape)}")
    x, y = (stack[:, None].double() * 255.0 for stack in (clean, distorted))
    kept = x.new_zeros(x.shape[0])
    whole = x.new_zeros(x.shape[0])
    for scale in range(_SCALES):
        window = _gaussian(2 ** (_SCALES - scale) + 1)
        if scale:
            x, y = (_blur(image, window)[:, :, ::2, ::2] for image in (x, y))
        for sums, information in zip((kept, whole), _information(x, y, window), strict=True):
            sums += information
    return (kept + _TINY) / (whole + _TINY)


def vif_under_window(distorted: torch.Tensor, clean: torch.Tensor, window: Window = SOFT_TISSUE) -> torch.Tensor:
    """`vif` of slices in HU [z, y, x] as a display with `window` shows them: [z]."""
    return vif(window.apply(distorted), window.apply(clean))


@dataclass(frozen=True, slots=True)
class QuantileMap:
    """A rising curve from an index to scores: a value gets the score that readers gave at the same quantile.

    Fit it on the training set and keep it: validation goes through the same curve. `values` ascend; `scores` belong to
    them, one each.
    """

    values: tuple[float, ...]
    scores: tuple[float, ...]

    @classmethod
    def fit(
        cls, values: Sequence[float] | Values, counts: Sequence[int] = READERS_COUNTS, step: float = 0.2
    ) -> QuantileMap:
        """Learn the curve from `values` of an index onto the scores 0, `step`, 2·`step` … of frequencies `counts`.

        Equal values share the quantile of their middle. Raises ValueError for under two values or what is no number.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.ndim != 1 or len(given) < 2 or not np.isfinite(given).all():
            raise ValueError("a quantile map needs two or more finite values")
        distinct, numbers = np.unique(given, return_counts=True)
        quantiles = (np.cumsum(numbers) - numbers / 2) / len(given)
        frequency = np.asarray(counts, dtype=np.float64)
        middles = (np.cumsum(frequency) - frequency / 2) / frequency.sum()
        scores = np.interp(quantiles, middles, np.arange(len(frequency)) * step)
        return cls(tuple(distinct.tolist()), tuple(scores.tolist()))

    def apply(self, values: Sequence[float] | Values) -> Values:
        """The scores of `values` of the same index, interpolated; beyond the fitted values the ends hold."""
        return np.interp(np.asarray(values, dtype=np.float64), self.values, self.scores)


def _information(x: torch.Tensor, y: torch.Tensor, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What passes from clean `x` through distorted `y` to the eye at one scale, and what passes from `x` itself."""
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    variance_x = (_blur(x * x, window) - mean_x**2).clamp(min=0.0)
    variance_y = (_blur(y * y, window) - mean_y**2).clamp(min=0.0)
    covariance = _blur(x * y, window) - mean_x * mean_y
    # The distortion is a gain and noise (eq. 6); where nothing is passed on, all of `y` is noise.
    gain = (covariance / (variance_x + _TINY)).clamp(min=0.0)
    gain = torch.where(torch.minimum(variance_x, variance_y) < _TINY, torch.zeros_like(gain), gain)
    noise = torch.where(gain > 0, variance_y - gain * covariance, variance_y).clamp(min=_TINY)
    passed = torch.log(1.0 + gain**2 * variance_x / (noise + _VISUAL_NOISE))
    return passed.sum(dim=(1, 2, 3)), torch.log(1.0 + variance_x / _VISUAL_NOISE).sum(dim=(1, 2, 3))


def _gaussian(side: int) -> torch.Tensor:
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    profile = torch.exp(-(axis**2) / (2 * (side / 5) ** 2))
    return profile / profile.sum()


def _blur(image: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
    """Convolve with a separable window; only places where it fits."""
    along = profile.to(image)
    return functional.conv2d(functional.conv2d(image, along[None, None, None, :]), along[None, None, :, None])
