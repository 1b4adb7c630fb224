"""The SSIM map that N2Q learns to predict: Wang et al. 2004, doi:10.1109/TIP.2003.819861, equation 13."""

from __future__ import annotations

import torch
from torch.nn import functional

_WINDOW = 11
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2


def ssim_map(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """SSIM of two stacks [z, 1, y, x] of grey values 0–1, pixel by pixel: [z, 1, y, x], −1 … 1, 1 where they agree.

    11×11 Gaussian of σ 1.5, K1 0.01, K2 0.03, L 1, as in N2Q. Only whole windows count (valid convolution); the result
    is then resized to the slice. Raises ValueError for shapes that differ or that are smaller than a window.
    """
    if first.shape != second.shape or first.ndim != 4 or min(first.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs two stacks [z, 1, ≥ 11, ≥ 11], not {list(first.shape)} and {list(second.shape)}")
    mean1, mean2 = _blur(first), _blur(second)
    variance1 = _blur(first * first) - mean1 * mean1
    variance2 = _blur(second * second) - mean2 * mean2
    covariance = _blur(first * second) - mean1 * mean2
    luminance = (2 * mean1 * mean2 + _C1) / (mean1 * mean1 + mean2 * mean2 + _C1)
    structure = (2 * covariance + _C2) / (variance1 + variance2 + _C2)
    size = first.shape[-2:]
    return functional.interpolate(luminance * structure, size=size, mode="bilinear", align_corners=False)


def _blur(stack: torch.Tensor) -> torch.Tensor:
    """Weighted means over every whole window, as two matrix products: on a CPU half the time of convolutions."""
    return _band(stack.shape[-2], stack) @ stack @ _band(stack.shape[-1], stack).T


def _band(size: int, like: torch.Tensor) -> torch.Tensor:
    """The window's weights in the rows of a matrix [size − 10, size], one place further in each."""
    offset = torch.arange(_WINDOW, dtype=like.dtype, device=like.device) - _WINDOW // 2
    weights = torch.exp(-0.5 * (offset / _SIGMA) ** 2)
    weights /= weights.sum()
    band = like.new_zeros(size - _WINDOW + 1, size)
    places = torch.arange(len(band), device=like.device)[:, None] + torch.arange(_WINDOW, device=like.device)
    return band.scatter_(1, places, weights.expand(len(band), -1))
