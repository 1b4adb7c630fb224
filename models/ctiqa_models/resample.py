"""Resizing of slices: every model brings slices to its own matrix in the same way."""

from __future__ import annotations

import torch
from torch.nn import functional


def resize(stack: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize the slices of `stack` [z, y, x] to [z, size[0], size[1]]: bilinear, averaging when it shrinks.

    The averaging matters: without it a 512² slice shown at 256² would keep the noise of single pixels.
    """
    if stack.ndim != 3:
        raise ValueError(f"resize takes [z, y, x], not {list(stack.shape)}")
    if tuple(stack.shape[1:]) == size:
        return stack
    resized = functional.interpolate(stack[:, None], size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized[:, 0]
