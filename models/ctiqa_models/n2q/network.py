"""The N2Q network: a U-Net that paints a quality map, with a branch that names the dose class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

DOSE_CLASSES: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50, 0.75)
"""Fractions of full dose that the dose branch tells apart, in the order of its outputs."""

Norm = Literal["batch", "instance"]
Head = Literal["bottleneck", "multiscale"]
LEVELS = (16, 32, 64, 128, 256)
"""Channels of the encoder, from the finest level to the bottleneck."""

_HIDDEN = 64


class N2qNetwork(nn.Module):
    """U-Net of the N2Q poster, 16-32-64-128-256 channels, for inputs [z, channels, y, x] with y and x multiples of 16.

    `norm` "instance" is the published one, which rescales every feature of every image and so erases the amplitude of
    the noise; "batch" keeps it and is what ships. `channels` is 1 (the slice) or 2 (with its high-pass residue).
    `head` "bottleneck" is the published dose branch; see `MultiscaleHead` for the other. Without `skips` it is a plain
    autoencoder. `align_corners` is how the decoder enlarges: the public notebook aligns the corner pixels, what ships
    does not.
    """

    def __init__(
        self,
        channels: int = 2,
        norm: Norm = "batch",
        dropout: float = 0.25,
        *,
        head: Head = "bottleneck",
        skips: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self._align_corners = align_corners
        self._skips = skips
        widths = (channels, *LEVELS)
        self.encoder = nn.ModuleList(
            _level(before, after, norm, dropout) for before, after in zip(widths, LEVELS, strict=False)
        )
        self.decoder = nn.ModuleList(
            _level(deep + (skip if skips else 0), skip, norm, dropout)
            for deep, skip in zip(LEVELS[:0:-1], LEVELS[-2::-1], strict=True)
        )
        self.paint = nn.Conv2d(LEVELS[0], 1, kernel_size=1)
        self.dose = nn.Linear(LEVELS[-1], len(DOSE_CLASSES)) if head == "bottleneck" else MultiscaleHead()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The map [z, 1, y, x] in (−1, 1), 1 the best, and the logits of the dose classes [z, 5]."""
        painted, logits, _ = self.look(image)
        return painted, logits

    def look(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map and logits as `forward` gives them, and the features [z, 256] of the pooled bottleneck."""
        levels: list[torch.Tensor] = []
        features = image
        for depth, level in enumerate(self.encoder):
            features = level(functional.max_pool2d(features, 2) if depth else features)
            levels.append(features)
        described = functional.max_pool2d(features, 2).mean(dim=(2, 3))
        logits = self.dose(image, levels) if isinstance(self.dose, MultiscaleHead) else self.dose(described)
        for level, skip in zip(self.decoder, levels[-2::-1], strict=True):
            grown = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=self._align_corners)
            features = level(torch.cat((grown, skip), dim=1) if self._skips else grown)
        return torch.tanh(self.paint(features)), logits, described


class MultiscaleHead(nn.Module):
    """A dose branch that sees every level of the encoder, and only where noise shows.

    The published branch averages the bottleneck over the whole picture: after five poolings little is left of single
    pixels' noise, and the air around a small patient dilutes it. This one averages each level over the pixels that lie
    within the window, where nothing saturates, and puts one hidden layer between these averages and the classes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(sum(LEVELS), _HIDDEN), nn.LeakyReLU(0.2), nn.Linear(_HIDDEN, len(DOSE_CLASSES))
        )

    def forward(self, image: torch.Tensor, levels: list[torch.Tensor]) -> torch.Tensor:
        """Logits [z, 5] from the input [z, channels, y, x] and the levels [z, c, y / 2^i, x / 2^i]."""
        visible = (image[:, :1].abs() < 1).to(image.dtype)
        averages = []
        for depth, level in enumerate(levels):
            share = functional.avg_pool2d(visible, 2**depth) if depth else visible
            total = (level.float() * share).sum(dim=(2, 3))
            averages.append(total / share.sum(dim=(2, 3)).clamp(min=1e-3))
        logits: torch.Tensor = self.layers(torch.cat(averages, dim=1))
        return logits


def quality_from_map(painted: torch.Tensor) -> torch.Tensor:
    """The network's map from (−1, 1) to quality 0–1, which is the predicted SSIM."""
    return (painted + 1) / 2


def _level(before: int, after: int, norm: Norm, dropout: float) -> nn.Sequential:
    """Two convolutions, each normalised and rectified, and dropout."""
    return nn.Sequential(*_convolution(before, after, norm), *_convolution(after, after, norm), nn.Dropout(dropout))


def _convolution(before: int, after: int, norm: Norm) -> tuple[nn.Module, ...]:
    normalise = nn.BatchNorm2d(after) if norm == "batch" else nn.InstanceNorm2d(after)
    return nn.Conv2d(before, after, kernel_size=3, padding=1), normalise, nn.LeakyReLU(0.2)
