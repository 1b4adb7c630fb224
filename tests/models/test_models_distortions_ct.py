"""Worse copies of CT slices follow theory: dose, views, kernels, modulation and thickness."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_models.simulation.distortions_ct import (
    GRID,
    GRID_DOSES,
    GRID_VIEWS,
    Acquisition,
    Projections,
    degrade,
    missing_dose,
    take_projections,
    thicken,
)
from ctiqa_models.simulation.dose import ReferenceScanner, noise_image
from ctiqa_models.simulation.exposure import share_of_slices, share_of_views
from ctiqa_models.simulation.projector import SHARP, SMOOTH, STANDARD, filtered_back_projection, mu_to_hu

_SIZE = 160
_PIXEL_MM = 2.2


def _ellipse(half_x_mm: float, half_y_mm: float) -> torch.Tensor:
    """Water in air with a bone and a hole, so that sparse views have something to make streaks of."""
    axis = (torch.arange(_SIZE) - (_SIZE - 1) / 2) * _PIXEL_MM
    x, y = axis[None, :], axis[:, None]
    hu = torch.where((x / half_x_mm) ** 2 + (y / half_y_mm) ** 2 < 1, 0.0, -1000.0)
    hu[torch.hypot(x - 60, y) < 12] = 900.0
    hu[torch.hypot(x + 60, y + 10) < 15] = -900.0
    return hu[None]


def _often(body: Projections, times: int) -> Projections:
    """One slice many times, so that a spread is known well."""
    hu, sinogram = body.hu.repeat(times, 1, 1), body.sinogram.repeat(times, 1, 1)
    return Projections(hu, sinogram, body.geometry, body.scanner)


@pytest.fixture(scope="module")
def body() -> Projections:
    return take_projections(_ellipse(150, 110), _PIXEL_MM)


def _centre(hu: torch.Tensor) -> torch.Tensor:
    middle = _SIZE // 2
    return hu[..., middle - 15 : middle + 15, middle - 15 : middle + 15]


def _error(body: Projections, acquisition: Acquisition, seed: int = 1, own_dose: float | None = None) -> torch.Tensor:
    return degrade(body, acquisition, torch.Generator().manual_seed(seed), own_dose) - body.hu


def test_the_grid_is_that_of_ldctiqac() -> None:
    assert len(GRID) == len(set(GRID)) == 16
    assert {one.dose for one in GRID} == set(GRID_DOSES)
    assert {one.views for one in GRID} == set(GRID_VIEWS) == {64, 128, 256, None}


@pytest.mark.parametrize("dose", [0.1, 0.25, 0.5])
def test_noise_goes_as_one_over_the_root_of_the_dose(body: Projections, dose: float) -> None:
    low, full = (_centre(_error(_often(body, 6), Acquisition(d), seed=int(100 * d))).std() for d in (dose, 1.0))
    assert float(low / full) == pytest.approx(1 / math.sqrt(dose), rel=0.05)


def test_twice_the_views_at_the_same_dose_make_the_noise_of_the_reference_scanner(body: Projections) -> None:
    reference = noise_image(_ellipse(150, 110), _PIXEL_MM, 0.25, torch.Generator().manual_seed(2))
    ours = _error(body, Acquisition(0.25))
    assert float(_centre(ours).std()) == pytest.approx(float(_centre(reference).std()), rel=0.08)


def test_a_full_scan_of_full_dose_slices_changes_nothing(body: Projections) -> None:
    assert torch.equal(degrade(body, Acquisition(1.0), torch.Generator(), own_dose=1.0), body.hu)


def test_sparse_views_leave_the_streaks_and_the_texture_of_the_slice(body: Projections) -> None:
    """Without noise what is added is FBP(few views) − FBP(all views), whatever texture the slice has."""
    textured = Projections(body.hu + 20 * torch.randn(body.hu.shape), body.sinogram, body.geometry, body.scanner)
    plain, grainy = (_error(one, Acquisition(1.0, 64), own_dose=1.0) for one in (body, textured))
    assert torch.allclose(plain, grainy, atol=1e-3)
    few = take_projections(body.hu, _PIXEL_MM, ReferenceScanner(views=64))
    scans = (mu_to_hu(filtered_back_projection(one.sinogram, one.geometry, STANDARD)) for one in (few, body))
    streaks = next(scans) - next(scans)
    assert torch.allclose(plain, streaks, atol=0.5)


def test_streaks_grow_as_views_get_fewer(body: Projections) -> None:
    spreads = [
        float(_centre(_error(body, Acquisition(1.0, views), own_dose=1.0)).std()) for views in (384, 192, 96, 48)
    ]
    assert all(few > 1.5 * more for more, few in pairwise(spreads))


def test_fewer_views_of_the_same_dose_are_as_noisy(body: Projections) -> None:
    noises = []
    for views in (None, 128):
        streaks = _error(body, Acquisition(1.0, views), own_dose=1.0)
        noises.append(float(_centre(_error(body, Acquisition(0.25, views)) - streaks).std()))
    assert noises[0] == pytest.approx(noises[1], rel=0.08)


def test_another_kernel_changes_resolution_only_where_asked(body: Projections) -> None:
    generator = torch.Generator()
    kept = degrade(body, Acquisition(1.0, kernel=SMOOTH), generator, own_dose=1.0)
    assert torch.equal(kept, body.hu)
    smooth, sharp = (
        degrade(body, Acquisition(1.0, kernel=kernel), generator, own_dose=1.0, own_kernel=STANDARD)
        for kernel in (SMOOTH, SHARP)
    )
    steepness = [float(one.diff(dim=2).square().mean().sqrt()) for one in (smooth, body.hu, sharp)]
    assert steepness[0] < 0.95 * steepness[1] < 0.95 * steepness[2]


@given(own=st.floats(0.02, 1.0), share=st.floats(0.01, 0.99))
def test_noise_of_the_missing_dose_and_ones_own_make_the_noise_of_the_dose(own: float, share: float) -> None:
    assert 1 / missing_dose(share * own, own) + 1 / own == pytest.approx(1 / (share * own))


def test_angular_modulation_lowers_noise_in_the_centre_as_theory_has_it() -> None:
    """Variance there is the mean of A/m over views: mean A for a flat current, (mean √A)² for m ∝ √A (Gies 1999)."""
    axis = (torch.arange(_SIZE) - (_SIZE - 1) / 2) * _PIXEL_MM
    ellipse = torch.where((axis[None, :] / 160) ** 2 + (axis[:, None] / 90) ** 2 < 1, 0.0, -1000.0)
    body = _often(take_projections(ellipse[None], _PIXEL_MM), 16)
    needed = body.sinogram[0, :, _SIZE // 2].exp()
    expected = float(needed.sqrt().mean() / needed.mean().sqrt())
    flat, shaped = (
        _centre(_error(body, Acquisition(0.5, angular_modulation=m)))[:, 5:-5, 5:-5].std() for m in (0.0, 0.5)
    )
    assert expected < 0.93
    assert float(shaped / flat) == pytest.approx(expected, rel=0.05)


def test_modulation_along_z_evens_the_noise_of_slices_out() -> None:
    pair = take_projections(torch.cat([_ellipse(110, 90), _ellipse(160, 120)]), _PIXEL_MM)
    thin_and_thick = _often(pair, 6)
    flat, even = (
        _centre(_error(thin_and_thick, Acquisition(0.5, modulation_along_z=strength))) for strength in (0.0, 1.0)
    )
    assert float(flat[1::2].std() / flat[::2].std()) > 1.5
    assert float(even[1::2].std() / even[::2].std()) == pytest.approx(1.0, abs=0.06)


def test_modulation_shares_the_dose_out_and_adds_none() -> None:
    sinograms = torch.rand(4, 12, 40, generator=torch.Generator().manual_seed(3)) * 5
    assert torch.allclose(share_of_views(sinograms, 0.5).mean(dim=1), torch.ones(4))
    assert float(share_of_slices(sinograms, 0.5).mean()) == pytest.approx(1.0)
    assert torch.equal(share_of_slices(sinograms, 0.0), torch.ones(4))
    with pytest.raises(ValueError, match="strength"):
        share_of_views(sinograms, 1.5)


@pytest.mark.parametrize("slices", [2, 4])
def test_thicker_slices_have_less_noise_by_the_root_of_their_number(body: Projections, slices: int) -> None:
    thin = _error(_often(body, 8), Acquisition(0.5))
    assert float(_centre(thicken(thin, slices)).std() / _centre(thin).std()) == pytest.approx(slices**-0.5, rel=0.06)


def test_slices_left_over_by_thickening_are_dropped() -> None:
    assert thicken(torch.zeros(7, 4, 4), 3).shape == (2, 4, 4)
    with pytest.raises(ValueError, match="averaged"):
        thicken(torch.zeros(2, 4, 4), 3)


def test_acquisitions_that_make_no_sense_are_refused(body: Projections) -> None:
    with pytest.raises(ValueError, match="dose"):
        Acquisition(0.0)
    with pytest.raises(ValueError, match="views"):
        Acquisition(views=0)
    with pytest.raises(ValueError, match="divide"):
        degrade(body, Acquisition(views=100), torch.Generator())
    with pytest.raises(ValueError, match="more dose"):
        degrade(body, Acquisition(0.5), torch.Generator(), own_dose=0.25)
