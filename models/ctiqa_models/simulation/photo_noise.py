"""KADID-10k's kinds of noise: photographs as float32 RGB 0–1 [y, x, 3] in and out."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ctiqa_models.api import FloatArray

# ITU-R BT.601: what Y, Cb and Cr of 0–255 (studio range) add to R, G and B.
_RGB_OF_YCBCR = np.array([[1.164, 0.0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0.0]], dtype=np.float32)


def white(photo: FloatArray, variance: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise of `variance` in each of R, G and B."""
    return photo + _gaussian(photo, variance, rng)


def white_ycbcr(photo: FloatArray, variance: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise of `variance` in each of Y, Cb and Cr."""
    return photo + _gaussian(photo, variance, rng) @ _RGB_OF_YCBCR.T


def impulse(photo: FloatArray, density: float, rng: np.random.Generator) -> FloatArray:
    """Salt and pepper on a share `density` of the values."""
    drawn = rng.random(photo.shape)
    noisy = np.where(drawn < density / 2, np.float32(0.0), photo)
    return np.where(drawn > 1 - density / 2, np.float32(1.0), noisy)


def multiplicative(photo: FloatArray, variance: float, rng: np.random.Generator) -> FloatArray:
    """Speckle: every value times 1 + noise of `variance`."""
    return photo * (1.0 + _gaussian(photo, variance, rng))


def denoised(photo: FloatArray, variance: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise of `variance`, then a denoiser over each channel: non-local means here, DnCNN in the generator."""
    noisy = np.rint(np.clip(white(photo, variance, rng), 0.0, 1.0) * 255.0).astype(np.uint8)
    # With OpenCV's weights 0.8 σ left the least error on a photograph of every level; 0.5 σ left the noise in.
    strength = 0.8 * 255.0 * math.sqrt(variance)
    channels = [cv2.fastNlMeansDenoising(np.ascontiguousarray(noisy[..., c]), None, strength, 7, 15) for c in range(3)]
    return np.stack(channels, axis=2).astype(np.float32) / 255.0


def _gaussian(photo: FloatArray, variance: float, rng: np.random.Generator) -> FloatArray:
    return rng.standard_normal(photo.shape, dtype=np.float32) * np.float32(math.sqrt(variance))
