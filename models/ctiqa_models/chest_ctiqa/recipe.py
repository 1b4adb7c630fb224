"""The numbers of a training, read from a recipe file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from ctiqa_models.chest_ctiqa.network import ALL_TASKS, Branch, Task
from ctiqa_models.chest_ctiqa.preprocess import Shape

DEFAULT_RECIPE = Path(__file__).with_name("recipe.yaml")
PAPER_RECIPE = Path(__file__).with_name("recipe_paper.yaml")

Schedule = Literal["step", "cosine"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training can be told; `recipe.yaml` explains each number."""

    version: str
    slices: int
    size: int
    detail: bool
    widths: tuple[int, ...]
    hidden: tuple[int, ...]
    branch: Branch
    tasks: tuple[Task, ...]
    dropout: float
    phantoms: int
    matrix: int
    draws: int
    real_weight: float
    lung_weight: float
    epochs: int
    dropout_free_epochs: int
    batch: int
    learning_rate: float
    schedule: Schedule
    step_gamma: float
    loss_weights: tuple[float, ...]
    standardised_loss: bool
    seed: int

    @property
    def shape(self) -> Shape:
        """What the network takes."""
        return Shape(self.slices, self.size, self.detail)

    @property
    def weights(self) -> dict[Task, float]:
        """λ of each task."""
        return dict(zip(ALL_TASKS, self.loss_weights, strict=True))


def read_recipe(file: Path = DEFAULT_RECIPE) -> Recipe:
    """A recipe from YAML; ValueError names what is missing, unknown or impossible."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    known = {field.name for field in fields(Recipe)}
    if not isinstance(content, dict) or set(content) != known:
        odd = sorted(known.symmetric_difference(content if isinstance(content, dict) else ()))
        raise ValueError(f"the recipe {file} must have exactly the keys of Recipe; look at: {', '.join(odd)}")
    try:
        return recipe_from(content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the recipe {file}: {error}") from error


def recipe_from(content: dict[str, Any]) -> Recipe:
    """A recipe from plain values, as YAML or JSON keep them; ValueError for a value that nobody knows."""
    lists = {name: tuple(content[name]) for name in ("widths", "hidden", "loss_weights")}
    recipe = Recipe(**{**content, **lists, "tasks": tuple(map(Task, content["tasks"]))})
    for value, allowed in ((recipe.branch, get_args(Branch)), (recipe.schedule, get_args(Schedule))):
        if value not in allowed:
            raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
    if len(recipe.loss_weights) != len(ALL_TASKS):
        raise ValueError("loss_weights has one weight for each of window, exposure, SNR and BRISQUE")
    return recipe
