from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctiqa_models.api import Assessment, FloatArray, HuVolume, Status
from ctiqa_models.classical import NoiseLevel

PIXEL_MM = 0.8
ROWS, COLUMNS = np.mgrid[:128, :128] - 63.5


def _cylinder(slices: int = 4, level: float = 50.0) -> FloatArray:
    """A soft-tissue cylinder with a fat ring around it and a lung and a bone in it, free of noise."""
    radius = np.hypot(ROWS, COLUMNS)
    hu = np.full((128, 128), -1000.0, dtype=np.float32)
    hu[radius < 60] = -100.0
    hu[radius < 52] = level
    hu[np.hypot(ROWS - 25, COLUMNS) < 14] = -850.0
    hu[np.hypot(ROWS + 30, COLUMNS) < 8] = 800.0
    return np.repeat(hu[None], slices, axis=0)


def _noisy(sigma: float, level: float = 50.0, seed: int = 0) -> HuVolume:
    clean = _cylinder(level=level)
    noise = np.random.default_rng(seed).normal(0.0, sigma, clean.shape)
    return HuVolume(np.asarray(clean + noise, dtype=np.float32), (5.0, PIXEL_MM, PIXEL_MM))


def _assess(volume: HuVolume) -> Assessment:
    return NoiseLevel().assess(volume, lambda share: None)


def _series_value(volume: HuVolume) -> float:
    return _assess(volume).measurements[0].value


@given(sigma=st.floats(5.0, 40.0), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_known_white_noise_is_recovered_within_a_tenth(sigma: float, seed: int) -> None:
    assessment = _assess(_noisy(sigma, seed=seed))
    series, *slices = assessment.measurements
    assert series.value == pytest.approx(sigma, rel=0.10)
    assert series.unit == "[hnsf'U]"
    assert [measurement.slice_index for measurement in slices] == [0, 1, 2, 3]
    assert np.mean([measurement.value for measurement in slices]) == pytest.approx(sigma, rel=0.10)


@given(level=st.floats(30.0, 70.0))
@settings(max_examples=10, deadline=None)
def test_the_level_of_the_soft_tissue_does_not_matter(level: float) -> None:
    assert _series_value(_noisy(12.0, level=level)) == pytest.approx(_series_value(_noisy(12.0)), rel=0.02)


@given(sigma=st.floats(4.0, 30.0), factor=st.floats(1.25, 2.0))
@settings(max_examples=10, deadline=None)
def test_added_noise_raises_it(sigma: float, factor: float) -> None:
    assert _series_value(_noisy(sigma * factor)) > _series_value(_noisy(sigma))


def test_a_noisier_slice_stands_out() -> None:
    volume = _noisy(8.0)
    volume.hu[2] += np.random.default_rng(5).normal(0.0, 20.0, (128, 128)).astype(np.float32)
    quiet, loud = _assess(volume).measurements[2], _assess(volume).measurements[3]
    assert loud.slice_index == 2
    assert loud.value > 2 * quiet.value


@pytest.mark.parametrize("fill", [-1000.0, -100.0, 500.0])
def test_a_volume_without_soft_tissue_is_not_scored_and_says_why(fill: float) -> None:
    hu = np.random.default_rng(0).normal(fill, 10.0, (3, 64, 64)).astype(np.float32)
    assessment = _assess(HuVolume(hu, (5.0, PIXEL_MM, PIXEL_MM)))
    assert assessment.status is Status.NOT_SCORED
    assert "soft tissue" in (assessment.reason or "")


def test_a_fill_without_any_noise_is_not_scored() -> None:
    assessment = _assess(HuVolume(_cylinder(), (5.0, PIXEL_MM, PIXEL_MM)))
    assert all(np.isfinite(measurement.value) for measurement in assessment.measurements)
    flat = HuVolume(np.full((2, 64, 64), 40.0, dtype=np.float32), (5.0, PIXEL_MM, PIXEL_MM))
    assert _assess(flat).status is Status.NOT_SCORED


def test_a_slice_of_air_is_named_as_unscored() -> None:
    volume = _noisy(10.0)
    volume.hu[0] = -3024.0
    assessment = _assess(volume)
    assert list(assessment.unscored_slices) == [0]
    assert assessment.status is Status.SCORED


def test_progress_ends_at_one() -> None:
    shares: list[float] = []
    NoiseLevel().assess(_noisy(10.0), shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.data
def test_quarter_dose_has_about_twice_the_noise_of_full_dose(ctiqa_data: Path) -> None:
    ratios = []
    for path in sorted((ctiqa_data / "pairs").glob("*_D45f_*.npz")):
        with np.load(path) as pair:
            full, quarter = (
                _assess(HuVolume(pair[key].astype(np.float32)[None], (3.0, 0.7, 0.7))) for key in ("full", "quarter")
            )
        if full.measurements and quarter.measurements:
            ratios.append(quarter.measurements[0].value / full.measurements[0].value)
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(2.0, rel=0.15)
