"""The TFKT network, image → F (CNN) → C (connector) → S (transformer) → score, and F alone, as phase 1 trains it.

After Rifa et al., "Task-Focused Knowledge Transfer from Natural Images for CT Image Quality Assessment", SPIE Medical
Imaging 2025, and TFKT V2, Journal of Medical Imaging 2025.
"""

from __future__ import annotations

from typing import Self

import timm
import torch
from timm.models.efficientnet import EfficientNet
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

from ctiqa_models.tfkt.config import MAP_SIDE, TfktConfig
from ctiqa_models.tfkt.kat import add_kan

MIDDLE_OF_MOS = 3.0
"""Where phase 1 begins: the middle of the mean opinion scores 1–5."""
MIDDLE_OF_SCORES = 2.0
"""Where phase 2 begins: the middle of the radiologists' scores 0–4."""


class Phase1Network(nn.Module):
    """F with one output: the mean opinion score (1–5) of photographs [z, 1, y, x], grey, 0–1. Answers with [z]."""

    def __init__(self, config: TfktConfig) -> None:
        super().__init__()
        self.cnn = make_cnn(config)
        self.head = nn.Linear(self.cnn.num_features, 1)
        nn.init.constant_(self.head.bias, MIDDLE_OF_MOS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores [z], not clipped."""
        scores: torch.Tensor = self.head(self.cnn(image))
        return scores[:, 0]


class TfktNetwork(nn.Module):
    """The quality score (0 bad to 4 excellent) of slices [z, 1, 512, 512] in 0–1 (`preprocess`). Answers with [z]."""

    def __init__(self, config: TfktConfig) -> None:
        super().__init__()
        self.config = config
        self.cnn = make_cnn(config)
        self.connector = Connector(self.cnn.num_features, config.connector_rank)
        self.swin = make_swin(config)
        if config.freeze_cnn:
            self.cnn.requires_grad_(False)
            self.cnn.eval()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores [z], not clipped."""
        return self.judge(self.features(image))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """F's pooled features of slices: [z, 1280]."""
        features: torch.Tensor = self.cnn(image)
        return features

    def judge(self, features: torch.Tensor) -> torch.Tensor:
        """Scores [z] from F's features, not clipped."""
        scores: torch.Tensor = self.swin(self.connector(features))
        return scores[:, 0]

    def take_cnn(self, phase1: Phase1Network) -> None:
        """Start phase 2 with the CNN that phase 1 trained."""
        self.cnn.load_state_dict(phase1.cnn.state_dict())

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but for a frozen CNN, whose batch statistics must stay what phase 1 made them."""
        super().train(mode)
        if self.config.freeze_cnn:
            self.cnn.eval()
        return self


class Connector(nn.Module):
    """C: features [z, n] to one map [z, 1, 64, 64].

    Without a rank this is the papers' one matrix. With one it is two matrices with a bottleneck between them, and a
    layer norm over the map: an eighth of the weights, and the transformer gets a map of known contrast from the start.
    """

    def __init__(self, features: int, rank: int | None) -> None:
        super().__init__()
        pixels = MAP_SIDE * MAP_SIDE
        self.project: nn.Module = nn.Linear(features, pixels)
        if rank is not None:
            self.project = nn.Sequential(
                nn.Linear(features, rank, bias=False), nn.Linear(rank, pixels), nn.LayerNorm(pixels)
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The map."""
        flat: torch.Tensor = self.project(features)
        return flat.reshape(-1, 1, MAP_SIDE, MAP_SIDE)


def make_cnn(config: TfktConfig) -> EfficientNet:
    """F without a head: images [z, 1, y, x] to pooled features [z, num_features]; random weights."""
    cnn = timm.create_model(config.cnn, in_chans=1, num_classes=0)
    assert isinstance(cnn, EfficientNet)
    return cnn


def make_swin(config: TfktConfig) -> SwinTransformerV2:
    """S: the map [z, 1, 64, 64] to one number, in patches of 4×4, windows of 8 (4 and 2 where the map is so small)."""
    shape = config.swin
    swin = SwinTransformerV2(
        img_size=MAP_SIDE,
        patch_size=4,
        in_chans=1,
        num_classes=1,
        embed_dim=shape.embed,
        depths=shape.depths,
        num_heads=shape.heads,
        window_size=8,
        drop_path_rate=config.drop_path,
    )
    if config.variant == "v2":
        add_kan(swin)
    nn.init.constant_(swin.head.fc.bias, MIDDLE_OF_SCORES)
    return swin
