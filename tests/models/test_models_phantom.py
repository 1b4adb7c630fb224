from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from ctiqa_models.api import FloatArray, HuVolume
from ctiqa_models.classical import NoiseLevel
from ctiqa_models.simulation.noise_power import noise_power_spectrum, towards
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.series import PADDING_HU, Scan, simulate_series

SLICES, SIZE = 10, 128
ABDOMEN, DOME, HEART, ARCH, SHOULDERS = 1, 4, 5, 7, 9


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two test runs side by side on few cores otherwise spend their time waiting for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def patient() -> FloatArray:
    return anatomy(seed=3, slices=SLICES, size=SIZE)


@pytest.fixture(scope="module")
def scanned() -> HuVolume:
    return simulate_series(seed=3, slices=SLICES, size=SIZE)


@pytest.fixture(scope="module")
def noiseless() -> HuVolume:
    return simulate_series(seed=3, slices=SLICES, size=SIZE, scan=Scan(dose_fraction=1e7))


def _lung(hu: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((hu > -960) & (hu < -700))


def _soft(hu: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((hu > 20) & (hu < 220))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_every_patient_is_air_lung_fat_tissue_and_bone_in_plausible_shares(seed: int) -> None:
    hu = anatomy(seed, slices=6, size=64)
    assert hu.shape == (6, 64, 64)
    assert hu.dtype == np.float32
    assert np.isfinite(hu).all()
    assert hu.min() >= -1010.0
    assert 400.0 < hu.max() < 1200.0
    body = (hu > -300).mean()
    assert 0.2 < body < 0.6
    assert 0.03 < _lung(hu).mean() < 0.2
    assert 0.05 < ((hu > -150) & (hu < -60)).mean() < 0.3
    assert 0.1 < _soft(hu).mean() < 0.4
    assert 0.005 < (hu > 300).mean() < 0.06


def test_the_same_seed_draws_the_same_patient_and_another_seed_another(patient: FloatArray) -> None:
    assert np.array_equal(patient, anatomy(seed=3, slices=SLICES, size=SIZE))
    assert np.abs(patient - anatomy(seed=4, slices=SLICES, size=SIZE)).mean() > 50.0


def test_the_lungs_fill_the_chest_and_end_above_the_kidneys(patient: FloatArray) -> None:
    share = _lung(patient).mean(axis=(1, 2))
    assert share[HEART] > 0.12
    # What is left there are mixed pixels where air meets skin, gas or table.
    assert share[0] < 0.03
    assert share[SHOULDERS] < share[ARCH] < share[HEART] + 0.1


def test_the_liver_lies_on_the_left_of_the_picture_and_the_heart_on_the_right(patient: FloatArray) -> None:
    # Radiological view: the patient's right is on the left.
    inside = slice(SIZE // 4, 5 * SIZE // 8)
    soft = _soft(patient)[:, inside, :]
    assert soft[ABDOMEN + 1, :, : SIZE // 2].sum() > 1.3 * soft[ABDOMEN + 1, :, SIZE // 2 :].sum()
    assert soft[HEART, :, SIZE // 2 :].sum() > 1.3 * soft[HEART, :, : SIZE // 2].sum()


def test_there_is_bone_in_every_slice_and_the_spine_lies_behind(patient: FloatArray) -> None:
    for hu in patient:
        spine = hu[SIZE // 2 : SIZE // 2 + 44, SIZE // 2 - 16 : SIZE // 2 + 16]
        assert (spine > 250).sum() > 20


def test_edges_are_anti_aliased() -> None:
    fine = anatomy(seed=3, slices=3, size=256)
    coarse = anatomy(seed=3, slices=3, size=128)
    averaged = fine.reshape(3, 128, 2, 128, 2).mean(axis=(2, 4))
    # A pixel on an edge holds what four finer ones hold on average; textures and thin strands differ.
    assert np.abs(averaged - coarse).mean() < 12.0
    assert np.quantile(np.abs(averaged - coarse), 0.99) < 150.0


def test_thin_slices_change_little_from_one_to_the_next() -> None:
    thin = anatomy(seed=1, slices=4, size=SIZE, slice_mm=1.0)
    thick = anatomy(seed=1, slices=4, size=SIZE, slice_mm=40.0)
    assert np.abs(np.diff(thin, axis=0)).mean() < 0.3 * np.abs(np.diff(thick, axis=0)).mean()


@pytest.mark.parametrize(
    ("slices", "size", "field_of_view_mm", "slice_mm"),
    [(0, 64, 400.0, None), (4, 0, 400.0, None), (4, 64, 0.0, None), (100, 64, 400.0, 5.0), (4, 64, 400.0, -1.0)],
)
def test_a_phantom_that_cannot_be_drawn_is_refused(
    slices: int, size: int, field_of_view_mm: float, slice_mm: float | None
) -> None:
    with pytest.raises(ValueError):
        anatomy(0, slices, size, field_of_view_mm, slice_mm)


def test_a_scan_shows_the_phantom_in_hounsfield_units(patient: FloatArray, noiseless: HuVolume) -> None:
    # Away from edges, where reconstruction blurs: the middle of the liver and of the lungs.
    liver = np.s_[ABDOMEN + 1, 50:62, 34:46]
    assert noiseless.hu[liver].mean() == pytest.approx(patient[liver].mean(), abs=8.0)
    lung = binary_erosion(_lung(patient[HEART]), iterations=2)
    assert np.median(noiseless.hu[HEART][lung]) == pytest.approx(float(np.median(patient[HEART][lung])), abs=15.0)


def test_a_scan_is_stored_as_scanners_store_it(scanned: HuVolume) -> None:
    assert scanned.spacing_mm == (40.0, 3.125, 3.125)
    assert scanned.hu.dtype == np.float32
    assert np.array_equal(scanned.hu, np.rint(scanned.hu))
    assert scanned.hu.min() == PADDING_HU
    assert scanned.hu.max() <= 3071.0
    assert (scanned.hu[:, 0, 0] == PADDING_HU).all()


def test_the_same_scan_twice_gives_the_same_volume(scanned: HuVolume) -> None:
    assert np.array_equal(scanned.hu, simulate_series(seed=3, slices=SLICES, size=SIZE).hu)


def _noise(volume: HuVolume, noiseless: HuVolume) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Standard deviation in the central quarter of each slice."""
    centre = np.s_[:, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
    difference = (volume.hu[centre] - noiseless.hu[centre]).astype(np.float64)
    return np.asarray(difference.std(axis=(1, 2)))


def test_a_sixteenth_of_the_dose_brings_four_times_the_noise(scanned: HuVolume, noiseless: HuVolume) -> None:
    low = simulate_series(seed=3, slices=SLICES, size=SIZE, scan=Scan(dose_fraction=1 / 16))
    ratio = _noise(low, noiseless) / _noise(scanned, noiseless)
    assert np.median(ratio) == pytest.approx(4.0, rel=0.1)


def test_shoulders_are_noisier_unless_the_tube_current_follows_the_patient(noiseless: HuVolume) -> None:
    fixed, modulated = (
        _noise(simulate_series(3, SLICES, SIZE, Scan(dose_fraction=0.25, tube_current_modulation=strength)), noiseless)
        for strength in (0.0, 1.0)
    )
    assert fixed[SHOULDERS] > 1.3 * fixed[HEART]
    assert np.ptp(modulated) / modulated.mean() < 0.6 * np.ptp(fixed) / fixed.mean()


def test_noise_streaks_through_the_shoulders_more_than_through_the_abdomen(noiseless: HuVolume) -> None:
    """Few photons pass from side to side there, so that the noise runs along x and varies along y."""
    low = simulate_series(seed=3, slices=SLICES, size=SIZE, scan=Scan(dose_fraction=0.1))
    noise = torch.from_numpy(low.hu - noiseless.hu)[:, 32:-32, 32:-32].double()
    streaks = [
        towards(spectrum, math.pi / 2) / towards(spectrum, 0.0)
        for spectrum in (noise_power_spectrum(noise[one : one + 1], 400 / SIZE) for one in (SHOULDERS, ABDOMEN))
    ]
    assert streaks[0] > 1.5 * streaks[1] > 2.0


def test_one_slice_can_be_spoilt(scanned: HuVolume, noiseless: HuVolume) -> None:
    factors = tuple(0.05 if index == DOME else 1.0 for index in range(SLICES))
    noise = _noise(simulate_series(3, SLICES, SIZE, Scan(dose_factors=factors)), noiseless)
    usual = _noise(scanned, noiseless)
    assert noise[DOME] > 3.0 * usual[DOME]
    assert noise[HEART] == pytest.approx(usual[HEART], rel=0.15)


def test_the_noise_level_of_a_scan_falls_with_dose() -> None:
    levels = [
        NoiseLevel()
        .assess(simulate_series(5, 4, 192, Scan(dose_fraction=dose)), lambda share: None)
        .measurements[0]
        .value
        for dose in (0.02, 0.1, 1.0)
    ]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 2.0 * levels[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dose_fraction": 0.0},
        {"dose_fraction": float("nan")},
        {"tube_current_modulation": 1.5},
        {"dose_factors": (1.0, -1.0)},
    ],
)
def test_a_scan_without_x_rays_is_refused(wrong: dict[str, float | tuple[float, ...]]) -> None:
    with pytest.raises(ValueError):
        Scan(**wrong)  # type: ignore[arg-type]  # one dictionary for fields of several types


def test_dose_factors_must_count_the_slices() -> None:
    with pytest.raises(ValueError, match="must count 3"):
        simulate_series(0, 3, 64, Scan(dose_factors=(1.0, 1.0)))
