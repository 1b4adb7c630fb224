"""The numbers of a training, read from a recipe file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import yaml

from ctiqa_models.n2q.network import Head, Norm
from ctiqa_models.n2q.variants import VARIANTS, Variant, VariantName

DEFAULT_RECIPE = Path(__file__).with_name("recipe.yaml")


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of a training, with a learning rate that falls to zero.

    `crop` is the side of the square that is cut from each picture, a multiple of 16; 256 is the whole.
    """

    epochs: int
    steps: int
    batch: int
    crop: int
    dropout: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training can be told; `recipe.yaml` explains each number."""

    version: str
    variant: VariantName
    norm: Norm
    head: Head
    slices_per_patient: int
    phantoms: int
    phantom_share: float
    denoised_share: float
    standard_share: float
    full_dose_share: float
    blurred_share: float
    phases: tuple[Phase, ...]
    weight_decay: float
    dose_weight: float
    contrast_weight: float
    seed: int

    @property
    def row(self) -> Variant:
        """What the variant is."""
        return VARIANTS[self.variant]


def read_recipe(file: Path = DEFAULT_RECIPE) -> Recipe:
    """A recipe from YAML; ValueError names a key that is missing or that nobody knows."""
    return make_recipe(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))


def make_recipe(content: object, name: str) -> Recipe:
    """The recipe whose keys and values are `content`; ValueError, with the recipe's `name`, where they do not fit."""
    values = _checked(content, Recipe, name)
    if values["variant"] not in VARIANTS:
        raise ValueError(f"the recipe {name} wants the variant {values['variant']}; there are: {', '.join(VARIANTS)}")
    phases = tuple(Phase(**_checked(phase, Phase, f"{name} (phases)")) for phase in values["phases"])
    return Recipe(**{**values, "phases": phases})


def _checked(content: object, kind: type, name: str) -> Mapping[str, Any]:
    known = {field.name for field in fields(kind)}
    if not isinstance(content, dict) or set(content) != known:
        odd = sorted(known.symmetric_difference(content if isinstance(content, dict) else ()))
        raise ValueError(f"the recipe {name} must have exactly the keys of {kind.__name__}; look at: {', '.join(odd)}")
    return cast(Mapping[str, Any], content)
