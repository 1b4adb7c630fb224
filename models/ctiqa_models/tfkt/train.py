"""Train TFKT: phase 1 on photographs, phase 2 on CT slices, and write the weights with all that their use needs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence

import numpy as np
import torch

from ctiqa_models.data.photos import photo_files
from ctiqa_models.data.slices import slice_files
from ctiqa_models.device import device_of
from ctiqa_models.evaluation.figures import krcc, plcc, srcc
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.domain import Domain
from ctiqa_models.simulation.labels import QuantileMap
from ctiqa_models.tfkt.examples import Example, Sides, distorted_photos, kadid_photos, ldctiqac_slices, simulated
from ctiqa_models.tfkt.fit import fit, predict, ranks_all, some
from ctiqa_models.tfkt.imagenet import begin_with_imagenet
from ctiqa_models.tfkt.known import features_of, learn_ranges
from ctiqa_models.tfkt.network import Phase1Network, TfktNetwork
from ctiqa_models.tfkt.photographs import make_photographs, read_photographs
from ctiqa_models.tfkt.pictures import make_pictures, read_pictures
from ctiqa_models.tfkt.recipe import DEFAULT_RECIPE, Recipe, read_recipe
from ctiqa_models.tfkt.release import Release, write_release
from ctiqa_models.training.request import TrainRequest
from ctiqa_models.training.run import seeded
from ctiqa_models.weights import WeightsFile

WEIGHTS = "tfkt.safetensors"
PICTURES, PHOTOGRAPHS = "pictures", "photographs"

_MOST_TO_VALIDATE = 400

_log = logging.getLogger(__name__)


def run(request: TrainRequest) -> WeightsFile:
    """Train by a recipe into a run folder, and answer with the weights in it.

    Phase 1 takes KADID-10k where it is given, else photographs, which it distorts itself. Phase 2 takes LDCTIQAC 2023,
    else training slices, of which it simulates pictures. What was made or learnt by a run that was stopped is kept.
    Raises ValueError when there is nothing to train a phase with, and for data or a recipe that cannot be used.
    """
    recipe = read_recipe(request.recipe or DEFAULT_RECIPE)
    request.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(request.recipe or DEFAULT_RECIPE, request.out / "recipe.yaml")
    device = device_of(request.device)
    slices = _slices(request, recipe)
    phase1 = _phase1(request, recipe, device)
    seeded(recipe.seed)
    network = TfktNetwork(recipe.config)
    network.take_cnn(phase1)
    network.to(memory_format=torch.channels_last).to(device)
    learnt = [example for example in slices.sides.training if example.kind not in recipe.choosing]
    _log.info("phase 2: %d pictures to train, %d to validate", len(learnt), len(slices.sides.validation))
    choose = ranks_all(slices.sides.validation, recipe.choosing)
    for number, stage in enumerate(recipe.phase2, 1):
        # Only the last stage ends in a network to keep; the others end where the next begins.
        last = choose if number == len(recipe.phase2) else None
        fit(network, learnt, stage, last, request.out / f"phase2-{number}", recipe.seed + number - 1)
    release = _release(network, recipe, slices, learnt)
    return write_release(release, request.out / WEIGHTS)


class _Slices:
    """What phase 2 learns from, and what is known of it besides the scores."""

    def __init__(self, sides: Sides, told: str, curve: QuantileMap | None = None, ranges: Domain | None = None) -> None:
        self.sides = sides
        self.told = told
        self.curve = curve
        self.ranges = ranges


def _slices(request: TrainRequest, recipe: Recipe) -> _Slices:
    sources, folder = request.sources, request.out / PICTURES
    if sources.ldctiqac is not None:
        sides = ldctiqac_slices(sources.ldctiqac)
        return _Slices(sides, f"{len(sides.training)} slices of LDCTIQAC 2023 with the scores of five radiologists")
    if sources.slices is None:
        raise ValueError("phase 2 needs CT slices: LDCTIQAC 2023, or training slices to simulate pictures of")
    files = slice_files(sources.slices)
    make_pictures(files, range(recipe.phantoms), folder, recipe.picture_size, request.processes)
    pictures = read_pictures(folder)
    sides, curve = simulated(folder, pictures)
    learnt = [example for example in sides.training if example.kind not in recipe.choosing]
    told = (
        f"{len(learnt)} simulated pictures (dose, views, kernels, smoothing) of CT slices of "
        f"{len({example.group for example in learnt})} patients and phantoms, scored by VIF against the denoised slice "
        "on the readers' distribution of LDCTIQAC 2023"
    )
    return _Slices(sides, told, curve, learn_ranges(files, folder, pictures))


def _phase1(request: TrainRequest, recipe: Recipe, device: torch.device) -> Phase1Network:
    """F as phase 2 takes it up: trained on photographs, or as it begins when the recipe leaves phase 1 out."""
    seeded(recipe.seed)
    network = Phase1Network(recipe.config)
    if recipe.imagenet:
        begin_with_imagenet(network.cnn)
    if recipe.pretrain:
        sides = _photos(request, recipe)
        _log.info("phase 1: %d photographs to train, %d to validate", len(sides.training), len(sides.validation))
        network.to(memory_format=torch.channels_last).to(device)
        choose = ranks_all(sides.validation, ())
        fit(network, sides.training, recipe.phase1, choose, request.out / "phase1", recipe.seed)
    return network


def _photos(request: TrainRequest, recipe: Recipe) -> Sides:
    sources, folder = request.sources, request.out / PHOTOGRAPHS
    if sources.kadid is not None:
        return kadid_photos(sources.kadid)
    if sources.photos is None:
        raise ValueError("phase 1 needs KADID-10k or photographs; `pretrain: false` in the recipe leaves it out")
    make_photographs(photo_files(sources.photos), folder, recipe.photo_side, request.processes)
    return distorted_photos(folder, read_photographs(folder))


def _release(network: TfktNetwork, recipe: Recipe, slices: _Slices, learnt: Sequence[Example]) -> Release:
    held_out = some(slices.sides.validation, _MOST_TO_VALIDATE)
    predicted, truth = predict(network, held_out), np.asarray([example.score for example in held_out])
    evaluation = {"plcc": plcc(predicted, truth), "srcc": srcc(predicted, truth), "krcc": krcc(predicted, truth)}
    _log.info("validation: %s", evaluation)
    rows, groups = features_of(network, learnt)
    first = "first on photographs" if recipe.pretrain else "without a first phase on photographs"
    return Release(
        network=network,
        recipe=recipe,
        curve=slices.curve,
        ranges=slices.ranges,
        familiarity=Familiarity.fit(rows, groups),
        trained_on=f"{slices.told}; {first}",
        evaluation=evaluation,
    )
