"""KADID-10k's distortions of brightness, contrast and sharpness: float32 RGB 0–1 [y, x, 3] in and out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

from ctiqa_models.api import FloatArray
from ctiqa_models.simulation.photo_colour import from_lab, to_lab

_SHARPENING_SIGMA = 3.0
_GREYS = 256


def brighten(photo: FloatArray, amount: float, _rng: np.random.Generator) -> FloatArray:
    """Raise middle grey from 0.5 to 0.5 + `amount`/2, black and white kept."""
    return _bend(photo, 0.5 + amount / 2)


def darken(photo: FloatArray, amount: float, _rng: np.random.Generator) -> FloatArray:
    """Lower middle grey from 0.5 to 0.5 − `amount`/2, black and white kept."""
    return _bend(photo, 0.5 - amount / 2)


def mean_shift(photo: FloatArray, amount: float, _rng: np.random.Generator) -> FloatArray:
    """Add `amount` to every value and clip."""
    return photo + np.float32(amount)


def quantisation(photo: FloatArray, thresholds: float, _rng: np.random.Generator) -> FloatArray:
    """Keep one value between each two of so many Otsu `thresholds` (found over all three channels together)."""
    greys = np.rint(photo * (_GREYS - 1)).astype(np.intp)
    cuts = otsu_thresholds(np.bincount(greys.ravel(), minlength=_GREYS), int(thresholds))
    values = np.concatenate(([0.0], cuts[1:] / (_GREYS - 1), [1.0]))
    return values[np.searchsorted(cuts, greys, side="left")].astype(np.float32)


def sharpen(photo: FloatArray, amount: float, _rng: np.random.Generator) -> FloatArray:
    """Unsharp masking of L* with σ = 3 pixels, `amount` times."""
    lab = to_lab(photo)
    light = lab[..., 0]
    blurred = gaussian_filter(light, _SHARPENING_SIGMA, mode="nearest")
    lab[..., 0] = np.clip(light + amount * (light - blurred), 0.0, 100.0)
    return from_lab(lab)


def contrast(photo: FloatArray, amount: float, _rng: np.random.Generator) -> FloatArray:
    """A curve through (0.3, 0.25 − `amount`/4) and (0.7, 0.75 + `amount`/4): steep above −0.2, flat below."""
    curve = PchipInterpolator([0.0, 0.3, 0.5, 0.7, 1.0], [0.0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1.0])
    return np.asarray(curve(photo), dtype=np.float32)


def otsu_thresholds(histogram: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float64]:
    """The `count` grey values, ascending, that part a histogram into classes of least variance within.

    Otsu (1979) for many thresholds: exact, by dynamic programming over the grey values; a class ends with its
    threshold. Raises ValueError unless 0 < count < the number of grey values.
    """
    size = len(histogram)
    if not 0 < count < size:
        raise ValueError(f"{count} thresholds do not part {size} grey values")
    cost = _within(histogram)
    best = cost[0].copy()
    cut = np.zeros((count, size), dtype=np.intp)
    for step in range(count):
        # Classes before end at `k`, this one spans k + 1 … j.
        joined = best[:-1, None] + cost[1:, :]
        cut[step, :] = joined.argmin(axis=0)
        best = joined.min(axis=0)
    thresholds = np.empty(count)
    end = size - 1
    for step in reversed(range(count)):
        end = int(cut[step, end])
        thresholds[step] = end
    return thresholds


def _within(histogram: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Sum of squared deviations of the greys i … j from their mean, [i, j]; infinite where i > j."""
    grey = np.arange(len(histogram), dtype=np.float64)
    sums = [np.concatenate(([0.0], np.cumsum(histogram * grey**power))) for power in (0, 1, 2)]
    number, total, squares = (s[None, 1:] - s[:-1, None] for s in sums)
    spread = squares - np.divide(total**2, number, out=np.zeros_like(total), where=number > 0)
    return np.where(grey[:, None] > grey[None, :], np.inf, np.maximum(spread, 0.0))


def _bend(photo: FloatArray, middle: float) -> FloatArray:
    """Two parts of a curve over R, G and B and one part of the same curve over L*, as the generator mixes them."""
    lab = to_lab(photo)
    lab[..., 0] = 100.0 * _parabola(lab[..., 0] / 100.0, middle)
    return np.asarray((2.0 * _parabola(photo, middle) + from_lab(lab)) / 3.0, dtype=np.float32)


def _parabola(values: FloatArray, middle: float) -> FloatArray:
    """The parabola through (0, 0), (0.5, `middle`) and (1, 1), clipped to 0–1."""
    bend = 2.0 - 4.0 * middle
    return np.clip(bend * values**2 + (1.0 - bend) * values, 0.0, 1.0).astype(np.float32)
