"""OpenCV's filters against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ctiqa_models.filters import box_mean, depth, gaussian, highest, lowest

SIDE = st.integers(1, 40)
ODD = st.sampled_from([1, 3, 5, 9])
SEED = st.integers(0, 999)


def _slice(seed: int, rows: int, columns: int) -> np.ndarray:
    """HU of anything: air, tissue and metal side by side."""
    return np.random.default_rng(seed).choice([-1024.0, 0.0, 40.0, 3071.0], (rows, columns)).astype(np.float32)


@given(SEED, SIDE, SIDE, ODD, ODD)
def test_means_and_extremes_over_boxes_are_scipys(seed: int, rows: int, columns: int, height: int, width: int) -> None:
    hu, size = _slice(seed, rows, columns), (height, width)
    assert box_mean(hu, size) == pytest.approx(ndimage.uniform_filter(hu.astype(np.float64), size), abs=1e-3)
    assert (lowest(hu, size) == ndimage.minimum_filter(hu, size)).all()
    assert (highest(hu, size) == ndimage.maximum_filter(hu, size)).all()


@given(SEED, st.sampled_from([2.0, 5.0]))
def test_gaussians_are_scipys(seed: int, sigma: float) -> None:
    hu = _slice(seed, 64, 48)
    assert gaussian(hu, sigma) == pytest.approx(ndimage.gaussian_filter(hu.astype(np.float64), sigma), abs=2e-3)


@given(SEED)
def test_depths_are_scipys(seed: int) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 48)), 4) > 0
    assert depth(mask) == pytest.approx(ndimage.distance_transform_edt(mask), abs=1e-3)
