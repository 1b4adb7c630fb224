"""KADID-10k's 25 distortions: each runs at each level, keeps shape and range, and gets worse with the level."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from ctiqa_models.api import ByteArray
from ctiqa_models.simulation.distortions_photo import LEVELS, PhotoDistortion, distort_photo, parameter
from ctiqa_models.simulation.photo_tone import otsu_thresholds

P = PhotoDistortion

# Levels whose error does not grow, and why.
_NOTHING_AT_FIRST = {P.GAUSSIAN_BLUR, P.MOTION_BLUR, P.SATURATION_LAB}  # the generator's level 1 changes nothing
_BOTH_WAYS = {P.MEAN_SHIFT, P.CONTRAST}  # levels 1 and 2 go one way, 4 and 5 the other, 3 is (nearly) the original
_RESAMPLED = {P.PIXELATE}  # sampling by 0.89, 0.78, 0.70, 0.57, 0.29 beats with the pixels: only the trend is sure


@pytest.fixture(scope="module")
def photo() -> ByteArray:
    """Sky, sun, hills, leaves: smooth shades, edges, texture and strong colours."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:192, 0:256].astype(np.float32)
    scene = np.stack([0.35 + y / 600, 0.55 + y / 700, 0.9 - y / 500], axis=2)
    hills = y > 110 + 18 * np.sin(x / 23) + 9 * np.sin(x / 7)
    leaves = cv2.GaussianBlur(rng.random((192, 256, 3)).astype(np.float32), (0, 0), 1.2)
    scene[hills] = (np.array([0.25, 0.5, 0.15]) + 1.6 * (leaves - 0.5))[hills]
    scene[np.hypot(x - 190, y - 45) < 26] = (0.98, 0.85, 0.25)
    scene[60:150, 40:48] = (0.75, 0.12, 0.1)
    scene[150:180, 120:200] = (0.04, 0.05, 0.09)
    return np.rint(np.clip(cv2.GaussianBlur(scene, (0, 0), 0.6), 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def copies(photo: ByteArray) -> dict[PhotoDistortion, list[ByteArray]]:
    return {kind: [distort_photo(photo, kind, level, seed=11) for level in LEVELS] for kind in P}


def _errors(photo: ByteArray, levels: list[ByteArray]) -> list[float]:
    return [float(np.square(one.astype(float) - photo).mean()) for one in levels]


def test_there_are_25_kinds_numbered_as_in_kadid() -> None:
    assert [int(kind) for kind in P] == list(range(1, 26))


@pytest.mark.parametrize("kind", P)
def test_every_level_keeps_shape_and_range(copies: dict[PhotoDistortion, list[ByteArray]], kind: P) -> None:
    for copy in copies[kind]:
        assert copy.shape == (192, 256, 3)
        assert copy.dtype == np.uint8
        assert copy.std() > 5


@pytest.mark.parametrize("kind", [kind for kind in P if kind not in _BOTH_WAYS | _RESAMPLED])
def test_error_grows_with_the_level(photo: ByteArray, copies: dict[PhotoDistortion, list[ByteArray]], kind: P) -> None:
    errors = _errors(photo, copies[kind])
    assert all(worse > 1.02 * better for better, worse in pairwise(errors)), errors
    assert errors[0] < 1.0 if kind in _NOTHING_AT_FIRST else errors[0] > 0


@pytest.mark.parametrize("kind", sorted(_BOTH_WAYS))
def test_shift_and_contrast_go_from_one_way_to_the_other(
    photo: ByteArray, copies: dict[PhotoDistortion, list[ByteArray]], kind: P
) -> None:
    measure = np.mean if kind is P.MEAN_SHIFT else np.std
    values = [float(measure(copy.astype(float))) for copy in copies[kind]]
    assert all(later < before for before, later in pairwise(values))
    first, second, _, fourth, fifth = _errors(photo, copies[kind])
    assert first > second
    assert fifth > fourth


def test_pixels_get_larger(photo: ByteArray, copies: dict[PhotoDistortion, list[ByteArray]]) -> None:
    """A pixelated row has the fewer changes of value, the larger its pixels."""
    changes = [int((np.diff(copy.astype(int), axis=1) != 0).any(axis=2).sum()) for copy in copies[P.PIXELATE]]
    assert all(later < before for before, later in pairwise(changes))
    errors = _errors(photo, copies[P.PIXELATE])
    assert errors[4] > 2 * errors[0] > 0


@pytest.mark.parametrize("kind", P)
def test_the_same_seed_makes_the_same_picture(
    photo: ByteArray, copies: dict[PhotoDistortion, list[ByteArray]], kind: P
) -> None:
    assert np.array_equal(distort_photo(photo, kind, 3, seed=11), copies[kind][2])


def test_another_seed_makes_other_noise(photo: ByteArray, copies: dict[PhotoDistortion, list[ByteArray]]) -> None:
    for kind in (P.WHITE_NOISE, P.COLOUR_BLOCK, P.JITTER, P.MOTION_BLUR):
        assert not np.array_equal(distort_photo(photo, kind, 4, seed=12), copies[kind][3])


def test_white_noise_has_the_variance_it_says() -> None:
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    noisy = distort_photo(grey, P.WHITE_NOISE, 5, seed=1) / 255.0
    assert noisy.var() == pytest.approx(parameter(P.WHITE_NOISE, 5), rel=0.03)


def test_impulses_hit_the_share_they_say() -> None:
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    assert (distort_photo(grey, P.IMPULSE_NOISE, 5, seed=1) != 128).mean() == pytest.approx(0.03, rel=0.05)


def test_few_colours_are_few(copies: dict[PhotoDistortion, list[ByteArray]]) -> None:
    for level, copy in zip(LEVELS, copies[P.COLOUR_QUANTISATION], strict=True):
        assert len(np.unique(copy.reshape(-1, 3), axis=0)) <= parameter(P.COLOUR_QUANTISATION, level)
    for level, copy in zip(LEVELS, copies[P.QUANTISATION], strict=True):
        assert len(np.unique(copy)) <= parameter(P.QUANTISATION, level) + 1


def test_no_saturation_is_grey(copies: dict[PhotoDistortion, list[ByteArray]]) -> None:
    grey = copies[P.SATURATION_HSV][3]
    assert (grey == grey[..., :1]).all()


def test_one_otsu_threshold_is_opencvs(photo: ByteArray) -> None:
    grey = photo[..., 1]
    theirs, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    assert otsu_thresholds(np.bincount(grey.ravel(), minlength=256), 1) == pytest.approx([theirs], abs=1)


def test_two_otsu_thresholds_are_the_best_of_all() -> None:
    histogram = np.random.default_rng(3).integers(0, 40, 24)
    grey = np.arange(24.0)

    def within(first: int, second: int) -> float:
        parts = [slice(0, first + 1), slice(first + 1, second + 1), slice(second + 1, 24)]
        means = [np.average(grey[p], weights=histogram[p]) if histogram[p].sum() else 0.0 for p in parts]
        return float(sum((histogram[p] * (grey[p] - m) ** 2).sum() for p, m in zip(parts, means, strict=True)))

    best = min(((a, b) for a in range(23) for b in range(a + 1, 23)), key=lambda cut: within(*cut))
    assert within(*otsu_thresholds(histogram, 2).astype(int)) == pytest.approx(within(*best))
    with pytest.raises(ValueError, match="thresholds"):
        otsu_thresholds(histogram, 24)


def test_what_is_no_photograph_or_no_level_is_refused(photo: ByteArray) -> None:
    for wrong in (photo[..., 0], photo[:40], photo.astype(float)):
        with pytest.raises(ValueError, match="photograph"):
            distort_photo(wrong, P.JPEG, 1, seed=1)
    with pytest.raises(ValueError, match="level"):
        distort_photo(photo, P.JPEG, 6, seed=1)
