"""Parallel-beam CT in torch: line integrals of a stack of slices, and filtered back-projection of their sinograms.

Enough physics to make quantum noise with the right texture, streaks and phantoms; no scatter, no beam hardening.
Everything is in millimetres and works on whole stacks of slices at once, on the CPU or a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

MU_WATER_PER_MM = 0.0193
"""Linear attenuation of water at about 70 keV, the mean energy of a 120 kV beam (NIST XCOM), in 1/mm."""


@dataclass(frozen=True, slots=True)
class ParallelGeometry:
    """One rotation of 180° over a square slice, centred on it.

    `views` angles are spread evenly over 180°. The detector has `detectors` elements of the pitch `pixel_mm`, which is
    also the side of a pixel of the `size` × `size` slice. `detectors` = `size` sees the inscribed circle, which holds
    all that a scanner reconstructs; `size`·√2 sees the corners too.
    """

    views: int
    detectors: int
    pixel_mm: float
    size: int

    def __post_init__(self) -> None:
        """Refuse numbers that describe no scanner."""
        if min(self.views, self.detectors, self.size) < 1 or not self.pixel_mm > 0:
            raise ValueError(f"views, detectors, size and pixel_mm must be positive: {self}")

    def directions(self) -> Iterator[tuple[float, float]]:
        """(cos θ, sin θ) of each view; a ray at detector coordinate t is the line x·cos θ + y·sin θ = t."""
        for view in range(self.views):
            angle = math.pi * view / self.views
            yield math.cos(angle), math.sin(angle)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A convolution kernel: the Ram-Lak ramp under a Hann window that reaches 0 at `cutoff` × Nyquist.

    A low cutoff is a smooth (soft-tissue) kernel, a high one a sharp kernel; None is the bare ramp. Sharp kernels of
    scanners enhance edges as well: `boost` multiplies the window by 1 + boost · (f / Nyquist)².
    """

    cutoff: float | None
    boost: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a window of no width, and a boost that is none."""
        if self.cutoff is not None and not self.cutoff > 0:
            raise ValueError(f"cutoff must be positive or None: {self.cutoff}")
        if self.boost < 0:
            raise ValueError(f"boost must not be negative: {self.boost}")

    def window(self, frequency: torch.Tensor) -> torch.Tensor:
        """The factor on the ramp at each `frequency`, given as a share of Nyquist (0–1)."""
        boosted = 1 + self.boost * frequency**2
        if self.cutoff is None:
            return boosted
        hann = 0.5 + 0.5 * torch.cos(math.pi * frequency / self.cutoff)
        return torch.where(frequency < self.cutoff, hann * boosted, torch.zeros_like(hann))


SMOOTH = Kernel(0.6)
STANDARD = Kernel(1.0)
SHARP = Kernel(1.6)


def hu_to_mu(hu: torch.Tensor) -> torch.Tensor:
    """Hounsfield units to linear attenuation in 1/mm; what is below −1000 HU counts as nothing."""
    return (hu.clamp(min=-1000.0) / 1000.0 + 1.0) * MU_WATER_PER_MM


def mu_to_hu(mu: torch.Tensor) -> torch.Tensor:
    """Linear attenuation in 1/mm to Hounsfield units."""
    return (mu / MU_WATER_PER_MM - 1.0) * 1000.0


def forward(mu: torch.Tensor, geometry: ParallelGeometry) -> torch.Tensor:
    """Line integrals of `mu` [z, size, size] in 1/mm: sinograms [z, views, detectors], without unit.

    Each ray is sampled every `pixel_mm` with bilinear interpolation; outside the slice there is nothing.
    """
    _expect(mu, (geometry.size, geometry.size), "mu")
    along, across = _detector_grid(geometry, mu)
    sinogram = mu.new_empty(mu.shape[0], geometry.views, geometry.detectors)
    for view, (cos, sin) in enumerate(geometry.directions()):
        grid = torch.stack((across * cos - along * sin, across * sin + along * cos), dim=-1)
        sampled = _sample(mu[:, None], grid)
        sinogram[:, view] = sampled[:, 0].sum(dim=1) * geometry.pixel_mm
    return sinogram


def back_project(sinogram: torch.Tensor, geometry: ParallelGeometry) -> torch.Tensor:
    """Smear `sinogram` [z, views, detectors] back over the slices: [z, size, size].

    Each pixel sums, over the views, the detector's value where its ray ends, interpolated linearly. That is the adjoint
    of `forward` up to interpolation, and the sum over angles of Kak & Slaney (1988), section 3.3.
    """
    _expect(sinogram, (geometry.views, geometry.detectors), "sinogram")
    centre = (geometry.size - 1) / 2
    axis = torch.arange(geometry.size, dtype=sinogram.dtype, device=sinogram.device) - centre
    image = sinogram.new_zeros(sinogram.shape[0], geometry.size * geometry.size)
    padded = functional.pad(sinogram, (1, 2))
    for view, (cos, sin) in enumerate(geometry.directions()):
        position = (axis[None, :] * cos + axis[:, None] * sin).flatten() + (geometry.detectors - 1) / 2 + 1
        position.clamp_(0, geometry.detectors + 1)
        left = position.long()
        weight = position - left
        profile = padded[:, view]
        step = profile[:, 1:] - profile[:, :-1]
        image += profile.index_select(1, left).addcmul_(step.index_select(1, left), weight)
    return image.view(-1, geometry.size, geometry.size)


def filtered_back_projection(sinogram: torch.Tensor, geometry: ParallelGeometry, kernel: Kernel) -> torch.Tensor:
    """Reconstruct linear attenuation in 1/mm, [z, size, size], from `sinogram` [z, views, detectors].

    The band-limited ramp is Kak & Slaney (1988), eq. 61 of chapter 3: unlike a sampled |f| it keeps the mean right.
    """
    _expect(sinogram, (geometry.views, geometry.detectors), "sinogram")
    length = 2 ** math.ceil(math.log2(2 * geometry.detectors))
    response = _ramp(length, geometry.pixel_mm, sinogram) * _window(length, kernel, sinogram)
    spectrum = torch.fft.rfft(sinogram, n=length, dim=-1) * response
    filtered = torch.fft.irfft(spectrum, n=length, dim=-1)[..., : geometry.detectors]
    return back_project(filtered.contiguous(), geometry) * (math.pi / geometry.views)


def _detector_grid(geometry: ParallelGeometry, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Place along each ray (rows) and across the rays (columns), in halves of the slice's side, for `grid_sample`."""
    steps = torch.arange(geometry.detectors, dtype=like.dtype, device=like.device) - (geometry.detectors - 1) / 2
    steps *= 2 / geometry.size
    along, across = torch.meshgrid(steps, steps, indexing="ij")
    return along, across


def _sample(stack: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Bilinear samples of every slice of `stack` [z, 1, y, x] on one grid [h, w, 2]."""
    # Slices go into the batch dimension, because that is the one that torch spreads over CPU threads.
    grids = grid.expand(stack.shape[0], *grid.shape)
    return functional.grid_sample(stack, grids, mode="bilinear", padding_mode="zeros", align_corners=False)


def _ramp(length: int, pixel_mm: float, like: torch.Tensor) -> torch.Tensor:
    """Frequency response of the band-limited ramp for a circular convolution of `length`, in 1/mm."""
    index = torch.fft.fftfreq(length, d=1 / length, dtype=torch.float64)
    odd = index.long() % 2 != 0
    impulse = torch.zeros(length, dtype=torch.float64)
    impulse[0] = 0.25
    impulse[odd] = -1 / (math.pi * index[odd]) ** 2
    response: torch.Tensor = torch.fft.rfft(impulse).real
    return (response / pixel_mm).to(like)


def _window(length: int, kernel: Kernel, like: torch.Tensor) -> torch.Tensor:
    """The kernel's window over the frequencies 0 … Nyquist."""
    return kernel.window(torch.linspace(0, 1, length // 2 + 1, dtype=like.dtype, device=like.device))


def _expect(tensor: torch.Tensor, shape: tuple[int, int], name: str) -> None:
    """Raise ValueError when a stack does not fit the geometry."""
    if tensor.ndim != 3 or tuple(tensor.shape[1:]) != shape:
        raise ValueError(f"{name} must be [z, {shape[0]}, {shape[1]}], not {list(tensor.shape)}")
