"""Whether a volume can be judged at all, for any model that looks at slices of the body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ctiqa_models.api import HuVolume, ReasonCode
from ctiqa_models.n2q.body import Features
from ctiqa_models.n2q.domain import Objection

LEAST_SHARE = 0.5
"""With fewer slices than this left, a volume is not scored."""

_SQUARE = 0.02
_AIR_HU, _METAL_HU = -1024.0, 3071.0


class Gate(Protocol):
    """Says which slices a model may judge."""

    def objection(self, features: Features) -> Objection | None:
        """Why a slice is left out; None when it is not."""
        ...


@dataclass(frozen=True, slots=True)
class PlainGate:
    """The gate of weights whose training data nobody here knows: there must be a body, of soft tissue, in the slice."""

    least_body_cm2: float = 50.0
    """Well below the trunk of a newborn."""
    least_tissue: float = 0.05
    """Share of the body within the abdomen window; a bare bone or a phantom of plastic has next to none."""

    def objection(self, features: Features) -> Objection | None:
        """Why a slice is left out; None when it is not."""
        if features.body_cm2 == 0:
            return Objection("body", "no body was found in the slice", ReasonCode.TOO_LITTLE)
        if features.body_cm2 < self.least_body_cm2:
            sentence = f"the body measures {features.body_cm2:.0f} cm², too little to judge"
            return Objection("body_cm2", sentence, ReasonCode.TOO_LITTLE)
        if features.tissue_fraction < self.least_tissue:
            share = 100 * features.tissue_fraction
            sentence = f"the soft-tissue share of the body is {share:.0f} %"
            return Objection("tissue_fraction", sentence, ReasonCode.TOO_LITTLE)
        return None


def finite_hu(volume: HuVolume, start: int, count: int) -> torch.Tensor:
    """`count` slices from `start` on, float32 [z, y, x] in HU; what is not a number is air, what is endless a limit."""
    some = torch.from_numpy(volume.hu[start : start + count].astype(np.float32))
    return some.nan_to_num_(nan=_AIR_HU, posinf=_METAL_HU, neginf=_AIR_HU)


def odd_shape(volume: HuVolume) -> Objection | None:
    """Why the slices' shape is one that training never saw."""
    rows, columns = volume.hu.shape[1:]
    height, width = rows * volume.spacing_mm[1], columns * volume.spacing_mm[2]
    if abs(height / width - 1) > _SQUARE:
        sentence = f"the slices measure {width:.0f} × {height:.0f} mm, and the model has only seen square ones"
        return Objection("shape", sentence, ReasonCode.OUT_OF_RANGE)
    return None


def why_not(objections: Iterable[Objection], count: int, verdict: str) -> Objection:
    """The commonest objection to slices, of the whole volume; `verdict` is what the slices are or cannot."""
    everyone = list(objections)
    commonest = Counter(objection.feature for objection in everyone).most_common(1)[0][0]
    example = next(objection for objection in everyone if objection.feature == commonest)
    sentence = f"{len(everyone)} of {count} slices {verdict}; most often: {example.sentence}"
    return Objection(commonest, sentence, example.code)
