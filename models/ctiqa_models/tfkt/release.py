"""TFKT weights in files: those that a training writes and that ship, and those of public code that a site imported."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ctiqa_models import weights
from ctiqa_models.api import ModelIdentity
from ctiqa_models.checkpoints import load_into
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.installed import require
from ctiqa_models.looks import Gates
from ctiqa_models.n2q.domain import Domain
from ctiqa_models.plausible import PlainGate
from ctiqa_models.simulation.labels import QuantileMap
from ctiqa_models.tfkt import public
from ctiqa_models.tfkt.assess import Tfkt
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.recipe import Recipe, recipe_of
from ctiqa_models.trunk.gate import load_trunk

SHIPPED = "tfkt"
IMPORTED = "tfkt_imported"
NONE_INSTALLED = (
    "no TFKT weights of the site's own are installed; import a checkpoint of the public code with "
    "`ctiqa-node model import`"
)
_SUMMARY = (
    "Quality score of slices, 0 bad to 4 excellent, on the scale of LDCTIQAC 2023, by a CNN and a transformer on its "
    "features (Task-Focused Knowledge Transfer, TFKT)."
)
_FEATURES = "familiarity."
_SMALLEST_SHARE = 0.875
"""Of the rows of the training pictures: clean scanned phantoms score 3.8-3.9 with 512 rows and more, with 448 0.2-0.4
less, with 384 0.9-1.1 less."""


@dataclass(frozen=True, slots=True)
class Release:
    """A network that was trained here, and what must be known to use it and to judge it.

    `curve` is the map from VIF to scores, where the scores were made so. `ranges` are None where the training slices
    were not in Hounsfield units. `evaluation` are the figures on the validation side, at the end of the training.
    """

    network: TfktNetwork
    recipe: Recipe
    curve: QuantileMap | None
    ranges: Domain | None
    familiarity: Familiarity
    trained_on: str
    """One sentence."""
    evaluation: dict[str, float]


def write_release(release: Release, out: Path) -> weights.WeightsFile:
    """Write everything into one safetensors file and answer with its SHA-256, which belongs into the catalog."""
    metadata = {
        "model": SHIPPED,
        "recipe": json.dumps(release.recipe.to_dict()),
        "curve": json.dumps(asdict(release.curve)) if release.curve else "",
        "ranges": release.ranges.to_json() if release.ranges else "",
        "trained_on": release.trained_on,
        "evaluation": json.dumps(release.evaluation),
    }
    tensors = {**release.network.state_dict(), **release.familiarity.to_tensors(_FEATURES)}
    return weights.save(out, tensors, metadata)


def read_release(file: weights.WeightsFile) -> Release:
    """Read what `write_release` wrote, the network in evaluation mode on the CPU.

    Raises WeightsError when the file is not the one that was released, or another version of this code wrote it.
    """
    loaded = weights.load(file)
    told = loaded.metadata
    try:
        recipe = recipe_of(json.loads(told["recipe"]))
        curve = json.loads(told["curve"]) if told["curve"] else None
        return Release(
            network=load_into(
                TfktNetwork(recipe.config),
                {name: one for name, one in loaded.tensors.items() if not name.startswith(_FEATURES)},
                f"TFKT, {recipe.variant}, {recipe.size}",
            ),
            recipe=recipe,
            curve=QuantileMap(tuple(curve["values"]), tuple(curve["scores"])) if curve else None,
            ranges=Domain.from_json(told["ranges"]) if told["ranges"] else None,
            familiarity=Familiarity.from_tensors(loaded.tensors, _FEATURES),
            trained_on=told["trained_on"],
            evaluation=json.loads(told["evaluation"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise weights.WeightsError(
            f"The weights file {file.path} was written by another version of ctiqa-node ({error}). Install it again."
        ) from error


def shipped_tfkt(file: weights.WeightsFile, device: str, batch: int | None = None) -> Tfkt:
    """The assessor with weights that were trained here; WeightsError when the file cannot be used."""
    release = read_release(file)
    identity = ModelIdentity(SHIPPED, release.recipe.version, _SUMMARY, release.trained_on, file.sha256)
    gates = Gates(release.ranges or PlainGate(), load_trunk())
    smallest_side = round(_SMALLEST_SHARE * release.recipe.picture_size)
    return Tfkt(release.network, identity, device, gates, release.familiarity, smallest_side, batch)


def imported_tfkt(folder: Path | None, device: str, batch: int | None = None) -> Tfkt:
    """The assessor with the weights that are installed in `folder`; WeightsError when there are none that fit."""
    installed, file = require(folder, IMPORTED, NONE_INSTALLED)
    identity = ModelIdentity(
        name=IMPORTED,
        version=installed.provenance.label,
        summary=_SUMMARY,
        trained_on=installed.provenance.trained_on,
        weights_sha256=installed.sha256,
    )
    architecture = installed.provenance.architecture
    if architecture != public.ARCHITECTURE:
        raise weights.WeightsError(
            f"The installed TFKT weights are of an architecture {architecture!r}, not known here."
        )
    return Tfkt(public.build(weights.load(file).tensors), identity, device, batch=batch)
