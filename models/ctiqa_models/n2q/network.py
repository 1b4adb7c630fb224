"""The N2Q network: a U-Net that paints a quality map, with a branch that names the dose class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

DOSE_CLASSES: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50, 0.75)
"""Fractions of full dose that the dose branch tells apart, in the order of its outputs."""

Norm = Literal["batch", "instance"]
_LEVELS = (16, 32, 64, 128, 256)


class N2qNetwork(nn.Module):
    """U-Net of the N2Q poster, 16-32-64-128-256 channels, for inputs [z, channels, y, x] with y and x multiples of 16.

    `norm` "instance" is the published one, which rescales every feature of every image and so erases the amplitude of
    the noise; "batch" keeps it and is what ships. `channels` is 1 (the slice) or 2 (with its high-pass residue).
    `align_corners` is how the decoder enlarges: the public notebook aligns the corner pixels, what ships does not.
    """

    def __init__(
        self, channels: int = 2, norm: Norm = "batch", dropout: float = 0.25, *, align_corners: bool = False
    ) -> None:
        super().__init__()
        self._align_corners = align_corners
        widths = (channels, *_LEVELS)
        self.encoder = nn.ModuleList(
            _level(before, after, norm, dropout) for before, after in zip(widths, _LEVELS, strict=False)
        )
        self.decoder = nn.ModuleList(
            _level(deep + skip, skip, norm, dropout) for deep, skip in zip(_LEVELS[:0:-1], _LEVELS[-2::-1], strict=True)
        )
        self.paint = nn.Conv2d(_LEVELS[0], 1, kernel_size=1)
        self.dose = nn.Linear(_LEVELS[-1], len(DOSE_CLASSES))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The map [z, 1, y, x] in (−1, 1), 1 the best, and the logits of the dose classes [z, 5]."""
        skips: list[torch.Tensor] = []
        features = image
        for depth, level in enumerate(self.encoder):
            features = level(functional.max_pool2d(features, 2) if depth else features)
            skips.append(features)
        pooled = functional.max_pool2d(features, 2)
        logits: torch.Tensor = self.dose(pooled.mean(dim=(2, 3)))
        for level, skip in zip(self.decoder, skips[-2::-1], strict=True):
            grown = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=self._align_corners)
            features = level(torch.cat((grown, skip), dim=1))
        return torch.tanh(self.paint(features)), logits


def quality_from_map(painted: torch.Tensor) -> torch.Tensor:
    """The network's map from (−1, 1) to quality 0–1, which is the predicted SSIM."""
    return (painted + 1) / 2


def _level(before: int, after: int, norm: Norm, dropout: float) -> nn.Sequential:
    """Two convolutions, each normalised and rectified, and dropout."""
    return nn.Sequential(*_convolution(before, after, norm), *_convolution(after, after, norm), nn.Dropout(dropout))


def _convolution(before: int, after: int, norm: Norm) -> tuple[nn.Module, ...]:
    normalise = nn.BatchNorm2d(after) if norm == "batch" else nn.InstanceNorm2d(after)
    return nn.Conv2d(before, after, kernel_size=3, padding=1), normalise, nn.LeakyReLU(0.2)
