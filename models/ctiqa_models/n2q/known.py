"""What a trained N2Q knows: the ranges of its training slices, and what they look like to it."""

from __future__ import annotations

import torch

from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.batches import LARGEST_BLUR, OTHER_KERNEL, STANDARD_KERNEL, Bases, at_dose, blurred
from ctiqa_models.n2q.body import Features, find_anatomy, measure
from ctiqa_models.n2q.domain import Domain, learn_domain
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.predict import predict
from ctiqa_models.n2q.variants import MapNetwork

_SHOWN = (
    (STANDARD_KERNEL, 1.0, True),
    (STANDARD_KERNEL, 0.25, True),
    (OTHER_KERNEL, 0.5, True),
    (STANDARD_KERNEL, 0.05, False),
    (OTHER_KERNEL, 0.1, False),
)
"""Kernel, dose and whether denoised, of the pictures of each slice whose features count as familiar."""

_MARGIN = 1.5
"""Wide, because what is no trunk is refused by the trunk gate: this one is left with pictures of trunks gone wrong."""


def learn_what_is_known(network: MapNetwork, bases: Bases, channels: int) -> tuple[Domain, Familiarity]:
    """The ranges of plain numbers, and the cloud of features, of the pictures that the network was trained on."""
    return domain_of(bases), familiarity_of(network, bases, channels)


def domain_of(bases: Bases) -> Domain:
    """The ranges that these slices have: as they came, most blurred, and at the lowest dose with either kernel."""

    def features(hu: torch.Tensor, index: int) -> Features:
        return measure(hu.numpy(), find_anatomy(hu.numpy()), bases.fov_mm[index])

    everyone = range(len(bases))
    lowest = DOSE_CLASSES[0]
    return learn_domain(
        slices=[features(bases.original[index].float(), index) for index in everyone],
        clean=[features(blurred(bases, index, LARGEST_BLUR).picture, index) for index in everyone],
        noisy=[
            features(at_dose(bases, index, kernel, lowest, denoised=False).picture, index)
            for index in everyone
            for kernel in (STANDARD_KERNEL, OTHER_KERNEL)
        ],
    )


def familiarity_of(network: MapNetwork, bases: Bases, channels: int) -> Familiarity:
    """The cloud of the bottleneck's features over real slices as they came, and all bases at several doses."""
    device = next(network.parameters()).device
    features, groups = [], []
    for index, patient in enumerate(bases.patients):
        pictures = [at_dose(bases, index, *shown).picture for shown in _SHOWN]
        if bool(bases.real[index]):
            pictures.append(bases.original[index].float())
        features.append(predict(network.look, torch.stack(pictures).to(device), channels).features.cpu())
        groups += [patient] * len(pictures)
    return Familiarity.fit(torch.cat(features), groups, margin=_MARGIN)
