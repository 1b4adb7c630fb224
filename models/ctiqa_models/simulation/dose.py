"""Noise of a lower dose, on one virtual reference scanner, and the image-domain formula of N2Q.

"A quarter of the dose" means nothing between scanners, so dose is a fraction of what one described scanner would use
(`ReferenceScanner`). The noise is made in the sinogram and reconstructed by itself: added to the original slice it
leaves the slice's own texture and resolution alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ctiqa_models.simulation.projector import (
    MU_WATER_PER_MM,
    STANDARD,
    Kernel,
    ParallelGeometry,
    filtered_back_projection,
    forward,
    hu_to_mu,
)


@dataclass(frozen=True, slots=True)
class ReferenceScanner:
    """The virtual scanner that dose is relative to: parallel beam, 180°, no bow-tie filter, 3 mm slices.

    Full dose is `full_mas`, and each mAs brings `photons_per_mas` photons per view and millimetre of detector. The
    default puts 14 HU of noise in the centre of 32 cm of water at full dose (0.7 mm pixels, `STANDARD` kernel), about
    what a routine abdomen has. `electronic_noise` is the standard deviation of the read-out in photons.
    """

    full_mas: float = 200.0
    photons_per_mas: float = 12500.0
    electronic_noise: float = 8.0
    views: int = 384

    def photons(self, dose: float, geometry: ParallelGeometry) -> float:
        """Photons that leave the tube towards one detector element in one view, at a fraction `dose` of full dose."""
        return self.photons_per_mas * self.full_mas * dose * geometry.pixel_mm


REFERENCE_SCANNER = ReferenceScanner()


def project(
    hu: torch.Tensor, pixel_mm: float, scanner: ReferenceScanner = REFERENCE_SCANNER
) -> tuple[torch.Tensor, ParallelGeometry]:
    """Noiseless sinograms of square slices `hu` [z, n, n] and the geometry that they were taken with."""
    if hu.ndim != 3 or hu.shape[1] != hu.shape[2]:
        raise ValueError(f"dose simulation needs square slices [z, n, n], not {list(hu.shape)}")
    size = int(hu.shape[1])
    geometry = ParallelGeometry(views=scanner.views, detectors=size, pixel_mm=pixel_mm, size=size)
    return forward(hu_to_mu(hu), geometry), geometry


def noise_of_sinogram(
    sinogram: torch.Tensor,
    geometry: ParallelGeometry,
    dose: float,
    generator: torch.Generator,
    kernel: Kernel = STANDARD,
    scanner: ReferenceScanner = REFERENCE_SCANNER,
) -> torch.Tensor:
    """FBP(noisy) − FBP(clean) in HU, [z, size, size], at a fraction `dose` (> 0) of the scanner's full dose."""
    if not dose > 0:
        raise ValueError(f"dose must be a positive fraction of full dose: {dose}")
    error = count_error(sinogram, scanner.photons(dose, geometry), scanner.electronic_noise, generator)
    # FBP is linear, so the reconstruction of the error is the error of the reconstruction.
    return filtered_back_projection(error, geometry, kernel) * (1000.0 / MU_WATER_PER_MM)


def count_error(
    sinogram: torch.Tensor, photons: torch.Tensor | float, electronic_noise: float, generator: torch.Generator
) -> torch.Tensor:
    """Measured minus true line integrals when `photons` leave the tube towards each element of `sinogram`.

    Counts are Poisson around N·exp(−p), plus Gaussian read-out noise (Žabić et al. 2013, doi:10.1118/1.4771949, without
    the correlations that they add). A starved element counts as one photon. `photons` broadcasts over `sinogram`.
    """
    sent = torch.as_tensor(photons, dtype=sinogram.dtype, device=sinogram.device)
    counts = torch.poisson(sent * torch.exp(-sinogram), generator=generator)
    read_out = torch.randn(counts.shape, generator=generator, dtype=counts.dtype, device=counts.device)
    counts += electronic_noise * read_out
    return sent.log() - torch.log(counts.clamp(min=1.0)) - sinogram


def noise_image(
    hu: torch.Tensor,
    pixel_mm: float,
    dose: float,
    generator: torch.Generator,
    kernel: Kernel = STANDARD,
    scanner: ReferenceScanner = REFERENCE_SCANNER,
) -> torch.Tensor:
    """Noise in HU, [z, n, n], that a scan of the square slices `hu` has at a fraction `dose` of full dose.

    Raises ValueError for slices that are not square and for a dose that is not positive.
    """
    sinogram, geometry = project(hu, pixel_mm, scanner)
    return noise_of_sinogram(sinogram, geometry, dose, generator, kernel, scanner)


def added_noise_factor(dose: float) -> float:
    """By how much the difference quarter − full is scaled to give the difference between `dose` (0–1] and full dose.

    N2Q's formula: sqrt((1/D − 1)/3). Noise variance goes as 1/D, and from full to quarter dose it grows by 3 units.
    """
    if not 0 < dose <= 1:
        raise ValueError(f"dose must lie in (0, 1]: {dose}")
    return math.sqrt((1.0 / dose - 1.0) / 3.0)


def interpolate_dose(full: torch.Tensor, quarter: torch.Tensor, dose: float) -> torch.Tensor:
    """N2Q's image at `dose` from a full-dose and a quarter-dose image of any shape, HU in and out.

    I(D) = I_full + sqrt((1/D − 1)/3) · (I_quarter − I_full), the dose simulation of the N2Q poster.
    """
    return full + added_noise_factor(dose) * (quarter - full)
