"""KADID-10k's blurs: photographs as float32 RGB 0–1 [y, x, 3] in and out."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ctiqa_models.api import FloatArray

_SUBPIXELS = 16


def gaussian_blur(photo: FloatArray, sigma: float, _rng: np.random.Generator) -> FloatArray:
    """A Gaussian of standard deviation `sigma` pixels."""
    side = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(photo, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def lens_blur(photo: FloatArray, radius: float, _rng: np.random.Generator) -> FloatArray:
    """A disc of `radius` pixels, weighted by the share of each pixel that it covers: a lens out of focus."""
    reach = math.ceil(radius)
    fine = (np.arange((2 * reach + 1) * _SUBPIXELS) + 0.5) / _SUBPIXELS - reach - 0.5
    inside = np.hypot(fine[:, None], fine[None, :]) <= radius
    covered = inside.reshape(2 * reach + 1, _SUBPIXELS, 2 * reach + 1, _SUBPIXELS).mean(axis=(1, 3))
    return _convolve(photo, covered.astype(np.float32))


def motion_blur(photo: FloatArray, length: float, rng: np.random.Generator) -> FloatArray:
    """A line of `length` pixels in a random direction: a camera that moved. A length of 1 is no movement."""
    angle = rng.uniform(0.0, math.pi)
    half = (length - 1) / 2
    reach = math.ceil(half)
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    along = np.clip(x * math.cos(angle) + y * math.sin(angle), -half, half)
    distance = np.hypot(x - along * math.cos(angle), y - along * math.sin(angle))
    return _convolve(photo, np.clip(1.0 - distance, 0.0, None).astype(np.float32))


def _convolve(photo: FloatArray, weights: FloatArray) -> FloatArray:
    # Both kernels are symmetric about their centre, so OpenCV's correlation is the convolution.
    blurred = cv2.filter2D(photo, -1, weights / weights.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)
