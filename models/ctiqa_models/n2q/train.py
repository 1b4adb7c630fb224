"""Train N2Q: `ctiqa-node train n2q`. Simulate, fit in phases, learn what is familiar, write one file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from ctiqa_models.data.split import is_held_out
from ctiqa_models.device import device_of
from ctiqa_models.n2q.batches import Bases, collate, draw, loss_of, make_bases, make_lesson
from ctiqa_models.n2q.examples import simulate_phantoms, simulate_slices, slices_to_simulate
from ctiqa_models.n2q.known import learn_what_is_known
from ctiqa_models.n2q.recipe import DEFAULT_RECIPE, Phase, Recipe, read_recipe
from ctiqa_models.n2q.release import Release, write_release
from ctiqa_models.n2q.variants import MapNetwork, build
from ctiqa_models.training.request import TrainRequest
from ctiqa_models.training.run import TrainingRun, mixed_precision, seeded
from ctiqa_models.weights import WeightsFile

EXAMPLES = "examples"
"""Folder of simulated examples in a run folder or in a cache."""

_log = logging.getLogger(__name__)


def run(request: TrainRequest) -> WeightsFile:
    """Train as asked and write `n2q.safetensors` into the run folder; its SHA-256 belongs into the catalog.

    Raises ValueError without slices, and for a recipe that is none.
    """
    if request.sources.slices is None:
        raise ValueError("N2Q is trained on slices: name a folder of them")
    source = request.recipe or DEFAULT_RECIPE
    recipe = read_recipe(source)
    request.out.mkdir(parents=True, exist_ok=True)
    (request.out / "recipe.yaml").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    bases = training_bases(request.sources.slices, recipe, request.out / EXAMPLES, request.processes)
    network = fit(bases, recipe, request.out, device_of(request.device))
    domain, familiarity = learn_what_is_known(network, bases, recipe.row.channels)
    release = Release(network.cpu(), recipe, domain, familiarity, _trained_on(bases))
    file = write_release(release, request.out / "n2q.safetensors")
    _log.info("%s  %s", file.sha256, file.path)
    return file


def training_bases(slices: Path, recipe: Recipe, cache: Path, processes: int) -> Bases:
    """Slices of the patients that train, and phantoms, with their noise; two seconds each when not in the cache."""
    files = slices_to_simulate(slices, lambda patient: not is_held_out(patient), recipe.slices_per_patient)
    if not files:
        raise ValueError(f"every patient of {slices} validates, so that none is left to train on")
    examples = chain(simulate_slices(files, cache, processes), simulate_phantoms(recipe.phantoms, cache, processes))
    total = len(files) + recipe.phantoms
    return make_bases(track(examples, description="simulating", total=total))


def fit(bases: Bases, recipe: Recipe, out: Path, device: torch.device) -> MapNetwork:
    """Train a network from nothing, or go on where the run folder `out` ends; in evaluation mode, on `device`.

    Each phase starts with the weights of the one before, and with a seed of its own.
    """
    torch.manual_seed(recipe.seed)
    network = build(recipe.variant, recipe.norm, 0.0, recipe.head)
    network.to(device)
    network.to(memory_format=torch.channels_last)
    for number, phase in enumerate(recipe.phases, start=1):
        _fit_phase(network, phase, bases, replace(recipe, seed=recipe.seed + number), out / f"phase-{number}")
    return network.eval()


def _fit_phase(network: MapNetwork, phase: Phase, bases: Bases, recipe: Recipe, folder: Path) -> None:
    """Train for the epochs of a phase that its folder does not yet hold."""
    generator = seeded(recipe.seed)
    set_dropout(network.train(), phase.dropout)
    optimiser = torch.optim.Adam(network.parameters(), lr=phase.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(phase.epochs * phase.steps, 1))
    training = TrainingRun(folder, network, optimiser, schedule, generator)
    device = next(network.parameters()).device
    done = training.resume()
    for epoch in track(range(done, phase.epochs), description=folder.name, total=phase.epochs, completed=done):
        losses = []
        for chosen in _steps(bases, phase, recipe, generator):
            batch = collate([draw(bases, index, recipe, generator) for index in chosen])
            lesson = make_lesson(batch, recipe.row.channels, phase.crop, generator).to(device)
            with mixed_precision(device):
                seen = network.look(lesson.image)
            loss = loss_of(seen, lesson, recipe)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch publishes no type for it
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        training.end_epoch(epoch + 1, loss=float(np.mean(losses)), learning_rate=optimiser.param_groups[0]["lr"])


def set_dropout(network: torch.nn.Module, share: float) -> None:
    """Let every dropout of a network leave out this share.

    Dropout makes features vary more in training than in use, and the running variances of batch normalisation then do
    not fit (Li et al. 2019, doi:10.1109/CVPR.2019.00279); without a last phase that has none, maps are pale and biased.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share


def _steps(bases: Bases, phase: Phase, recipe: Recipe, generator: torch.Generator) -> Iterator[list[int]]:
    """Which bases each step of an epoch shows."""
    odds = _odds(bases, recipe.phantom_share)
    chosen = torch.multinomial(odds, phase.steps * phase.batch, replacement=True, generator=generator)
    yield from chosen.view(phase.steps, phase.batch).tolist()


def _odds(bases: Bases, phantom_share: float) -> torch.Tensor:
    """How likely each base is drawn; phantoms get their share.

    A patient with many slices counts for the square root of them, lest a few bodies be all that the network knows.
    """
    counts = Counter(bases.patients)
    odds = torch.tensor([counts[patient] ** -0.5 for patient in bases.patients])
    for kind, share in ((bases.real, 1 - phantom_share), (~bases.real, phantom_share)):
        if bool(kind.any()):
            odds[kind] *= share / float(odds[kind].sum())
    return odds


def _trained_on(bases: Bases) -> str:
    real = [patient for patient, is_real in zip(bases.patients, bases.real.tolist(), strict=True) if is_real]
    phantoms = len(bases) - len(real)
    return (
        f"{len(real)} original CT slices of {len(set(real))} patients and {phantoms} drawn anatomies, with the "
        "simulated noise of a virtual reference scanner whose exposure control holds the noise of full dose"
    )
