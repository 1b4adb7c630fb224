"""Tube-current modulation: how a scan's dose is shared out between slices and between views.

The share follows the attenuation A = exp(p) of the central ray as A^strength. Noise in the centre is least, at the same
dose in all, for a strength of one half (Gies et al. 1999, doi:10.1118/1.598779).
"""

from __future__ import annotations

import torch


def share_of_slices(sinograms: torch.Tensor, strength: float) -> torch.Tensor:
    """The dose of each slice of `sinograms` [z, views, detectors] over their mean dose: [z], mean 1.

    `strength` 0 is one current for all slices, so that shoulders and hips are noisiest; 1 evens the noise out.
    """
    # The variance of noise in the centre goes with the mean of 1/counts over the rays through it.
    return _share(_central(sinograms).exp().mean(dim=(1, 2)), strength, dim=0)


def share_of_views(sinograms: torch.Tensor, strength: float) -> torch.Tensor:
    """The dose of each view of `sinograms` [z, views, detectors] over the slice's mean: [z, views], mean 1."""
    return _share(_central(sinograms).exp().mean(dim=2), strength, dim=1)


def _central(sinograms: torch.Tensor) -> torch.Tensor:
    middle = sinograms.shape[2] // 2
    width = max(1, sinograms.shape[2] // 20)
    return sinograms[:, :, middle - width : middle + width]


def _share(needed: torch.Tensor, strength: float, dim: int) -> torch.Tensor:
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength of tube-current modulation must lie in 0–1: {strength}")
    share = needed**strength
    return share / share.mean(dim=dim, keepdim=True)
