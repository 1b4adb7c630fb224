"""What of a slice the quality number speaks about, and whether the slice is like those in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctiqa_models.filters import box_mean
from ctiqa_models.voi import ABDOMEN

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_BODY_HU = -400.0
_SMOOTHING = (5, 5)
_QUIETEST = 20


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What is seen of a body in one slice [256, 256]: its outline, and the soft tissue in it."""

    body: BoolArray
    """The largest object denser than lung, with all that it encloses."""
    tissue: BoolArray
    """The pixels of the body whose neighbourhood lies within the abdomen window: there noise is visible."""


@dataclass(frozen=True, slots=True)
class Features:
    """Plain numbers of a slice, by which it is compared with the training slices."""

    field_of_view_mm: float
    body_cm2: float
    tissue_fraction: float
    """Share of the body that lies within the abdomen window, 0–1."""
    noise_hu: float
    """Standard deviation over 5×5 pixels where tissue is quietest (20th percentile); 0 for a constant."""


def find_anatomy(hu: FloatArray) -> Anatomy:
    """Body and soft tissue of one slice [256, 256] in HU; both are empty in air.

    Lung, gas and bone saturate in the abdomen window, where any two pictures agree (SSIM 1): counting them would make a
    chest look better than an abdomen of the same dose. So the quality number is a mean over `tissue` alone.
    """
    smooth = box_mean(hu, _SMOOTHING)
    labels, count = ndimage.label(smooth > _BODY_HU)
    if count == 0:
        empty = np.zeros(hu.shape, dtype=np.bool_)
        return Anatomy(empty, empty)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = ndimage.binary_fill_holes(labels == sizes.argmax())
    tissue = body & (smooth > ABDOMEN.low) & (smooth < ABDOMEN.high)
    return Anatomy(body, tissue)


def measure(hu: FloatArray, anatomy: Anatomy, field_of_view_mm: float) -> Features:
    """The features of one square slice [256, 256] in HU whose side is `field_of_view_mm`."""
    pixel_cm2 = (field_of_view_mm / hu.shape[0] / 10) ** 2
    body, tissue = int(anatomy.body.sum()), int(anatomy.tissue.sum())
    noise = quietest_deviation(hu, anatomy)
    return Features(field_of_view_mm, body * pixel_cm2, tissue / body if body else 0.0, noise)


def quietest_deviation(hu: FloatArray, anatomy: Anatomy) -> float:
    """20th percentile of the local standard deviation in soft tissue, HU: noise, not structure; 0 without tissue."""
    deviations = _local_deviation(hu)[anatomy.tissue]
    return float(np.percentile(deviations, _QUIETEST)) if deviations.size else 0.0


def _local_deviation(hu: FloatArray) -> FloatArray:
    """Standard deviation over 5×5 pixels around each pixel of a slice [y, x], in HU."""
    mean = box_mean(hu, _SMOOTHING)
    variance = box_mean(hu * hu, _SMOOTHING) - mean * mean
    deviation: FloatArray = np.sqrt(np.maximum(variance, 0.0), dtype=np.float32)
    return deviation
