"""How well quality maps are painted: SSIM, MSE and IRMSE, the figures of N2Q's table.

Maps are float32 [n, y, x] in 0–1, as ours are kept. The poster's maps lie in −1 … 1 while they are trained: if its
figures were taken there, its MSE is four times and its IRMSE twice what it would be here.
"""

from __future__ import annotations

import numpy as np
import torch

from ctiqa_models.api import FloatArray
from ctiqa_models.evaluation.figures import Values
from ctiqa_models.n2q.ssim import ssim_map


def map_ssim(predicted: FloatArray, truth: FloatArray) -> Values:
    """Structural similarity of each predicted map to the true one, mean over its pixels, [n]; 11×11 Gaussian window."""
    one, other = (torch.from_numpy(np.ascontiguousarray(maps))[:, None] for maps in (predicted, truth))
    means = ssim_map(one, other).double().mean(dim=(1, 2, 3))
    return np.asarray(means.numpy(), dtype=np.float64)


def map_mse(predicted: FloatArray, truth: FloatArray) -> Values:
    """Mean squared difference of each map, [n]."""
    _require_alike(predicted, truth)
    difference = predicted.astype(np.float64) - truth
    return np.asarray((difference**2).mean(axis=(1, 2)))


def map_irmse(predicted: FloatArray, truth: FloatArray) -> Values:
    """Image RMSE: the root of each map's mean squared difference, [n]; the table has its mean.

    The poster does not say what its IRMSE is. In its seven rows it is 0.93 to 1.03 times the root of the MSE beside it,
    so it is a root of mean squares on the same scale and not, as the same letters mean for depth maps, one of inverse
    values, which SSIM near 0 would let explode. It cannot be exactly the mean over images of their RMSE either, which
    never exceeds the root of the mean MSE, as two rows do. Compare rows of one table only.
    """
    return np.asarray(np.sqrt(map_mse(predicted, truth)))


def _require_alike(predicted: FloatArray, truth: FloatArray) -> None:
    if predicted.shape != truth.shape or predicted.ndim != 3:
        raise ValueError(f"maps are compared as two stacks [n, y, x], not {predicted.shape} and {truth.shape}")
