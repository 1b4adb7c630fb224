"""Batches of training series: some of their slices, flipped at random, with what is known of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ctiqa_models.chest_ctiqa.examples import Example
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.network import Task
from ctiqa_models.chest_ctiqa.preprocess import Shape, network_input
from ctiqa_models.chest_ctiqa.volumes import AS_IT_CAME, SHARPENED

_WHOLE_SHARE = 0.5
"""How often a series is shown with all its slices; else with some, for series may have few."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Input [b, c, z, y, x], and the truth of each task [b]: classes or numbers, NO_CLASS or NaN where unknown."""

    image: torch.Tensor
    truth: dict[Task, torch.Tensor]


def whole(example: Example, shape: Shape) -> tuple[torch.Tensor, dict[Task, float]]:
    """A series with all its slices: input and truth."""
    return _shown(example, list(range(example.maps.shape[1])), shape)


def drawn(example: Example, shape: Shape, generator: torch.Generator) -> tuple[torch.Tensor, dict[Task, float]]:
    """A series as training shows it: often some slices only, in either order, flipped to either side or upside down."""
    count = example.maps.shape[1]
    lot, flips = torch.rand(2, generator=generator).tolist()
    kept = count if lot < _WHOLE_SHARE else 1 + int(torch.randint(count, (1,), generator=generator))
    chosen = sorted(torch.randperm(count, generator=generator)[:kept].tolist())
    image, truth = _shown(example, chosen, shape)
    axes = [axis for axis, bit in ((1, 1), (2, 2), (3, 4)) if int(flips * 8) & bit]
    return image.flip(axes), truth


def _shown(example: Example, chosen: Sequence[int], shape: Shape) -> tuple[torch.Tensor, dict[Task, float]]:
    truth = {
        Task.WINDOW: float(example.window),
        Task.EXPOSURE: float(example.exposure),
        Task.SNR: _mean(example.snr[chosen]),
        Task.BRISQUE: _mean(example.brisque[chosen]),
    }
    return network_input(example.maps[:, chosen], shape.slices), truth


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def collate(shown: Sequence[tuple[torch.Tensor, dict[Task, float]]]) -> Batch:
    """Series as one batch."""
    truth = {
        task: torch.tensor([one[task] for _, one in shown], dtype=torch.long if task.is_class else torch.float32)
        for task in Task
    }
    return Batch(torch.stack([image for image, _ in shown]), truth)


def odds_of(examples: Sequence[Example], real_weight: float, lung_weight: float) -> torch.Tensor:
    """How often each series is shown: patients with many count for the square root of them.

    Series that nobody simulated count `real_weight` times as much, and those of them with a kernel for lung
    `lung_weight` times as much again.
    """
    counts = Counter(example.patient for example in examples)
    odds = []
    for example in examples:
        odd = counts[example.patient] ** -0.5
        if example.origin in (AS_IT_CAME, SHARPENED):
            odd *= real_weight
        if example.origin == AS_IT_CAME and example.window == Window.LUNG:
            odd *= lung_weight
        odds.append(odd)
    return torch.tensor(odds)


def epoch(
    examples: Sequence[Example], odds: torch.Tensor, shape: Shape, batch: int, generator: torch.Generator
) -> Iterator[Batch]:
    """As many series as there are, drawn by their odds, in batches; a rest is left out."""
    steps = max(1, len(examples) // batch)
    order = torch.multinomial(odds, steps * batch, replacement=True, generator=generator)
    for indices in order.view(steps, batch).tolist():
        yield collate([drawn(examples[index], shape, generator) for index in indices])


def batches(examples: Sequence[Example], shape: Shape, batch: int) -> Iterator[Batch]:
    """Every series once, whole and in order."""
    for start in range(0, len(examples), batch):
        yield collate([whole(example, shape) for example in examples[start : start + batch]])
