"""A trained N2Q in one file: weights, recipe, domain and provenance, written by training and read by everyone else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ctiqa_models import weights
from ctiqa_models.n2q.domain import Domain
from ctiqa_models.n2q.evaluate import Evaluation
from ctiqa_models.n2q.network import N2qNetwork
from ctiqa_models.n2q.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Release:
    """A network in evaluation mode on the CPU, and what must be known to use it and to judge it."""

    network: N2qNetwork
    recipe: Recipe
    domain: Domain
    trained_on: str
    """One sentence."""
    evaluation: Evaluation
    """On patients that were held out."""


def write_release(release: Release, out: Path) -> weights.WeightsFile:
    """Write everything into one safetensors file and answer with its SHA-256, which belongs into the catalog."""
    metadata = {
        "model": "n2q",
        "recipe": json.dumps(asdict(release.recipe)),
        "domain": release.domain.to_json(),
        "trained_on": release.trained_on,
        "evaluation": json.dumps(asdict(release.evaluation)),
    }
    return weights.save(out, release.network.state_dict(), metadata)


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
    recipe = Recipe(**json.loads(loaded.metadata["recipe"]))
    network = N2qNetwork(recipe.channels, recipe.norm, recipe.dropout)
    network.load_state_dict(dict(loaded.tensors))
    network.eval()
    return Release(
        network=network,
        recipe=recipe,
        domain=Domain.from_json(loaded.metadata["domain"]),
        trained_on=loaded.metadata["trained_on"],
        evaluation=Evaluation(**json.loads(loaded.metadata["evaluation"])),
    )
