"""TFKT weights as a training writes them, of a network that nobody trained."""

from __future__ import annotations

from pathlib import Path

import torch

from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.domain import Domain, Range
from ctiqa_models.simulation.labels import QuantileMap
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.preprocess import network_input
from ctiqa_models.tfkt.recipe import read_recipe, recipe_of
from ctiqa_models.tfkt.release import Release, write_release
from ctiqa_models.weights import WeightsFile

WIDE = Domain(Range(0, 1000), Range(50, 5000), Range(0, 1), Range(0, 500))


def untrained(familiar: torch.Tensor, margin: float = 100.0, **changed: object) -> Release:
    """A release with random weights; it knows slices [z, y, x] in HU like `familiar`, and any body."""
    torch.manual_seed(1)
    recipe = recipe_of({**read_recipe().to_dict(), **changed})
    network = TfktNetwork(recipe.config).eval()
    with torch.no_grad():
        for parameter in network.swin.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        features = network.features(network_input(familiar))
    known = Familiarity.fit(features, [str(index) for index in range(len(features))], margin=margin)
    curve = QuantileMap((0.0, 1.0), (0.0, 4.0))
    return Release(network, recipe, curve, WIDE, known, "random numbers", {"plcc": 0.0})


def write_untrained(file: Path, familiar: torch.Tensor) -> WeightsFile:
    """The same in a file; it learnt from slices as large as these."""
    return write_release(untrained(familiar, picture_size=familiar.shape[-1]), file)
