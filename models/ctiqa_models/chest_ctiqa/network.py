"""The Chest CT-IQA network: a 3D VGG and four heads that tell window, exposure, SNR and BRISQUE of a series."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ctiqa_models.chest_ctiqa.preprocess import Shape

Branch = Literal["shared", "per_kind", "separate"]
"""Table 2 of the paper: where the tasks part; two fully connected layers shared by all, by each kind, or by none."""

_BLOCKS = 5
_COMPARED_BLOCKS = 3


class Task(StrEnum):
    """What a head tells."""

    WINDOW = "window"
    EXPOSURE = "exposure"
    SNR = "snr"
    BRISQUE = "brisque"

    @property
    def is_class(self) -> bool:
        """Whether it is one of two classes, and not a number."""
        return self in (Task.WINDOW, Task.EXPOSURE)


ALL_TASKS: tuple[Task, ...] = tuple(Task)
"""In the order of the paper's equation 3."""


class ChestNetwork(nn.Module):
    """Five blocks of Conv3d, BatchNorm, ReLU and MaxPool, then three fully connected layers a task.

    ReLU and dropout follow the first two of them (paper, section 3.2.1). `widths` are the blocks' channels, `hidden`
    the two hidden layers. `tasks` may be any of the four, alone or together (Table 3). Numbers leave the network in
    their own units: the last layer is scaled by the mean and the deviation of the training targets (`set_scale`).
    """

    def __init__(
        self,
        shape: Shape,
        widths: Sequence[int],
        hidden: Sequence[int],
        branch: Branch = "separate",
        tasks: Sequence[Task] = ALL_TASKS,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(widths) != _BLOCKS or len(hidden) != 2 or not tasks:
            raise ValueError("the network has five blocks, two hidden layers and at least one task")
        depths = _pooled_depths(shape.slices)
        self.blocks = nn.ModuleList(
            _block(before, after, depth)
            for before, after, depth in zip((shape.channels, *widths), widths, depths, strict=False)
        )
        side = shape.size // 2**_BLOCKS
        left = shape.slices
        for depth in depths:
            left //= depth
        flat = widths[-1] * left * side**2
        self.tasks = tuple(tasks)
        self._group = {task: _group(task, branch) for task in tasks}
        self.trunks = nn.ModuleDict(
            {group: _trunk(flat, hidden, dropout) for group in dict.fromkeys(self._group.values())}
        )
        self.heads = nn.ModuleDict({task: nn.Linear(hidden[1], 2 if task.is_class else 1) for task in tasks})
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.tensor([[0.0, 1.0]]).repeat(len(ALL_TASKS), 1))

    def set_scale(self, task: Task, mean: float, deviation: float) -> None:
        """Let the outputs of a number's head start at `mean` and step by `deviation`."""
        self.scale[ALL_TASKS.index(task)] = torch.tensor([mean, max(deviation, 1e-6)])

    def deviation(self, task: Task) -> torch.Tensor:
        """What `set_scale` was told."""
        return self.scale[ALL_TASKS.index(task), 1]

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """What the five blocks make of [b, c, z, y, x]: [b, width, z', y / 32, x / 32]."""
        found = image
        for block in self.blocks:
            found = block(found)
        return found

    def look(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The `features`, and mean and deviation of each channel of the first three blocks, [b, d].

        By the latter, series are compared with those in training: the last block keeps only what tells the tasks.
        """
        found, seen = image, []
        for depth, block in enumerate(self.blocks):
            found = block(found)
            if depth < _COMPARED_BLOCKS:
                seen += [found.mean(dim=(2, 3, 4)), found.std(dim=(2, 3, 4))]
        return found, torch.cat(seen, dim=1)

    def judge(self, features: torch.Tensor) -> dict[Task, torch.Tensor]:
        """From `features`: logits [b, 2] of each class, numbers [b] in their own units."""
        flat = features.flatten(1)
        hidden = {group: trunk(flat) for group, trunk in self.trunks.items()}
        told: dict[Task, torch.Tensor] = {}
        for task in self.tasks:
            out = self.heads[task](hidden[self._group[task]]).float()
            mean, deviation = self.scale[ALL_TASKS.index(task)]
            told[task] = out if task.is_class else out[:, 0] * deviation + mean
        return told

    def forward(self, image: torch.Tensor) -> dict[Task, torch.Tensor]:
        """Logits and numbers of series [b, c, z, y, x]."""
        return self.judge(self.features(image))


def loss_of(
    told: dict[Task, torch.Tensor],
    truth: dict[Task, torch.Tensor],
    weights: dict[Task, float],
    scales: dict[Task, torch.Tensor] | None = None,
    no_class: int = -100,
) -> torch.Tensor:
    """Equation 3: Σ λ·CE over classes and λ·MSE over numbers, each a mean over those series whose truth is known.

    With `scales`, differences of numbers count in these units (the deviation of the training targets), not in their
    own. Classes that are `no_class` and numbers that are NaN are not known.
    """
    total = next(iter(told.values())).new_zeros(())
    for task, out in told.items():
        if task.is_class:
            known = truth[task] != no_class
            part = functional.cross_entropy(out[known], truth[task][known], reduction="sum")
        else:
            known = truth[task].isfinite()
            unit = scales[task] if scales else 1.0
            part = (((out[known] - truth[task][known]) / unit) ** 2).sum()
        total = total + weights[task] * part / known.sum().clamp(min=1)
    return total


def _pooled_depths(slices: int) -> tuple[int, ...]:
    """By how much each block shrinks the stack: halves while there are slices to halve."""
    depths = []
    for _ in range(_BLOCKS):
        depths.append(2 if slices > 1 else 1)
        slices = max(1, slices // 2)
    return tuple(depths)


def _group(task: Task, branch: Branch) -> str:
    if branch == "shared":
        return "all"
    if branch == "per_kind":
        return "classes" if task.is_class else "numbers"
    return str(task)


def _block(before: int, after: int, depth: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(),
        nn.MaxPool3d((depth, 2, 2)),
    )


def _trunk(flat: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    first, second = hidden
    return nn.Sequential(
        *(nn.Linear(flat, first), nn.ReLU(), nn.Dropout(dropout)),
        *(nn.Linear(first, second), nn.ReLU(), nn.Dropout(dropout)),
    )
