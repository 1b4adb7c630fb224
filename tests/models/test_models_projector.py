"""The projector: geometry in millimetres, the pair of projections, Hounsfield units after filtered back-projection."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctiqa_models.simulation.projector import (
    SHARP,
    SMOOTH,
    STANDARD,
    Kernel,
    ParallelGeometry,
    back_project,
    filtered_back_projection,
    forward,
    hu_to_mu,
    mu_to_hu,
)


def _coordinates(geometry: ParallelGeometry) -> tuple[torch.Tensor, torch.Tensor]:
    axis = (torch.arange(geometry.size, dtype=torch.float64) - (geometry.size - 1) / 2) * geometry.pixel_mm
    return axis[None, :], axis[:, None]


def _disc(geometry: ParallelGeometry, x_mm: float, y_mm: float, radius_mm: float) -> torch.Tensor:
    """1 inside, 0 outside, the edge one pixel wide so that its area is right."""
    x, y = _coordinates(geometry)
    distance = torch.sqrt((x - x_mm) ** 2 + (y - y_mm) ** 2)
    return ((radius_mm - distance) / geometry.pixel_mm + 0.5).clamp(0, 1)


@pytest.mark.parametrize("pixel_mm", [0.5, 0.9])
def test_the_projections_are_adjoint(pixel_mm: float) -> None:
    geometry = ParallelGeometry(views=90, detectors=96, pixel_mm=pixel_mm, size=64)
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 64, 64, generator=generator, dtype=torch.float64) * _disc(geometry, 0, 0, 24 * pixel_mm)
    sinogram = torch.rand(2, 90, 96, generator=generator, dtype=torch.float64)
    left = (forward(image, geometry) * sinogram).sum()
    right = (image * back_project(sinogram, geometry)).sum() * pixel_mm
    assert left == pytest.approx(float(right), rel=1e-3)


def test_the_projections_agree_on_which_way_is_up() -> None:
    """A point in one quadrant, projected and smeared back, is brightest where it was."""
    geometry = ParallelGeometry(views=60, detectors=64, pixel_mm=1.0, size=64)
    image = torch.zeros(1, 64, 64)
    image[0, 12, 40] = 1.0
    smeared = back_project(forward(image, geometry), geometry)
    assert divmod(int(smeared.argmax()), 64) == (12, 40)


@settings(max_examples=10, deadline=None)
@given(x=st.floats(-30, 30), y=st.floats(-30, 30), radius=st.floats(8, 25), pixel=st.sampled_from([0.6, 1.0, 1.3]))
def test_a_ray_through_a_disc_is_as_long_as_its_chord(x: float, y: float, radius: float, pixel: float) -> None:
    size = int(130 / pixel)
    geometry = ParallelGeometry(views=8, detectors=size, pixel_mm=pixel, size=size)
    sinogram = forward(_disc(geometry, x, y, radius)[None], geometry)[0]
    detector_mm = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * pixel
    for view, (cos, sin) in enumerate(geometry.directions()):
        distance = detector_mm - (x * cos + y * sin)
        inside = distance.abs() < radius - 2 * pixel
        chord = 2 * torch.sqrt(radius**2 - distance[inside] ** 2)
        assert torch.allclose(sinogram[view, inside], chord, atol=1.2 * pixel)
        assert float(sinogram[view].sum() * pixel) == pytest.approx(math.pi * radius**2, rel=0.01)


@pytest.mark.parametrize("kernel", [SMOOTH, STANDARD, SHARP, Kernel(None), Kernel(None, boost=1.5)])
def test_a_body_comes_back_with_its_hounsfield_units(kernel: Kernel) -> None:
    geometry = ParallelGeometry(views=360, detectors=256, pixel_mm=1.4, size=256)
    hu = torch.full((1, 256, 256), -1000.0, dtype=torch.float64)
    hu[0] += 1040 * _disc(geometry, 5, -8, 140) + 60 * _disc(geometry, 60, 0, 30) - 900 * _disc(geometry, -60, 20, 30)
    mu = filtered_back_projection(forward(hu_to_mu(hu), geometry), geometry, kernel)
    found = mu_to_hu(mu)[0]
    for x, y, expected in [(60, 0, 100), (-60, 20, -860), (0, 80, 40), (0, 160, -1000)]:
        region = _disc(geometry, x, y, 12) > 0.5
        assert float(found[region].mean()) == pytest.approx(expected, abs=5)


def test_slices_of_a_stack_do_not_mix() -> None:
    geometry = ParallelGeometry(views=40, detectors=48, pixel_mm=1.0, size=48)
    stack = torch.stack([_disc(geometry, 0, 0, 10), _disc(geometry, 8, 3, 6)])
    together = filtered_back_projection(forward(stack, geometry), geometry, STANDARD)
    alone = [filtered_back_projection(forward(one[None], geometry), geometry, STANDARD)[0] for one in stack]
    assert torch.allclose(together, torch.stack(alone))


def test_a_smoother_kernel_gives_less_noise() -> None:
    geometry = ParallelGeometry(views=90, detectors=96, pixel_mm=1.0, size=96)
    noise = torch.randn(1, 90, 96, generator=torch.Generator().manual_seed(2))
    spread = [float(filtered_back_projection(noise, geometry, kernel).std()) for kernel in (SMOOTH, STANDARD, SHARP)]
    assert spread[0] < 0.8 * spread[1] < 0.8 * spread[2]


def test_numbers_that_describe_no_scanner_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        ParallelGeometry(views=0, detectors=10, pixel_mm=1.0, size=10)
    with pytest.raises(ValueError, match="cutoff"):
        Kernel(0.0)
    with pytest.raises(ValueError, match="boost"):
        Kernel(1.0, boost=-0.1)
    geometry = ParallelGeometry(views=4, detectors=8, pixel_mm=1.0, size=8)
    with pytest.raises(ValueError, match=r"mu must be \[z, 8, 8\]"):
        forward(torch.zeros(8, 8), geometry)
