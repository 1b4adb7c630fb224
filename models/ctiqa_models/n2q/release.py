"""A trained N2Q in one file: weights, recipe, what it knows, provenance; training writes it, everyone else reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ctiqa_models import weights
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.domain import Domain
from ctiqa_models.n2q.recipe import Recipe, make_recipe
from ctiqa_models.n2q.variants import MapNetwork, build

_FAMILIARITY = "familiarity."


@dataclass(frozen=True, slots=True)
class Release:
    """A network in evaluation mode on the CPU, and what must be known to use it and to judge it."""

    network: MapNetwork
    recipe: Recipe
    domain: Domain
    familiarity: Familiarity
    trained_on: str
    """One sentence."""


def write_release(release: Release, out: Path) -> weights.WeightsFile:
    """Write everything into one safetensors file and answer with its SHA-256, which belongs into the catalog."""
    metadata = {
        "model": "n2q",
        "recipe": json.dumps(asdict(release.recipe)),
        "domain": release.domain.to_json(),
        "trained_on": release.trained_on,
    }
    tensors = release.network.state_dict() | release.familiarity.to_tensors(_FAMILIARITY)
    return weights.save(out, tensors, metadata)


def read_release(file: weights.WeightsFile) -> Release:
    """Read what `write_release` wrote.

    Raises WeightsError when the file is not the one that was released, or another version of this code wrote it.
    """
    loaded = weights.load(file)
    try:
        return _release(loaded)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise weights.WeightsError(
            f"The weights file {file.path} was written by another version of ctiqa-node ({error}). Install it again."
        ) from error


def _release(loaded: weights.Weights) -> Release:
    recipe = make_recipe(json.loads(loaded.metadata["recipe"]), "inside the weights")
    network = build(recipe.variant, recipe.norm, dropout=0.0, head=recipe.head)
    network.load_state_dict({name: one for name, one in loaded.tensors.items() if not name.startswith(_FAMILIARITY)})
    return Release(
        network=network.eval(),
        recipe=recipe,
        domain=Domain.from_json(loaded.metadata["domain"]),
        familiarity=Familiarity.from_tensors(loaded.tensors, _FAMILIARITY),
        trained_on=loaded.metadata["trained_on"],
    )
