"""What the virtual reference scanner makes of a body at 30 and at 50 mAs, with its kernels for lung and soft tissue.

The exposure class is defined here and nowhere else: mAs mean nothing between scanners. Projections are taken and noise
is drawn as `simulation.dose` does it. Two short cuts make hundreds of series affordable, and both were measured: the
line integrals, which are smooth, are sampled at half the resolution, and a kernel is applied to the reconstructed noise
as a round filter instead of to the projections (standard deviations agree within 2 %).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch.nn import functional

from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.resample import resize
from ctiqa_models.simulation.dose import REFERENCE_SCANNER, noise_of_sinogram, project
from ctiqa_models.simulation.projector import SMOOTH, STANDARD, Kernel, ParallelGeometry

KERNELS: dict[Window, tuple[Kernel, ...]] = {
    Window.SOFT_TISSUE: (SMOOTH, Kernel(0.8), STANDARD, Kernel(1.3)),
    Window.LUNG: (Kernel(1.6, boost=1.0), Kernel(1.6, boost=2.0), Kernel(1.6, boost=4.0), Kernel(None, boost=1.0)),
}
"""The scanner's kernels. Those for lung enhance edges, as LUNG, BONE and B60f do: the noise of real slices with such
kernels is as rich in fine detail as theirs, and that of STANDARD at large pixels is as rich as SHARP's, which has no
boost and therefore belongs to neither class."""

_RAMP = Kernel(None)
_LOWEST_HU, _HIGHEST_HU = -1024.0, 3071.0


class Exposure(IntEnum):
    """The tube current-time products of the paper; the number is the network's class and X of the fit."""

    MAS_30 = 0
    MAS_50 = 1

    @property
    def mas(self) -> float:
        """Milliampere-seconds on the virtual reference scanner."""
        return 30.0 if self is Exposure.MAS_30 else 50.0

    @property
    def words(self) -> str:
        """As results name it."""
        return f"{self.mas:.0f} mAs"


@dataclass(frozen=True, slots=True)
class Projected:
    """Clean slices [z, n, n] in HU and their noiseless sinogram [z, views, n]."""

    hu: torch.Tensor
    sinogram: torch.Tensor
    geometry: ParallelGeometry


def take(hu: torch.Tensor, pixel_mm: float) -> Projected:
    """Project clean, square slices [z, n, n] with n even; ValueError for others."""
    size = int(hu.shape[-1])
    if size % 2:
        raise ValueError(f"the slices' side must be even, not {size}")
    coarse, geometry = project(resize(hu, (size // 2, size // 2)), 2 * pixel_mm)
    sinogram = functional.interpolate(coarse, scale_factor=2, mode="linear", align_corners=False)
    return Projected(hu, sinogram, replace(geometry, detectors=size, pixel_mm=pixel_mm, size=size))


def noise_of(projected: Projected, exposure: Exposure, generator: torch.Generator) -> torch.Tensor:
    """Noise of one scan in HU under the bare ramp, [z, n, n]: what every kernel is then applied to."""
    dose = exposure.mas / REFERENCE_SCANNER.full_mas
    return noise_of_sinogram(projected.sinogram, projected.geometry, dose, generator, _RAMP)


def reconstruct(projected: Projected, noise: torch.Tensor, kernel: Kernel, drawn: bool) -> torch.Tensor:
    """The series in whole HU, [z, n, n], from one scan's `noise` under a kernel.

    Bodies that were `drawn` have no blur of their own and get that of projecting and back-projecting; scanned ones have
    had a scanner's already.
    """
    radius = _radius(noise.shape[-1])
    response = kernel.window(radius.clamp(max=1.0))
    # Bilinear sampling going forth, linear interpolation coming back: sinc² each.
    signal = torch.special.sinc(radius / 2) ** 4 * response if drawn else response
    spectrum = torch.fft.rfft2(projected.hu) * signal + torch.fft.rfft2(noise) * response
    series: torch.Tensor = torch.fft.irfft2(spectrum, s=noise.shape[-2:])
    return series.round().clamp(_LOWEST_HU, _HIGHEST_HU)


def sharpen(hu: torch.Tensor, boost: float) -> torch.Tensor:
    """A series as it came, with what a lung kernel does to a smooth one: frequencies times 1 + boost · (f/Nyquist)²."""
    radius = _radius(hu.shape[-1]).clamp(max=1.0)
    sharp: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(hu) * (1 + boost * radius**2), s=hu.shape[-2:])
    return sharp.round().clamp(_LOWEST_HU, _HIGHEST_HU)


def _radius(size: int) -> torch.Tensor:
    """Spatial frequency as a share of Nyquist, for `rfft2` of a square slice."""
    return 2 * torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])
