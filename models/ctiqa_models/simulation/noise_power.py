"""Noise power spectra of CT noise: how much, how fine, and which way the grain runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class RadialSpectrum:
    """A noise power spectrum averaged over rings: `frequency` in cycles/mm, `power` in HU²·mm², both [rings]."""

    frequency: torch.Tensor
    power: torch.Tensor

    @property
    def peak(self) -> float:
        """The frequency of the highest ring, in cycles/mm."""
        return float(self.frequency[self.power.argmax()])

    @property
    def mean(self) -> float:
        """The power-weighted mean frequency over the plane, in cycles/mm: a steadier figure than the peak."""
        weight = self.power * self.frequency
        return float((weight * self.frequency).sum() / weight.sum())


def noise_power_spectrum(noise: torch.Tensor, pixel_mm: float) -> torch.Tensor:
    """The spectrum of square patches of `noise` [k, n, n] in HU: [n, n] in HU²·mm², zero frequency at [0, 0].

    Δx·Δy/(Nx·Ny) · mean |DFT|², with each patch's mean taken off (ICRU Report 87, eq. 4.9); its integral over the
    frequency plane is the variance. Raises ValueError for another shape.
    """
    if noise.ndim != 3 or noise.shape[1] != noise.shape[2]:
        raise ValueError(f"noise must be square patches [k, n, n], not {list(noise.shape)}")
    flat = noise - noise.mean(dim=(1, 2), keepdim=True)
    power: torch.Tensor = torch.fft.fft2(flat).abs().square().mean(dim=0)
    return power * (pixel_mm**2 / noise.shape[1] ** 2)


def radial(spectrum: torch.Tensor, pixel_mm: float) -> RadialSpectrum:
    """Average a spectrum [n, n] over rings of one frequency step, from the first step up to Nyquist."""
    size = spectrum.shape[0]
    fy, fx = _frequencies(size, spectrum)
    ring = torch.sqrt(fx**2 + fy**2).mul(size).round().long().flatten()
    total = torch.bincount(ring, weights=spectrum.flatten())
    number = torch.bincount(ring)
    rings = torch.arange(1, size // 2 + 1, device=spectrum.device)
    return RadialSpectrum(rings / (size * pixel_mm), total[rings] / number[rings])


def towards(spectrum: torch.Tensor, angle: float, width: float = 0.35) -> float:
    """The mean power of a spectrum [n, n] in the double wedge of `width` rad each side of `angle` from the x axis.

    Streaks along x vary along y: their power lies around an angle of π/2.
    """
    fy, fx = _frequencies(spectrum.shape[0], spectrum)
    turned = torch.remainder(torch.atan2(fy, fx) - angle + torch.pi / 2, torch.pi) - torch.pi / 2
    radius = torch.sqrt(fx**2 + fy**2)
    inside = (turned.abs() < width) & (radius > 0) & (radius < 0.5)
    return float(spectrum[inside].mean())


def _frequencies(size: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.fft.fftfreq(size, device=like.device, dtype=like.dtype)
    return axis[:, None], axis[None, :]
