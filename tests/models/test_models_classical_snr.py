from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctiqa_models.api import Assessment, HuVolume, Status
from ctiqa_models.classical import Snr

SPACING = (2.5, 0.8, 0.8)


def _body(sigma: float, level: float = 40.0, seed: int = 0, slices: int = 8) -> HuVolume:
    rows, columns = np.mgrid[:96, :96] - 47.5
    hu = np.full((slices, 96, 96), -1000.0, dtype=np.float32)
    noise = np.random.default_rng(seed).normal(0.0, sigma, hu.shape)
    hu[:, rows**2 + columns**2 < 44**2] = level
    return HuVolume(np.asarray(hu + noise, dtype=np.float32), SPACING)


def _assess(volume: HuVolume) -> Assessment:
    return Snr().assess(volume, lambda share: None)


def _values(assessment: Assessment) -> dict[int | None, float]:
    return {measurement.slice_index: measurement.value for measurement in assessment.measurements}


@given(sigma=st.floats(3.0, 30.0), level=st.floats(-700.0, 300.0))
@settings(max_examples=15, deadline=None)
def test_uniform_tissue_has_the_ratio_of_its_grey_value_to_its_noise(sigma: float, level: float) -> None:
    hu = np.random.default_rng(1).normal(level, sigma, (8, 96, 96)).astype(np.float32)
    assessment = _assess(HuVolume(hu, SPACING))
    expected = (level + 1024.0) / sigma
    assert _values(assessment)[None] == pytest.approx(expected, rel=0.02)
    assert _values(assessment)[3] == pytest.approx(expected, rel=0.03)


@given(sigma=st.floats(2.0, 20.0), factor=st.floats(1.2, 3.0))
@settings(max_examples=15, deadline=None)
def test_more_noise_lowers_the_ratio(sigma: float, factor: float) -> None:
    assert _values(_assess(_body(sigma * factor)))[None] < _values(_assess(_body(sigma)))[None]


def test_a_noisier_slice_shows_in_its_own_value_only() -> None:
    volume = _body(10.0)
    volume.hu[5] += np.random.default_rng(2).normal(0.0, 30.0, (96, 96)).astype(np.float32)
    values = _values(_assess(volume))
    assert values[5] < 0.6 * values[4]
    assert values[4] == pytest.approx(_values(_assess(_body(10.0)))[4])


def test_air_around_the_body_does_not_count() -> None:
    wide = np.pad(_body(10.0).hu, ((0, 0), (96, 96), (96, 96)), constant_values=-1000.0)
    noise = np.random.default_rng(3).normal(0.0, 10.0, wide.shape)
    wide = np.where(wide == -1000.0, wide + noise, wide).astype(np.float32)
    # 96 is a multiple of the sub-volume side (12 pixels), so the body's blocks stay where they were.
    assert _values(_assess(HuVolume(wide, SPACING)))[None] == pytest.approx(_values(_assess(_body(10.0)))[None])


@pytest.mark.parametrize("padding", [-1024.0, -2000.0, -3024.0])
def test_padding_outside_the_reconstruction_circle_does_not_count(padding: float) -> None:
    volume = _body(10.0)
    volume.hu[:, :12] = padding
    values = _values(_assess(volume))
    assert np.isfinite(list(values.values())).all()
    assert values[None] == pytest.approx(_values(_assess(_body(10.0)))[None], rel=0.1)


@pytest.mark.parametrize("fill", [-3024.0, -1000.0, 0.0, 3071.0])
def test_a_constant_volume_is_not_scored_and_says_why(fill: float) -> None:
    assessment = _assess(HuVolume(np.full((4, 64, 64), fill, dtype=np.float32), SPACING))
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason
    assert not assessment.measurements


def test_an_empty_slice_is_named_as_unscored() -> None:
    volume = _body(10.0)
    volume.hu[2] = -1000.0
    assessment = _assess(volume)
    assert list(assessment.unscored_slices) == [2]
    assert 2 not in _values(assessment)


def test_a_slice_too_small_for_one_sub_volume_is_not_scored() -> None:
    assessment = _assess(HuVolume(np.zeros((2, 6, 6), dtype=np.float32), SPACING))
    assert assessment.status is Status.NOT_SCORED


@pytest.mark.parametrize(("slices", "spacing_mm"), [(1, 5.0), (1, 0.0), (3, 20.0), (7, 1.0)])
def test_every_slice_gets_a_value_whatever_the_thickness(slices: int, spacing_mm: float) -> None:
    volume = HuVolume(_body(10.0, slices=slices).hu, (spacing_mm, 0.8, 0.8))
    assert set(_values(_assess(volume))) == {None, *range(slices)}


def test_progress_ends_at_one_and_never_falls() -> None:
    shares: list[float] = []
    Snr().assess(_body(10.0), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
