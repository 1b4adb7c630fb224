"""Which slices show an adult's chest or abdomen, by what they are made of and where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from ctiqa_models import weights
from ctiqa_models.api import FloatArray, ReasonCode
from ctiqa_models.composition import COUNT, PARTS, composition
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.body import Anatomy
from ctiqa_models.n2q.domain import Objection

TRUNK_WEIGHTS = weights.WeightsFile(
    path=Path(__file__).parent / "weights" / "trunk.safetensors",
    sha256="2e550ba78d8d4345c98eeadfb5b1b6f15b7f6441741ce6216a11f0b0f7f894c7",
)
"""Apache-2.0; see CARD.md beside it. `python -m ctiqa_models.trunk.fit` makes it again."""

PREFIX = "familiarity."


@dataclass(frozen=True, slots=True)
class TrunkGate:
    """Objects to slices whose composition is not that of a trunk. It looks at no noise: a noisy trunk stays one."""

    familiarity: Familiarity

    def distance(self, hu: FloatArray, anatomy: Anatomy, field_of_view_mm: float) -> float:
        """How far a slice [256, 256] in HU is from the trunks of training; up to 1 it counts as one."""
        return float(self.familiarity.distance(_row(hu, anatomy, field_of_view_mm))[0])

    def objection(self, hu: FloatArray, anatomy: Anatomy, field_of_view_mm: float) -> Objection | None:
        """Why a slice [256, 256] in HU (`to_matrix`, `find_anatomy`) is left out; None when it is not.

        The sentence names what differs most.
        """
        if not anatomy.body.any():
            return Objection("body", "no body was found in the slice", ReasonCode.TOO_LITTLE)
        row = _row(hu, anatomy, field_of_view_mm)
        distance = float(self.familiarity.distance(row)[0])
        if distance <= 1:
            return None
        away = ((row[0] - self.familiarity.mean) / self.familiarity.spread).abs()
        what = max(PARTS, key=lambda part: float(away[PARTS[part]].max()))
        return Objection(
            "trunk",
            f"it is {distance:.1f} times as unlike an adult's chest or abdomen as one may be, most of all in {what}",
            ReasonCode.OTHER_ANATOMY,
        )


@cache
def load_trunk(file: weights.WeightsFile = TRUNK_WEIGHTS) -> TrunkGate:
    """The gate that ships, or one that `fit` wrote. Raises WeightsError when the file is missing or another one."""
    tensors = weights.load(file).tensors
    try:
        familiarity = Familiarity.from_tensors(tensors, PREFIX)
    except (KeyError, RuntimeError) as error:
        raise weights.WeightsError(f"The weights file {file.path} holds no trunk gate ({error}).") from error
    if len(familiarity.mean) != COUNT:
        raise weights.WeightsError(f"The weights file {file.path} is of another version. {file.remedy}")
    return TrunkGate(familiarity)


def _row(hu: FloatArray, anatomy: Anatomy, field_of_view_mm: float) -> torch.Tensor:
    return torch.from_numpy(composition(hu, anatomy, field_of_view_mm))[None]
