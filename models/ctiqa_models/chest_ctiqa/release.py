"""A trained Chest CT-IQA in one file: weights, recipe, domain and provenance, written by training, read by the rest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ctiqa_models import weights
from ctiqa_models.chest_ctiqa.domain import Domain, View
from ctiqa_models.chest_ctiqa.network import ChestNetwork
from ctiqa_models.chest_ctiqa.recipe import Recipe, recipe_from
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.domain import Objection

WEIGHTS_NAME = "chest_ctiqa.safetensors"
_FAMILIARITY = "familiarity."


@dataclass(frozen=True, slots=True)
class Release:
    """A network in evaluation mode on the CPU, and what must be known to use it and to judge it."""

    network: ChestNetwork
    recipe: Recipe
    domain: Domain
    familiarity: Familiarity
    """Of `ChestNetwork.look`."""
    trained_on: str
    """One sentence."""


def objection_to(release: Release, view: View, seen: torch.Tensor) -> Objection | None:
    """Why a series is not judged, by its view and what the network sees of it [d]; None when it is."""
    plain = release.domain.objection(view)
    if plain is not None:
        return plain
    return release.familiarity.objection(float(release.familiarity.distance(seen[None])[0]))


def network_of(recipe: Recipe) -> ChestNetwork:
    """An untrained network as the recipe has it."""
    return ChestNetwork(recipe.shape, recipe.widths, recipe.hidden, recipe.branch, recipe.tasks, recipe.dropout)


def write_release(release: Release, out: Path) -> weights.WeightsFile:
    """Write everything into one safetensors file and answer with its SHA-256, which belongs into the catalog."""
    metadata = {
        "model": "chest_ctiqa",
        "recipe": json.dumps(asdict(release.recipe)),
        "domain": release.domain.to_json(),
        "trained_on": release.trained_on,
    }
    tensors = {**release.network.state_dict(), **release.familiarity.to_tensors(_FAMILIARITY)}
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
            f"The weights file {file.path} was written by another version of ctiqa-node ({error}). {file.remedy}"
        ) from error


def _release(loaded: weights.Weights) -> Release:
    recipe = recipe_from(json.loads(loaded.metadata["recipe"]))
    network = network_of(recipe)
    network.load_state_dict({name: t for name, t in loaded.tensors.items() if not name.startswith(_FAMILIARITY)})
    network.eval()
    return Release(
        network=network,
        recipe=recipe,
        domain=Domain.from_json(loaded.metadata["domain"]),
        familiarity=Familiarity.from_tensors(loaded.tensors, _FAMILIARITY),
        trained_on=loaded.metadata["trained_on"],
    )
