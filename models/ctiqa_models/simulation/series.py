"""A whole scan of a made-up patient: phantom, projections, quantum noise, reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.api import HuVolume
from ctiqa_models.simulation.dose import REFERENCE_SCANNER, ReferenceScanner, noise_of_sinogram, project
from ctiqa_models.simulation.exposure import share_of_slices
from ctiqa_models.simulation.phantom import anatomy, slice_spacing_mm
from ctiqa_models.simulation.projector import STANDARD, Kernel, filtered_back_projection, mu_to_hu

PADDING_HU = -1024.0
_HIGHEST_HU = 3071.0
_CHUNK_SLICES = 8


@dataclass(frozen=True, slots=True)
class Scan:
    """How a phantom is scanned.

    `dose_fraction` is of the reference scanner's full dose. With `tube_current_modulation` (0–1) each slice gets its
    share of the dose by its attenuation, as scanners do: 0 is one current for all, so that shoulders are noisiest; 1
    evens the noise out. `dose_factors`, one per slice, multiply that: a low one makes a spoilt slice.
    """

    dose_fraction: float = 1.0
    field_of_view_mm: float = 400.0
    slice_mm: float | None = None
    kernel: Kernel = STANDARD
    tube_current_modulation: float = 0.0
    dose_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a scan without X-rays."""
        if not self.dose_fraction > 0 or any(not factor > 0 for factor in self.dose_factors):
            raise ValueError(f"doses must be positive: {self.dose_fraction}, {self.dose_factors}")
        if not 0 <= self.tube_current_modulation <= 1:
            raise ValueError(f"tube_current_modulation must lie in 0–1: {self.tube_current_modulation}")


def simulate_series(
    seed: int, slices: int, size: int, scan: Scan | None = None, scanner: ReferenceScanner = REFERENCE_SCANNER
) -> HuVolume:
    """Scan the patient that `seed` stands for: HU of `slices` slices of `size` × `size`, lowest slice first.

    Padding outside the reconstruction circle is −1024 HU; values are whole numbers from −1024 to 3071, as scanners
    store them. The same arguments give the same volume. Raises ValueError as `anatomy` and `Scan` do, and when
    `dose_factors` does not count one per slice.
    """
    scan = scan or Scan()
    if scan.dose_factors and len(scan.dose_factors) != slices:
        raise ValueError(f"dose_factors must count {slices}, not {len(scan.dose_factors)}")
    pixel_mm = scan.field_of_view_mm / size
    hu = anatomy(seed, slices, size, scan.field_of_view_mm, scan.slice_mm)
    outside = _outside_circle(size)
    hu[:, outside] = -1000.0
    chunks = [slice(first, first + _CHUNK_SLICES) for first in range(0, slices, _CHUNK_SLICES)]
    parts = [project(torch.from_numpy(hu[chunk]), pixel_mm, scanner) for chunk in chunks]
    geometry = parts[0][1]
    doses = _doses(torch.cat([sinogram for sinogram, _ in parts]), scan)
    generator = torch.Generator().manual_seed(seed)
    for chunk, (sinogram, _) in zip(chunks, parts, strict=True):
        clean = mu_to_hu(filtered_back_projection(sinogram, geometry, scan.kernel))
        # A dose d brings d·N·exp(−p) photons: as many as full dose through p − ln d. So one call serves many doses.
        thinned = sinogram - doses[chunk].log()[:, None, None]
        noise = noise_of_sinogram(thinned, geometry, 1.0, generator, scan.kernel, scanner)
        hu[chunk] = np.clip(np.rint((clean + noise).numpy()), PADDING_HU, _HIGHEST_HU)
    hu[:, outside] = PADDING_HU
    return HuVolume(hu, (slice_spacing_mm(slices, scan.slice_mm), pixel_mm, pixel_mm))


def _doses(sinograms: torch.Tensor, scan: Scan) -> torch.Tensor:
    """The dose of each slice, [z]: their mean is the scan's dose before `dose_factors`."""
    share = share_of_slices(sinograms, scan.tube_current_modulation)
    factors = torch.tensor(scan.dose_factors or (1.0,), dtype=share.dtype)
    return scan.dose_fraction * share * factors


def _outside_circle(size: int) -> npt.NDArray[np.bool_]:
    axis = np.arange(size) - (size - 1) / 2
    outside: npt.NDArray[np.bool_] = np.hypot(axis[:, None], axis[None, :]) > size / 2
    return outside
