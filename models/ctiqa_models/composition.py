"""What a slice is made of, and where: plain numbers that look much the same in all trunks, and in nothing else."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctiqa_models.api import FloatArray
from ctiqa_models.filters import box_mean, depth, gaussian
from ctiqa_models.n2q.body import Anatomy, BoolArray

_SMOOTHING = (3, 3)
_BINS_HU = (-950.0, -500.0, -150.0, -30.0, 20.0, 80.0, 150.0, 300.0, 700.0)
"""Air, lung, what lies between, fat, water, soft tissue, enhanced tissue, spongy and compact bone (or metal)."""
_CLASSES_HU = (-500.0, -150.0, -20.0, 120.0, 250.0)
"""The same, coarser: air and lung, mixed, fat, soft tissue, enhanced tissue, bone."""
_SHELLS = (0.08, 0.2, 0.4, 0.7)
"""Depth below the skin as a share of the deepest point's; between them lie five shells."""
_RIM = 4
_TISSUE_SCALE_HU = 50.0
_FINE, _COARSE = 2.0, 5.0
"""Structures between these widths, in pixels, are wider than most noise and narrower than organs."""
_FAINT_HU = 5.0

_HISTOGRAM = len(_BINS_HU) + 1
_DEPTHS = (len(_SHELLS) + 1) * (len(_CLASSES_HU) + 1)
PARTS = {
    "the shares of air, fat, soft tissue and bone": slice(0, _HISTOGRAM),
    "the order of these from the skin inwards": slice(_HISTOGRAM, _HISTOGRAM + _DEPTHS),
    "size and outline": slice(_HISTOGRAM + _DEPTHS, _HISTOGRAM + _DEPTHS + 4),
    "what is around the body": slice(_HISTOGRAM + _DEPTHS + 4, _HISTOGRAM + _DEPTHS + 6),
    "the HU of its soft tissue": slice(_HISTOGRAM + _DEPTHS + 6, _HISTOGRAM + _DEPTHS + 8),
    "its structures of some millimetres": slice(_HISTOGRAM + _DEPTHS + 8, _HISTOGRAM + _DEPTHS + 12),
}
"""Which of the numbers of `composition` speak of what."""
COUNT = _HISTOGRAM + _DEPTHS + 12


def composition(hu: FloatArray, anatomy: Anatomy, field_of_view_mm: float) -> FloatArray:
    """52 numbers of one slice [256, 256] in HU with a body in it, float32.

    Shares of the body by HU, the same by depth below the skin, the body's size and outline, what lies outside of it,
    mean and deviation of soft tissue, and how much structure there is. Nothing changes when the picture is mirrored,
    and little when it is noisy: HU are averaged over 3×3 pixels or more. Shares enter by their square root and
    structures by their logarithm, which evens out their deviations.
    """
    smooth = box_mean(hu, _SMOOTHING)
    shares = np.bincount(np.digitize(smooth[anatomy.body], _BINS_HU), minlength=_HISTOGRAM)
    tissue = smooth[anatomy.tissue] if anatomy.tissue.any() else np.zeros(1, dtype=np.float32)
    numbers = (
        np.sqrt(shares / max(1, anatomy.body.sum())),
        np.sqrt(_by_depth(smooth, anatomy.body)).ravel(),
        _outline(anatomy.body, field_of_view_mm),
        _outside(hu, anatomy.body),
        np.asarray((tissue.mean(), tissue.std())) / _TISSUE_SCALE_HU,
        _structures(hu, anatomy),
    )
    return np.concatenate(numbers).astype(np.float32)


def _by_depth(smooth: FloatArray, body: BoolArray) -> FloatArray:
    """Shares of the tissue classes in each shell, [shells, classes]; a shell without pixels has none of any."""
    inwards = depth(body)
    shell = np.digitize(inwards[body] / max(1.0, inwards.max()), _SHELLS)
    classes = len(_CLASSES_HU) + 1
    index = shell * classes + np.digitize(smooth[body], _CLASSES_HU)
    counts = np.bincount(index, minlength=_DEPTHS).reshape(-1, classes)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def _outline(body: BoolArray, field_of_view_mm: float) -> FloatArray:
    """Logarithms of area and aspect, the share of its bounding box, and how much of the picture's edge it touches."""
    rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
    if not len(rows):
        return np.zeros(4, dtype=np.float32)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    area = body.sum()
    pixel_cm2 = (field_of_view_mm / len(body) / 10) ** 2
    edges = (body[0].mean() + body[-1].mean() + body[:, 0].mean() + body[:, -1].mean()) / 4
    numbers = (np.log(area * pixel_cm2), np.log(width / height), area / (height * width), np.sqrt(edges))
    return np.asarray(numbers, dtype=np.float32)


def _outside(hu: FloatArray, body: BoolArray) -> FloatArray:
    """How much of what is around the body is no air: above −900 HU, and above −200."""
    around = hu[~ndimage.binary_dilation(body, iterations=_RIM)]
    if not around.size:
        return np.zeros(2, dtype=np.float32)
    return np.sqrt(np.asarray(((around > -900.0).mean(), (around > -200.0).mean()), dtype=np.float32))


def _structures(hu: FloatArray, anatomy: Anatomy) -> FloatArray:
    """Logarithms of median and mean of the band between two Gaussians, in soft tissue and in the whole body."""
    band = np.abs(gaussian(hu, _FINE) - gaussian(hu, _COARSE))
    body = band[anatomy.body] if anatomy.body.any() else np.zeros(1, dtype=np.float32)
    tissue = band[anatomy.tissue] if anatomy.tissue.any() else body
    numbers = (np.median(tissue), tissue.mean(), np.median(body), body.mean())
    return np.asarray(np.log(_FAINT_HU + np.asarray(numbers)), dtype=np.float32)
