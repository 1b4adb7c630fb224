"""What "full dose" means for a slice: the reference scanner under automatic exposure control.

With one tube current for everybody, a fraction of full dose could not be seen in a picture: noise grows with e to the
patient's thickness in millimetres, and millimetres are not in the picture. Real scanners hold the noise instead (GE's
noise index, for one), and so does this one: full dose is the tube current–time product that gives a slice the noise
that `ReferenceScanner` has at its 200 mAs in the centre of 32 cm of water, 14 HU with the standard kernel.
"""

from __future__ import annotations

import math

import torch

from ctiqa_models.simulation.dose import REFERENCE_SCANNER, ReferenceScanner
from ctiqa_models.simulation.projector import MU_WATER_PER_MM, ParallelGeometry

_WATER_MM = 320.0
_PIXEL_MM = 0.7


def full_dose_mas(
    sinogram: torch.Tensor, geometry: ParallelGeometry, scanner: ReferenceScanner = REFERENCE_SCANNER
) -> float:
    """The mAs of full dose for the slice whose line integrals are `sinogram` [views, detectors].

    The variance of FBP noise at a point is a mean of exp(p) over the rays p through it, divided by the photons and by
    the pixel's size squared (Kak & Slaney 1988, section 5.2). Each ray passes through as much of the patient as it is
    attenuated, so that the mean over the patient's mass is Σ p·exp(p) / Σ p. Raises ValueError for nothing but air.
    """
    mass = float(sinogram.clamp(min=0).sum())
    if not mass > 0:
        raise ValueError("a slice of nothing but air needs no dose")
    needed = float((sinogram.clamp(min=0) * sinogram.exp()).sum()) / mass
    return scanner.full_mas * needed / math.exp(_WATER_MM * MU_WATER_PER_MM) * (_PIXEL_MM / geometry.pixel_mm) ** 3
