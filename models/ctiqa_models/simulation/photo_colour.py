"""KADID-10k's distortions of colour: photographs as float32 RGB 0–1 [y, x, 3] in and out."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from ctiqa_models.api import FloatArray


def diffusion(photo: FloatArray, amount: float, _rng: np.random.Generator) -> FloatArray:
    """Blur a* and b* of CIELAB (σ = 1.5·`amount` + 2 pixels) and multiply them by `amount`."""
    lab = to_lab(photo)
    sigma = 1.5 * amount + 2
    for channel in (1, 2):
        lab[..., channel] = gaussian_filter(lab[..., channel], sigma, mode="nearest") * amount
    return from_lab(lab)


def shift(photo: FloatArray, amount: float, rng: np.random.Generator) -> FloatArray:
    """Move the green channel by `amount` pixels and blend it in where there are edges."""
    step = rng.uniform(0.0, 1.0, 2)
    down, right = np.rint(amount * step / np.linalg.norm(step)).astype(int)
    green = photo[..., 1]
    padded = np.pad(green, ((down, 0), (right, 0)), mode="symmetric")
    moved = padded[: green.shape[0], : green.shape[1]]
    share = _edges(photo)
    shifted = photo.copy()
    shifted[..., 1] = share * moved + (1.0 - share) * green
    return shifted


def quantisation(photo: FloatArray, colours: float, _rng: np.random.Generator) -> FloatArray:
    """Only so many `colours`, with dithering: median cut here, minimum variance (`rgb2ind`) in the generator."""
    image = Image.fromarray(np.rint(photo * 255.0).astype(np.uint8))
    palette = image.quantize(int(colours), method=Image.Quantize.MEDIANCUT)
    indexed = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(indexed.convert("RGB"), dtype=np.float32) / 255.0


def saturation_hsv(photo: FloatArray, factor: float, _rng: np.random.Generator) -> FloatArray:
    """Multiply the saturation of HSV by `factor`; a negative one turns colours into their opposites."""
    # With hue and value V kept, a channel c of HSV is V − S·(…), so scaling S scales its distance from V.
    value = photo.max(axis=2, keepdims=True)
    return np.asarray(value - factor * (value - photo), dtype=np.float32)


def saturation_lab(photo: FloatArray, factor: float, _rng: np.random.Generator) -> FloatArray:
    """Multiply a* and b* of CIELAB by `factor`."""
    lab = to_lab(photo)
    lab[..., 1:] *= factor
    return from_lab(lab)


def to_lab(photo: FloatArray) -> FloatArray:
    """SRGB 0–1 to CIELAB (D65): L* 0–100, a* and b* around 0."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(photo), cv2.COLOR_RGB2Lab), dtype=np.float32)


def from_lab(lab: FloatArray) -> FloatArray:
    """CIELAB to sRGB 0–1; what no screen shows is clipped."""
    return np.clip(np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), dtype=np.float32), 0.0, 1.0)


def _edges(photo: FloatArray) -> FloatArray:
    """Smoothed gradient magnitude of the grey values, stretched to 0–1 between its 1st and 99th percentiles."""
    grey = photo @ np.array([0.2989, 0.5870, 0.1140], dtype=np.float32)
    smooth = gaussian_filter(np.hypot(*np.gradient(grey)), 4.0, mode="nearest")
    raised = np.clip(smooth / max(float(smooth.max()), 1e-6), 0.1, 1.0)
    low, high = np.percentile(raised, (1, 99))
    return np.asarray(np.clip((raised - low) / max(float(high - low), 1e-6), 0.0, 1.0), dtype=np.float32)
