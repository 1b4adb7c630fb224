"""The numbers of a training, read from a recipe file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from ctiqa_models.n2q.network import Norm

DEFAULT_RECIPE = Path(__file__).with_name("recipe.yaml")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training can be told; `recipe.yaml` explains each number."""

    version: str
    channels: int
    norm: Norm
    dropout: float
    denoised_share: float
    full_dose_share: float
    blurred_share: float
    validation_share: float
    epochs: int
    fine_tuning_epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    dose_weight: float
    seed: int


def read_recipe(file: Path = DEFAULT_RECIPE) -> Recipe:
    """A recipe from YAML; ValueError names a key that is missing or that nobody knows."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    known = {field.name for field in fields(Recipe)}
    if not isinstance(content, dict) or set(content) != known:
        odd = sorted(known.symmetric_difference(content if isinstance(content, dict) else ()))
        raise ValueError(f"the recipe {file} must have exactly the keys of Recipe; look at: {', '.join(odd)}")
    return Recipe(**content)
