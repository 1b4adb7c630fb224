"""Dose simulation: noise follows the dose as physics has it, and N2Q's formula does the same in the image."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_models.simulation.dose import (
    REFERENCE_SCANNER,
    ReferenceScanner,
    added_noise_factor,
    interpolate_dose,
    noise_image,
)
from ctiqa_models.simulation.projector import SHARP, SMOOTH

_PIXEL_MM = 1.4
_SIZE = 256


def _water(diameter_mm: float) -> torch.Tensor:
    axis = (torch.arange(_SIZE) - (_SIZE - 1) / 2) * _PIXEL_MM
    distance = torch.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
    return torch.where(distance < diameter_mm / 2, 0.0, -1000.0)[None]


def _centre(noise: torch.Tensor) -> torch.Tensor:
    middle = _SIZE // 2
    return noise[0, middle - 30 : middle + 30, middle - 30 : middle + 30]


def _spread(
    dose: float, diameter_mm: float = 280, seed: int = 3, scanner: ReferenceScanner = REFERENCE_SCANNER
) -> float:
    generator = torch.Generator().manual_seed(seed)
    return float(_centre(noise_image(_water(diameter_mm), _PIXEL_MM, dose, generator, scanner=scanner)).std())


@pytest.mark.parametrize("dose", [0.1, 0.25, 0.5, 0.75])
def test_noise_grows_as_one_over_the_root_of_the_dose(dose: float) -> None:
    assert _spread(dose) == pytest.approx(_spread(1.0) / math.sqrt(dose), rel=0.05)


def test_noise_has_no_mean_worth_speaking_of() -> None:
    noise = noise_image(_water(280), _PIXEL_MM, 1.0, torch.Generator().manual_seed(4))
    assert abs(float(_centre(noise).mean())) < 1.0


def test_a_larger_body_is_noisier_as_its_attenuation_says() -> None:
    """4 cm more water cost exp(0.0193 · 40) in photons, and its root in noise; the centre of a disc sees just that."""
    assert _spread(1.0, 300) / _spread(1.0, 260) == pytest.approx(math.exp(0.0193 * 40 / 2), rel=0.07)


def test_read_out_noise_matters_only_when_photons_are_few() -> None:
    quiet = ReferenceScanner(electronic_noise=0.0)
    assert _spread(1.0) == pytest.approx(_spread(1.0, scanner=quiet), rel=0.01)
    assert _spread(0.01, 320) > 1.05 * _spread(0.01, 320, scanner=quiet)


def test_full_dose_on_the_reference_scanner_is_what_its_docstring_says() -> None:
    axis = (torch.arange(512) - 255.5) * 0.7
    distance = torch.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
    water = torch.where(distance < 160, 0.0, -1000.0)[None]
    noise = noise_image(water, 0.7, 1.0, torch.Generator().manual_seed(5))[0]
    assert float(noise[distance < 40].std()) == pytest.approx(14, abs=1)


def test_the_kernel_shapes_the_noise() -> None:
    smooth, sharp = (
        _centre(noise_image(_water(280), _PIXEL_MM, 0.5, torch.Generator().manual_seed(6), kernel)).std()
        for kernel in (SMOOTH, SHARP)
    )
    assert sharp > 2 * smooth


def test_the_same_seed_gives_the_same_noise() -> None:
    first, second = (noise_image(_water(200), _PIXEL_MM, 0.5, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


@given(full=st.floats(-1000, 2000), quarter=st.floats(-1000, 2000))
def test_the_formula_meets_its_two_images(full: float, quarter: float) -> None:
    images = torch.tensor([full], dtype=torch.float64), torch.tensor([quarter], dtype=torch.float64)
    assert float(interpolate_dose(*images, 0.25)) == pytest.approx(quarter, abs=1e-6)
    assert float(interpolate_dose(*images, 1.0)) == pytest.approx(full, abs=1e-6)


@given(dose=st.floats(0.01, 1.0))
def test_the_formula_gives_the_noise_of_the_dose(dose: float) -> None:
    """Full-dose noise of variance 1 and the added noise (variance 3 at a quarter) must add to variance 1/D."""
    assert 1 + 3 * added_noise_factor(dose) ** 2 == pytest.approx(1 / dose)


def test_doses_and_slices_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="dose"):
        noise_image(_water(200), _PIXEL_MM, 0.0, torch.Generator())
    with pytest.raises(ValueError, match="dose"):
        added_noise_factor(1.5)
    with pytest.raises(ValueError, match="square"):
        noise_image(torch.zeros(1, 8, 9), 1.0, 0.5, torch.Generator())
