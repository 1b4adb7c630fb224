"""The network of the public TFKT V2 code, for checkpoints that were written with it.

It is built of torchvision's modules, as the public code builds it: torchvision's SwinV2 pads a map that is smaller than
its window and attends to the padding, timm's shrinks the window, and so gives other scores for the same weights.
The public code means to put a KAN beside each MLP, but looks for an attribute that torchvision's MLP does not have, so
what it trains and saves is a plain SwinV2-B.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torchvision.models import efficientnet_v2_l, swin_v2_b

from ctiqa_models.checkpoints import build_with
from ctiqa_models.tfkt.config import MAP_SIDE

ARCHITECTURE = "tfkt-v2-public"


class PublicTfkt(nn.Module):
    """The score of slices [z, 1, 512, 512] in 0–1 by the released forward path; answers with [z], not clipped.

    Image → EfficientNetV2-L with one input channel and 4096 outputs → 1×64×64 → SwinV2-B with one channel → score.
    The parameters have the public names, `effnetv2l.…` and `swinv2b.…`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.effnetv2l = efficientnet_v2_l(num_classes=MAP_SIDE * MAP_SIDE)
        self.effnetv2l.features[0][0] = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
        self.swinv2b = swin_v2_b(num_classes=1)
        self.swinv2b.features[0][0] = nn.Conv2d(1, 128, kernel_size=4, stride=4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores [z]."""
        grid = self.effnetv2l(image).reshape(-1, 1, MAP_SIDE, MAP_SIDE)
        scores: torch.Tensor = self.swinv2b(grid)
        return scores[:, 0]


def build(tensors: Mapping[str, torch.Tensor]) -> PublicTfkt:
    """The network with these weights, in evaluation mode; WeightsError when they are not those of this architecture."""
    return build_with(PublicTfkt, tensors, "the public TFKT V2 code")
