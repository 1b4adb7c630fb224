"""KADID-10k's distortions of place: photographs as float32 RGB 0–1 [y, x, 3] in and out."""

from __future__ import annotations

import cv2
import numpy as np

from ctiqa_models.api import FloatArray

_WARPS = 5
_PATCH = 16
_BLOCK = 32


def jitter(photo: FloatArray, amount: float, rng: np.random.Generator) -> FloatArray:
    """Move every pixel five times by a normal offset of `amount` pixels, with bicubic interpolation."""
    rows, columns = np.indices(photo.shape[:2], dtype=np.float32)
    warped = photo
    for _ in range(_WARPS):
        down, right = rng.standard_normal((2, *photo.shape[:2]), dtype=np.float32) * np.float32(amount)
        moved = cv2.remap(warped, columns + right, rows + down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        warped = np.asarray(moved, dtype=np.float32)
    return warped


def displaced_patches(photo: FloatArray, count: float, rng: np.random.Generator) -> FloatArray:
    """Copy `count` patches of 16 × 16 pixels to places up to 8 pixels away."""
    disturbed = photo.copy()
    reach = _PATCH // 2
    high = np.array(photo.shape[:2]) - _PATCH - reach
    for _ in range(int(count)):
        y, x = rng.integers(reach, high)
        to_y, to_x = np.array([y, x]) + rng.integers(-reach, reach + 1, 2)
        patch = disturbed[y : y + _PATCH, x : x + _PATCH].copy()
        disturbed[to_y : to_y + _PATCH, to_x : to_x + _PATCH] = patch
    return disturbed


def pixelate(photo: FloatArray, strength: float, _rng: np.random.Generator) -> FloatArray:
    """Shrink by 0.95 − `strength`^0.6 and enlarge again, nearest neighbour both ways."""
    height, width = photo.shape[:2]
    share = 0.95 - strength**0.6
    small = cv2.resize(photo, (round(width * share), round(height * share)), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32)


def colour_blocks(photo: FloatArray, count: float, rng: np.random.Generator) -> FloatArray:
    """Put `count` blocks of 32 × 32 pixels of random colours anywhere."""
    covered = photo.copy()
    for _ in range(int(count)):
        y, x = rng.integers(0, np.array(photo.shape[:2]) - _BLOCK + 1)
        covered[y : y + _BLOCK, x : x + _BLOCK] = rng.random(3, dtype=np.float32)
    return covered
