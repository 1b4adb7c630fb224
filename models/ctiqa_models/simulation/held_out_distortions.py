"""Distortions that no training may see: they show what a model makes of faults that it was never taught.

Each has levels 1 (mild) to 5 (bad), and its error against the clean slice grows with the level. Keep this module out of
every training recipe: what it is worth in a test hangs on that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import torch

from ctiqa_models.simulation.distortions_ct import Projections
from ctiqa_models.simulation.dose import count_error
from ctiqa_models.simulation.projector import MU_WATER_PER_MM, STANDARD, filtered_back_projection

LEVELS = (1, 2, 3, 4, 5)
_HU_PER_MU = 1000.0 / MU_WATER_PER_MM

_MOVED_MM = (0.5, 1.0, 2.0, 4.0, 8.0)
_GAIN_ERROR = (0.002, 0.004, 0.008, 0.016, 0.032)
_METAL_RADIUS_MM = (1.5, 2.5, 4.0, 6.0, 9.0)
_SMOOTHING_HU = (15.0, 30.0, 60.0, 120.0, 240.0)
_SMOOTHING_MM = (1.0, 1.5, 2.0, 3.0, 4.0)

_METAL_MU_PER_MM = 0.25
"""Titanium at about 70 keV: 0.55 cm²/g · 4.5 g/cm³ (NIST XCOM), in 1/mm."""
_HARDENING = 0.35
_BODY_HU = -500.0


class HeldOut(StrEnum):
    """What may go wrong besides dose and views."""

    MOTION = "patient motion"
    RINGS = "rings"
    METAL = "metal streaks"
    OVER_SMOOTHING = "over-smoothing denoiser"


@dataclass(frozen=True, slots=True)
class _Body:
    """Where a body lies, in mm from the centre of the slice: the middle's x and y, and half the width."""

    x: float
    y: float
    half_width: float


def distort_held_out(projections: Projections, kind: HeldOut, level: int, generator: torch.Generator) -> torch.Tensor:
    """The slices of `projections` with one fault at `level` 1–5: HU [z, n, n]; the same generator, the same picture.

    The slice's own texture stays, as in `distortions_ct.degrade`. Raises ValueError for another level, and for metal in
    a slice that shows no body.
    """
    if level not in LEVELS:
        raise ValueError(f"a level is a whole number from 1 to 5, not {level}")
    return _FAULTS[kind](projections, level - 1, generator)


def _motion(projections: Projections, level: int, generator: torch.Generator) -> torch.Tensor:
    """The patient drifts one way and jerks back during the rotation: views disagree on where the body was.

    A movement by d moves the projection at angle θ by d·(cos θ, sin θ); the spectrum's phase does it without blur.
    """
    geometry = projections.geometry
    heading = float(torch.rand(1, generator=generator, device=generator.device)) * math.pi
    view = torch.arange(geometry.views, dtype=projections.sinogram.dtype, device=projections.sinogram.device)
    phase = view / geometry.views
    drift = torch.where(phase < 0.6, phase / 0.6, (1.0 - phase) / 0.4) * _MOVED_MM[level]
    offset = drift * torch.cos(math.pi * phase - heading) / geometry.pixel_mm
    length = 2 * geometry.detectors
    frequency = torch.fft.rfftfreq(length, device=view.device, dtype=view.dtype)
    turn = torch.exp(-2j * math.pi * offset[:, None] * frequency)
    moved = torch.fft.irfft(torch.fft.rfft(projections.sinogram, n=length) * turn, n=length)[..., : geometry.detectors]
    return projections.hu + _reconstruct(moved - projections.sinogram, projections)


def _rings(projections: Projections, level: int, generator: torch.Generator) -> torch.Tensor:
    """Each element's gain is a little off, and stays so through the rotation: p changes by −ln(gain).

    Over the full turn an element sees the rays at +t and at −t; half a turn shows that as an error even in t.
    """
    elements = projections.geometry.detectors
    gain = torch.randn(elements, generator=generator, device=generator.device) * _GAIN_ERROR[level]
    error = -torch.log1p(gain).to(projections.sinogram)
    even = (error + error.flip(0)) / 2
    return projections.hu + _reconstruct(even.expand_as(projections.sinogram), projections)


def _metal(projections: Projections, level: int, generator: torch.Generator) -> torch.Tensor:
    """Two titanium rods left and right in the body: starved detectors, and beam hardening that grows with the path."""
    radius = _METAL_RADIUS_MM[level]
    path = torch.stack([_rods(body, radius, projections) for body in _bodies(projections)])
    attenuation = path * _METAL_MU_PER_MM
    # A polychromatic beam gets harder on its way, so the measured attenuation falls behind the path (Hsieh, chapter 7).
    hardened = -torch.expm1(-_HARDENING * attenuation) / _HARDENING
    measured = projections.sinogram + hardened
    scanner = projections.scanner
    photons = scanner.photons(1.0, projections.geometry)
    noise = count_error(measured, photons, scanner.electronic_noise, generator)
    # The slice holds its own noise already: only rays through metal bring theirs.
    error = torch.where(path > 0, hardened + noise, torch.zeros_like(noise))
    return projections.hu + _reconstruct(error, projections)


def _over_smoothing(projections: Projections, level: int, _generator: torch.Generator) -> torch.Tensor:
    """A bilateral filter of growing range and width: edges stay, low contrast and texture go, as in plastic."""
    sigma_px = _SMOOTHING_MM[level] / projections.geometry.pixel_mm
    smooth = [
        cv2.bilateralFilter(one, -1, _SMOOTHING_HU[level], sigma_px, borderType=cv2.BORDER_REPLICATE)
        for one in projections.hu.to("cpu", torch.float32).numpy()
    ]
    return torch.from_numpy(np.stack(smooth)).to(projections.hu)


_FAULTS: dict[HeldOut, Callable[[Projections, int, torch.Generator], torch.Tensor]] = {
    HeldOut.MOTION: _motion,
    HeldOut.RINGS: _rings,
    HeldOut.METAL: _metal,
    HeldOut.OVER_SMOOTHING: _over_smoothing,
}


def _bodies(projections: Projections) -> list[_Body]:
    centre = (projections.geometry.size - 1) / 2
    bodies = []
    for one in projections.hu:
        rows, columns = torch.nonzero(one > _BODY_HU, as_tuple=True)
        if not len(rows):
            raise ValueError("metal needs a body to lie in, and a slice shows none")
        x, y = columns.double() - centre, rows.double() - centre
        # A filled ellipse of half axis a has a spread of a/2, and a table moves that less than it moves an outline.
        pixel_mm = projections.geometry.pixel_mm
        bodies.append(_Body(float(x.mean()) * pixel_mm, float(y.mean()) * pixel_mm, 2 * float(x.std()) * pixel_mm))
    return bodies


def _rods(body: _Body, radius: float, projections: Projections) -> torch.Tensor:
    """Millimetres of metal along each ray, [views, detectors]: chords of two discs."""
    geometry = projections.geometry
    at = (torch.arange(geometry.detectors, dtype=torch.float64) - (geometry.detectors - 1) / 2) * geometry.pixel_mm
    length = torch.zeros(geometry.views, geometry.detectors, dtype=torch.float64)
    for side in (-0.5, 0.5):
        x = body.x + side * body.half_width
        for view, (cos, sin) in enumerate(geometry.directions()):
            length[view] += 2 * torch.sqrt((radius**2 - (at - x * cos - body.y * sin) ** 2).clamp(min=0.0))
    return length.to(projections.sinogram)


def _reconstruct(error: torch.Tensor, projections: Projections) -> torch.Tensor:
    return filtered_back_projection(error.contiguous(), projections.geometry, STANDARD) * _HU_PER_MU
