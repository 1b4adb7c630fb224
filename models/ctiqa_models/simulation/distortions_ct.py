"""Worse copies of CT slices, by physics: less dose, fewer views, another kernel, thinner or thicker slices.

LDCTIQAC 2023 holds quantum noise from reduced dose and streaks from sparse views, alone and together; `GRID` is the
grid of its authors (25, 50, 75, 100 % of the dose; 64, 128, 256 or all views), and `Acquisition` takes what lies
between. Only the difference that an acquisition makes is reconstructed and added to the slice as it came, so that its
own texture and resolution stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from ctiqa_models.simulation.dose import REFERENCE_SCANNER, ReferenceScanner, count_error, project
from ctiqa_models.simulation.exposure import share_of_slices, share_of_views
from ctiqa_models.simulation.projector import (
    MU_WATER_PER_MM,
    STANDARD,
    Kernel,
    ParallelGeometry,
    filtered_back_projection,
)

ALL_VIEWS = 768
_HU_PER_MU = 1000.0 / MU_WATER_PER_MM

VIEW_SCANNER = replace(
    REFERENCE_SCANNER,
    views=ALL_VIEWS,
    photons_per_mas=REFERENCE_SCANNER.photons_per_mas * REFERENCE_SCANNER.views / ALL_VIEWS,
    electronic_noise=REFERENCE_SCANNER.electronic_noise * math.sqrt(REFERENCE_SCANNER.views / ALL_VIEWS),
)
"""The reference scanner with its dose spread over 768 views, which 64, 96, 128, 192, 256 and 384 divide: same noise."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How a copy of a slice is taken.

    `dose` is a fraction of the scanner's full dose, shared out over the `views` that are taken (a divisor of the
    scanner's; None for all): fewer views bring streaks, not more noise. `angular_modulation` (0–1) gives views through
    more tissue more of it, `modulation_along_z` (0–1) slices with more tissue; `dose` is the mean of all then.
    """

    dose: float = 1.0
    views: int | None = None
    kernel: Kernel = STANDARD
    angular_modulation: float = 0.0
    modulation_along_z: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a scan without X-rays or views."""
        if not self.dose > 0:
            raise ValueError(f"dose must be a positive fraction of full dose: {self.dose}")
        if self.views is not None and self.views < 1:
            raise ValueError(f"views must be positive: {self.views}")


GRID_DOSES = (0.25, 0.5, 0.75, 1.0)
GRID_VIEWS: tuple[int | None, ...] = (64, 128, 256, None)
GRID = tuple(Acquisition(dose, views) for dose in GRID_DOSES for views in GRID_VIEWS)


@dataclass(frozen=True, slots=True)
class Projections:
    """Slices and their noiseless sinograms: made once, then degraded in many ways.

    `hu` is [z, n, n]; `sinogram` is [z, views, detectors], line integrals without unit.
    """

    hu: torch.Tensor
    sinogram: torch.Tensor
    geometry: ParallelGeometry
    scanner: ReferenceScanner


def take_projections(hu: torch.Tensor, pixel_mm: float, scanner: ReferenceScanner = VIEW_SCANNER) -> Projections:
    """Project square slices `hu` [z, n, n]; ValueError when they are not square."""
    sinogram, geometry = project(hu, pixel_mm, scanner)
    return Projections(hu, sinogram, geometry, scanner)


def degrade(
    projections: Projections,
    acquisition: Acquisition,
    generator: torch.Generator,
    own_dose: float | None = None,
    own_kernel: Kernel | None = None,
) -> torch.Tensor:
    """The slices as `acquisition` would have brought them: HU [z, n, n], on the device of the projections.

    `own_dose` is the dose whose noise the slices already hold, so that only the rest is added; None says that they are
    clean. `own_kernel` is the kernel that they were reconstructed with: given, their resolution is changed to that of
    the acquisition's kernel; None keeps it and lets the kernel shape noise and streaks alone. Raises ValueError when
    the acquisition has more dose than the slices own, or a number of views that does not divide the scanner's.
    """
    step = _step(projections.geometry.views, acquisition.views)
    few = replace(projections.geometry, views=projections.geometry.views // step)
    clean = projections.sinogram[:, ::step]
    dose = missing_dose(acquisition.dose, own_dose)
    error = torch.zeros_like(clean)
    if math.isfinite(dose):
        photons = projections.scanner.photons(dose * step, projections.geometry)
        share = share_of_views(clean, acquisition.angular_modulation)[..., None]
        share = share * share_of_slices(clean, acquisition.modulation_along_z)[:, None, None]
        error = count_error(clean, photons * share, projections.scanner.electronic_noise, generator)
    changed = projections.hu + _reconstruct(error, few, acquisition.kernel)
    kernel = own_kernel or acquisition.kernel
    if step > 1 or kernel != acquisition.kernel:
        changed += _reconstruct(clean, few, acquisition.kernel)
        changed -= _reconstruct(projections.sinogram, projections.geometry, kernel)
    return changed


def missing_dose(dose: float, own_dose: float | None) -> float:
    """The dose whose noise, added to that of `own_dose`, makes the noise of `dose`; infinite when nothing is missing.

    Variances go as 1/dose and add: 1/missing = 1/dose − 1/own. ValueError when `dose` is above `own_dose`.
    """
    if own_dose is None:
        return dose
    if dose > own_dose:
        raise ValueError(f"slices of dose {own_dose} cannot be given the noise of more dose, {dose}")
    return math.inf if dose == own_dose else 1.0 / (1.0 / dose - 1.0 / own_dose)


def thicken(hu: torch.Tensor, slices: int) -> torch.Tensor:
    """Means of each `slices` neighbours of a stack [z, y, x]: [z // slices, y, x], with 1/√slices of the noise.

    Slices that are left over at the end are dropped. ValueError when there are fewer than `slices`.
    """
    if not 1 <= slices <= hu.shape[0]:
        raise ValueError(f"{hu.shape[0]} slices cannot be averaged by {slices}")
    whole = hu[: hu.shape[0] // slices * slices]
    return whole.reshape(-1, slices, *hu.shape[1:]).mean(dim=1)


def _step(all_views: int, views: int | None) -> int:
    if views is None:
        return 1
    if all_views % views:
        raise ValueError(f"{views} views do not divide the {all_views} that were taken")
    return all_views // views


def _reconstruct(sinogram: torch.Tensor, geometry: ParallelGeometry, kernel: Kernel) -> torch.Tensor:
    return filtered_back_projection(sinogram.contiguous(), geometry, kernel) * _HU_PER_MU
