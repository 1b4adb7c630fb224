"""The numbers of a training, read from a recipe file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ctiqa_models.tfkt.config import Size, TfktConfig, Variant
from ctiqa_models.tfkt.plan import KINDS

DEFAULT_RECIPE = Path(__file__).with_name("recipe.yaml")


@dataclass(frozen=True, slots=True)
class Phase:
    """How one phase is optimised: Adam, a rate that rises over the `warm_up` share of the steps and falls to zero.

    An epoch is `pictures` draws, in batches of `batch`, of squares of `crop` pixels.
    """

    epochs: int
    pictures: int
    batch: int
    crop: int
    learning_rate: float
    warm_up: float

    def __post_init__(self) -> None:
        """Refuse a phase in which nothing is learnt."""
        if min(self.epochs, self.batch, self.crop) < 1 or self.pictures < self.batch or not 0 <= self.warm_up < 1:
            raise ValueError(
                f"a phase needs epochs, a batch, a crop, a batch of pictures and a warm_up below 1: {self}"
            )

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.pictures // self.batch


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training can be told; `recipe.yaml` explains each number."""

    version: str
    seed: int
    variant: Variant
    size: Size
    freeze_cnn: bool
    drop_path: float
    imagenet: bool
    pretrain: bool
    phantoms: int
    picture_size: int
    photo_side: int
    choosing: tuple[str, ...]
    phase1: Phase
    phase2: tuple[Phase, ...]

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if not self.phase2:
            raise ValueError("phase2 needs at least one stage")
        if self.imagenet and self.size != "compact":
            raise ValueError("ImageNet weights are at hand for `size: compact` alone")
        unknown = set(self.choosing) - set(KINDS)
        if unknown:
            raise ValueError(f"no picture is of the kind {sorted(unknown)[0]!r}; there are {', '.join(KINDS)}")

    @property
    def config(self) -> TfktConfig:
        """The network that this recipe trains."""
        return TfktConfig(self.variant, self.size, self.freeze_cnn, self.drop_path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `recipe_of` takes them."""
        return {**asdict(self), "choosing": list(self.choosing), "phase2": [asdict(stage) for stage in self.phase2]}


def read_recipe(file: Path = DEFAULT_RECIPE) -> Recipe:
    """A recipe from YAML; ValueError names a key that is missing or that nobody knows."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        return recipe_of(content if isinstance(content, dict) else {})
    except (TypeError, ValueError) as error:
        raise ValueError(f"the recipe {file} cannot be used: {error}") from error


def recipe_of(content: Mapping[str, Any]) -> Recipe:
    """A recipe from the values of a YAML or JSON file; ValueError as `read_recipe`."""
    values = _exactly(Recipe, content)
    phase1 = Phase(**_exactly(Phase, values["phase1"]))
    phase2 = tuple(Phase(**_exactly(Phase, stage)) for stage in values["phase2"])
    return Recipe(**{**values, "phase1": phase1, "phase2": phase2, "choosing": tuple(values["choosing"])})


def _exactly(kind: type[Recipe | Phase], content: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    odd = sorted(known.symmetric_difference(content))
    if odd:
        raise ValueError(f"it must have exactly the keys of {kind.__name__}; look at: {', '.join(odd)}")
    return dict(content)
