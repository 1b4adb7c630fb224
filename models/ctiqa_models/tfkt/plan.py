"""How each picture of a slice is to be made, drawn at random: dose, views, kernel, smoothing, faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, TypeVar

import torch

from ctiqa_models.simulation.distortions_ct import GRID_DOSES
from ctiqa_models.simulation.projector import STANDARD, Kernel

T = TypeVar("T")

VIEWS: tuple[int, ...] = (64, 96, 128, 192)
"""Numbers of views that bring streaks, on a scanner of 384."""

LOWEST_DOSE = 0.03
HIGHEST_DOSE = 4.0
"""Of the reference scanner's full dose, on denoised slices: something must be nearly clean."""


class Smoothing(StrEnum):
    """What was done to a picture after its reconstruction."""

    NONE = "none"
    TOTAL_VARIATION = "total variation"
    GAUSSIAN = "gaussian"
    MEDIAN = "median"


class Loss(StrEnum):
    """What is lost of the projections."""

    NONE = "none"
    WEDGE = "wedge"
    ARCING = "arcing"


class Acquired(NamedTuple):
    """The part of a plan that changes the sinogram."""

    dose: float | None
    views: int | None
    loss: Loss


PLAIN = Acquired(None, None, Loss.NONE)


KINDS = (
    "plain",
    "dose and views",
    *(str(smoothing) for smoothing in Smoothing if smoothing is not Smoothing.NONE),
    *(str(loss) for loss in Loss if loss is not Loss.NONE),
)
"""What `Plan.kind` may be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One picture.

    `own_texture` says whether it is made of the slice as it came or of the denoised one. `dose` is a fraction of the
    reference scanner's full dose whose noise is added (None: no noise), `views` are those taken (None: all). `amount`,
    0–1, says how much of the loss or the smoothing.
    """

    kind: str
    own_texture: bool
    dose: float | None = None
    views: int | None = None
    kernel: Kernel = STANDARD
    loss: Loss = Loss.NONE
    smoothing: Smoothing = Smoothing.NONE
    amount: float = 0.0

    @property
    def acquired(self) -> Acquired:
        """What changes the sinogram; equal to `PLAIN` when nothing does."""
        return Acquired(self.dose, self.views, self.loss)


def draw_plans(generator: torch.Generator) -> list[Plan]:
    """The 24 pictures of one slice: 2 plain, 15 of less dose and fewer views, 4 smoothed, 3 with other faults.

    The median filter and the arcing tube are there to choose between epochs, not to train (`recipe.yaml`).
    """
    # Few kernels and few numbers of views a slice, so that pictures can be reconstructed together.
    kernels = [draw_kernel(generator) for _ in range(2)]
    some_views = [_choice(VIEWS[::2], generator), _choice(VIEWS[1::2], generator)]
    plans = [Plan("plain", own_texture=True), Plan("plain", own_texture=False)]
    for number in range(15):
        own = number < 7
        views = None if _uniform(generator) < 0.45 else _choice(some_views, generator)
        plans.append(Plan("dose and views", own, _dose(own, generator), views, _choice(kernels, generator)))
    noisy = plans[-1]
    for smoothing in (Smoothing.TOTAL_VARIATION, Smoothing.GAUSSIAN):
        amount = _uniform(generator)
        plans.append(Plan(str(smoothing), _uniform(generator) < 0.5, smoothing=smoothing, amount=amount))
        plans.append(replace(noisy, kind=str(smoothing), smoothing=smoothing, amount=_uniform(generator)))
    for loss in (Loss.WEDGE, Loss.ARCING):
        own, amount = _uniform(generator) < 0.5, _uniform(generator)
        plans.append(Plan(str(loss), own, loss=loss, amount=amount, kernel=kernels[0]))
    plans.append(Plan(str(Smoothing.MEDIAN), True, smoothing=Smoothing.MEDIAN, amount=_uniform(generator)))
    return plans


def _dose(own: bool, generator: torch.Generator) -> float:
    """One of LDCTIQAC's doses or any other; a slice that holds its own noise gets no more than full dose adds."""
    if _uniform(generator) < 0.4:
        return _choice(GRID_DOSES, generator)
    low, high = math.log(LOWEST_DOSE), math.log(1.0 if own else HIGHEST_DOSE)
    return math.exp(low + (high - low) * _uniform(generator))


def draw_kernel(generator: torch.Generator) -> Kernel:
    """From soft to sharp, sometimes the bare ramp, half of them with enhanced edges."""
    cutoff = None if _uniform(generator) < 0.1 else 0.6 + 1.4 * _uniform(generator)
    return Kernel(cutoff, 2.0 * _uniform(generator) if _uniform(generator) < 0.5 else 0.0)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand(1, generator=generator))


def _choice(options: Sequence[T], generator: torch.Generator) -> T:
    return options[int(torch.randint(len(options), (1,), generator=generator))]
