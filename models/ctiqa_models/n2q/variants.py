"""The rows of the poster's table: what N2Q is compared with, all trained by the same loop on the same pictures.

The poster names its rows and tells little of most. AE, U-Net, U-HPF (high-pass input), U-SSL (dose branch) and N2Q
(both) follow from its drawings; RED-CNN is published elsewhere; what its contrastive U-Con does is not told, here it
is the simplest: pictures of the same dose attract each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ctiqa_models.n2q.network import DOSE_CLASSES, Head, N2qNetwork, Norm

VariantName = Literal["ae", "red-cnn", "u-net", "u-hpf", "u-con", "u-ssl", "n2q"]

_RED_FILTERS, _RED_SIZE, _RED_LAYERS = 96, 5, 5
_TEMPERATURE = 0.1


@dataclass(frozen=True, slots=True)
class Variant:
    """A row: its name in the poster, its input channels, and which losses beside the map's train it."""

    title: str
    channels: int
    learns_dose: bool = False
    contrastive: bool = False


VARIANTS: dict[VariantName, Variant] = {
    "ae": Variant("AE", 1),
    "red-cnn": Variant("RED-CNN", 1),
    "u-net": Variant("U-Net", 1),
    "u-hpf": Variant("U-HPF", 2),
    "u-con": Variant("U-Con", 1, contrastive=True),
    "u-ssl": Variant("U-SSL", 1, learns_dose=True),
    "n2q": Variant("N2Q", 2, learns_dose=True),
}


def build(name: VariantName, norm: Norm, dropout: float, head: Head) -> MapNetwork:
    """The network of a row, untrained."""
    if name == "red-cnn":
        return RedCnn()
    return N2qNetwork(VARIANTS[name].channels, norm, dropout, head=head, skips=name != "ae")


class RedCnn(nn.Module):
    """RED-CNN (Chen et al. 2017, doi:10.1109/TMI.2017.2715284) painting a map: five convolutions of 96 filters 5×5,
    five transposed ones, and three shortcuts. Its last shortcut adds the picture, which here is no map: it is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *(_RED_FILTERS,) * _RED_LAYERS)
        self.encoder = nn.ModuleList(nn.Conv2d(before, after, _RED_SIZE) for before, after in pairwise(widths))
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(before, after, _RED_SIZE)
            for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )

    def look(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map [z, 1, y, x] in (−1, 1), dose logits that know nothing, and the mean of the deepest features."""
        features, shortcuts = image, []
        for layer in self.encoder:
            features = functional.relu(layer(features))
            shortcuts.append(features)
        described = features.mean(dim=(2, 3))
        for depth, layer in enumerate(self.decoder):
            features = layer(features)
            if depth in (0, 2):
                features = features + shortcuts[_RED_LAYERS - 2 - depth]
            if depth < _RED_LAYERS - 1:
                features = functional.relu(features)
        return torch.tanh(features), image.new_zeros(image.shape[0], len(DOSE_CLASSES)), described

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map and logits, as `N2qNetwork.forward` gives them."""
        painted, logits, _ = self.look(image)
        return painted, logits


def contrastive_loss(features: torch.Tensor, dose_class: torch.Tensor) -> torch.Tensor:
    """Pictures of one dose attract and others repel: Khosla et al. 2020 (arXiv:2004.11362), equation 2.

    `features` is [b, d], `dose_class` [b]; a class below 0 is none, and such a picture only repels. 0 without any pair.
    """
    unit = functional.normalize(features.float(), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    likeness = (unit @ unit.T / _TEMPERATURE).masked_fill(itself, float("-inf"))
    log_share = likeness - likeness.logsumexp(dim=1, keepdim=True)
    friends = (dose_class[:, None] == dose_class[None, :]) & (dose_class >= 0)[:, None] & ~itself
    counts = friends.sum(dim=1)
    if not bool(counts.any()):
        return features.sum() * 0.0
    mean = log_share.masked_fill(~friends, 0.0).sum(dim=1) / counts.clamp(min=1)
    return -mean[counts > 0].mean()


MapNetwork = N2qNetwork | RedCnn
"""Any row's network; `look` is what training, evaluation and use ask of it."""
