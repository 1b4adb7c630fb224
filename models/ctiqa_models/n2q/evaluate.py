"""How well a network predicts quality on slices of patients that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ctiqa_models.n2q.batches import Bases, Batch, Pair, at_dose, collate
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.network import DOSE_CLASSES, N2qNetwork, quality_from_map
from ctiqa_models.n2q.preprocess import network_input
from ctiqa_models.n2q.ssim import ssim_map


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures over every slice at every dose class, as it came and denoised; maps are in 0–1."""

    map_mse: float
    map_ssim: float
    """SSIM between predicted and true SSIM map."""
    constant_map_mse: float
    constant_map_ssim: float
    """The same two for a constant map with each picture's true mean: what knowing one number would reach."""
    mean_r: float
    """Pearson correlation of predicted and true mean over soft tissue."""
    dose_accuracy: float
    """Share of denoised bases whose dose class is right; chance is 0.2."""
    dose_within_one: float
    """Share of denoised bases whose dose class is right or a neighbour."""
    full_above_quarter: float
    """Share of slices as they came whose prediction at full dose is above that at a simulated quarter of it."""


@torch.inference_mode()
def predict(network: N2qNetwork, hu: torch.Tensor, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quality 0–1 [z, 256, 256] and dose probabilities [z, 5] of slices [z, 256, 256] in HU; all on one device."""
    painted, logits = network(network_input(hu, channels))
    return quality_from_map(painted)[:, 0], logits.softmax(dim=1)


def tissue_mean(quality: torch.Tensor, hu: torch.Tensor) -> float:
    """Mean quality over the soft tissue of one slice [256, 256]; NaN where there is none."""
    tissue = torch.from_numpy(find_anatomy(hu.numpy()).tissue)
    return float(quality[tissue].mean())


def evaluate(network: N2qNetwork, bases: Bases, channels: int) -> Evaluation:
    """Measure a network in evaluation mode on the CPU or a GPU, with the first kernel's noise of every base."""
    device = next(network.parameters()).device
    rows: list[tuple[float, ...]] = []
    classes: list[int] = []
    for batch in _pictures(bases):
        quality, probability = predict(network, batch.hu.to(device), channels)
        truth = batch.quality[:, 0]
        rows += [_compare(p, t, hu) for p, t, hu in zip(quality.cpu(), truth, batch.hu, strict=True)]
        of_denoised = len(DOSE_CLASSES)
        found = probability.argmax(dim=1).cpu()[:of_denoised]
        classes += (found - batch.dose_class[:of_denoised]).abs().tolist()
    table, distance = np.asarray(rows), np.asarray(classes)
    averages = table.mean(axis=0)
    return Evaluation(
        map_mse=float(averages[0]),
        map_ssim=float(averages[1]),
        constant_map_mse=float(averages[2]),
        constant_map_ssim=float(averages[3]),
        mean_r=float(np.corrcoef(table[:, 4], table[:, 5])[0, 1]),
        dose_accuracy=float((distance == 0).mean()),
        dose_within_one=float((distance <= 1).mean()),
        full_above_quarter=_full_above_quarter(network, bases, channels),
    )


def _pictures(bases: Bases) -> Iterator[Batch]:
    """For each slice one batch: the denoised base at the five doses, then the slice as it came at the five doses."""
    for index in range(len(bases.original)):
        pairs: list[Pair] = []
        for denoised in (True, False):
            pairs += [at_dose(bases, index, 0, dose, denoised) for dose in DOSE_CLASSES]
        yield collate(pairs)


def _compare(predicted: torch.Tensor, truth: torch.Tensor, hu: torch.Tensor) -> tuple[float, ...]:
    """MSE and SSIM of the map, the same for a constant map, and the two means over tissue."""
    constant = torch.full_like(truth, float(truth.mean()))
    return (
        float(((predicted - truth) ** 2).mean()),
        float(ssim_map(predicted[None, None], truth[None, None]).mean()),
        float(((constant - truth) ** 2).mean()),
        float(ssim_map(constant[None, None], truth[None, None]).mean()),
        tissue_mean(predicted, hu),
        tissue_mean(truth, hu),
    )


def _full_above_quarter(network: N2qNetwork, bases: Bases, channels: int) -> float:
    device = next(network.parameters()).device
    higher = []
    for index in range(len(bases.original)):
        pair = at_dose(bases, index, 0, 0.25, denoised=False)
        both = torch.stack((pair.reference, pair.picture))
        quality = predict(network, both.to(device), channels)[0].cpu()
        higher.append(tissue_mean(quality[0], pair.reference) > tissue_mean(quality[1], pair.picture))
    return float(np.mean(higher))
