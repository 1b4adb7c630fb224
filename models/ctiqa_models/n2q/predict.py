"""A network's answer to slices in Hounsfield units, the same for training, evaluation and use."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ctiqa_models.compiled import Network
from ctiqa_models.n2q.network import quality_from_map
from ctiqa_models.n2q.preprocess import network_input


@dataclass(frozen=True, slots=True)
class Seen:
    """Of slices [z]: quality 0–1 [z, 256, 256], dose probabilities [z, 5] and features [z, d]; on one device."""

    quality: torch.Tensor
    doses: torch.Tensor
    features: torch.Tensor


@torch.inference_mode()
def predict(look: Network, hu: torch.Tensor, channels: int) -> Seen:
    """What a network in evaluation mode, by its `look`, sees in slices [z, 256, 256] in HU on the network's device."""
    painted, logits, features = look(network_input(hu, channels))
    return Seen(quality_from_map(painted)[:, 0], logits.softmax(dim=1), features)
