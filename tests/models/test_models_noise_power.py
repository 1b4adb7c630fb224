"""Noise power spectra: the measure itself, and what theory says of CT noise: its grain, its direction, its map."""

from __future__ import annotations

import math

import pytest
import torch

from ctiqa_models.simulation.dose import REFERENCE_SCANNER, ReferenceScanner, noise_of_sinogram, project
from ctiqa_models.simulation.noise_power import RadialSpectrum, noise_power_spectrum, radial, towards
from ctiqa_models.simulation.projector import SHARP, SMOOTH, STANDARD, Kernel

_SIZE = 192
_PIXEL_MM = 1.6


def _water(half_x_mm: float, half_y_mm: float) -> torch.Tensor:
    axis = (torch.arange(_SIZE) - (_SIZE - 1) / 2) * _PIXEL_MM
    return torch.where((axis[None, :] / half_x_mm) ** 2 + (axis[:, None] / half_y_mm) ** 2 < 1, 0.0, -1000.0)[None]


def _noise(hu: torch.Tensor, scans: int, kernel: Kernel = STANDARD) -> torch.Tensor:
    sinogram, geometry = project(hu, _PIXEL_MM, ReferenceScanner(electronic_noise=0.0))
    stack = sinogram.repeat(scans, 1, 1)
    return noise_of_sinogram(stack, geometry, 0.5, torch.Generator().manual_seed(8), kernel, REFERENCE_SCANNER)


def _centre(noise: torch.Tensor, side: int = 96) -> torch.Tensor:
    first = (_SIZE - side) // 2
    return noise[:, first : first + side, first : first + side]


def _radial(kernel: Kernel) -> RadialSpectrum:
    noise = _noise(_water(130, 130), 12, kernel)
    return radial(noise_power_spectrum(_centre(noise), _PIXEL_MM), _PIXEL_MM)


def test_the_spectrum_integrates_to_the_variance() -> None:
    noise = 7 * torch.randn(200, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spectrum = noise_power_spectrum(noise, 0.5)
    bin_area = (1 / (32 * 0.5)) ** 2
    assert float(spectrum.sum()) * bin_area == pytest.approx(49, rel=0.02)


def test_white_noise_has_a_flat_spectrum() -> None:
    noise = torch.randn(300, 32, 32, generator=torch.Generator().manual_seed(2))
    rings = radial(noise_power_spectrum(noise, 1.0), 1.0)
    assert torch.allclose(rings.power, torch.ones_like(rings.power), atol=0.1)
    assert float(rings.frequency[-1]) == pytest.approx(0.5)


def test_a_wave_shows_at_its_frequency_and_in_its_direction() -> None:
    wave = torch.sin(2 * math.pi * 4 * torch.arange(32) / 32)
    spectrum = noise_power_spectrum(wave[None, :, None].expand(1, 32, 32), 0.8)
    assert radial(spectrum, 0.8).peak == pytest.approx(4 / (32 * 0.8))
    assert towards(spectrum, math.pi / 2) > 100 * towards(spectrum, 0.0)


def test_patches_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        noise_power_spectrum(torch.zeros(3, 8, 9), 1.0)


def test_the_spectrum_of_ct_noise_peaks_off_zero_and_higher_for_a_sharper_kernel() -> None:
    spectra = [_radial(kernel) for kernel in (SMOOTH, STANDARD, SHARP, Kernel(None, boost=1.5))]
    for spectrum in spectra:
        assert spectrum.power[0] < 0.4 * spectrum.power.max()
        assert spectrum.peak > 0.04
    assert spectra[0].peak < spectra[1].peak < spectra[2].peak < spectra[3].peak
    assert spectra[0].mean < 0.9 * spectra[1].mean < 0.81 * spectra[2].mean < 0.73 * spectra[3].mean


def test_low_frequencies_rise_with_the_ramp() -> None:
    """Backprojection turns a filter |f| into a spectrum |f|²/|f| = |f| (Riederer, Pelc & Chesler 1978).

    Linear interpolation between detector elements takes sinc⁴ off it.
    """
    spectrum = _radial(Kernel(None))
    ratio = spectrum.power / spectrum.frequency / torch.sinc(spectrum.frequency * _PIXEL_MM) ** 4
    # The lowest rings hold few values, and what leaks from the edges of the patches.
    assert float(ratio[3:25].std() / ratio[3:25].mean()) < 0.1


def test_noise_in_a_disc_follows_the_attenuation_of_the_rays_through_each_place() -> None:
    """Variance at radius r goes as the mean over angles of exp(path through r): the centre is noisiest."""
    radius = 130.0
    noise = _noise(_water(radius, radius), scans=10)
    axis = (torch.arange(_SIZE) - (_SIZE - 1) / 2) * _PIXEL_MM
    distance = torch.hypot(axis[None, :], axis[:, None])
    angle = torch.arange(0, math.pi, 0.01)

    def spread(at: float) -> tuple[float, float]:
        ring = (distance - at).abs() < 10
        path = 2 * torch.sqrt(radius**2 - (at * torch.cos(angle)) ** 2)
        return float(noise[:, ring].std()), float((0.0193 * path).exp().mean().sqrt())

    centre, expected_centre = spread(10.0)
    for at in (60.0, 110.0):
        found, expected = spread(at)
        assert found / centre == pytest.approx(expected / expected_centre, rel=0.07)
    assert spread(110.0)[0] < 0.8 * centre


def test_noise_in_an_ellipse_streaks_along_its_long_axis() -> None:
    """Power in a direction goes with the attenuation of the rays that carry it: hence streaks in shoulders and hips."""
    noise = _centre(_noise(_water(150, 80), 12), side=32)
    spectrum = noise_power_spectrum(noise, _PIXEL_MM)
    off_centre = torch.arange(-16, 17) * _PIXEL_MM
    lengthwise, across = (
        float((0.0193 * 2 * half * torch.sqrt(1 - (off_centre / other) ** 2)).exp().mean())
        for half, other in ((150, 80), (80, 150))
    )
    assert lengthwise / across > 10
    found = towards(spectrum, math.pi / 2, 0.15) / towards(spectrum, 0.0, 0.15)
    assert found == pytest.approx(lengthwise / across, rel=0.3)


def test_noise_in_a_disc_has_no_direction() -> None:
    spectrum = noise_power_spectrum(_centre(_noise(_water(130, 130), 12)), _PIXEL_MM)
    assert towards(spectrum, math.pi / 2) / towards(spectrum, 0.0) == pytest.approx(1.0, abs=0.1)
