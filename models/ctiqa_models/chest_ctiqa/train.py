"""Train Chest CT-IQA: simulate the series once, then one readable loop."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ctiqa_models.chest_ctiqa.batches import Batch, batches, epoch, odds_of
from ctiqa_models.chest_ctiqa.domain import learn_domain, view_of
from ctiqa_models.chest_ctiqa.examples import Example, load_examples, make_examples
from ctiqa_models.chest_ctiqa.network import ChestNetwork, Task, loss_of
from ctiqa_models.chest_ctiqa.recipe import DEFAULT_RECIPE, Recipe, read_recipe
from ctiqa_models.chest_ctiqa.release import WEIGHTS_NAME, Release, network_of, write_release
from ctiqa_models.data.split import is_held_out
from ctiqa_models.device import device_of
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.training.request import TrainRequest
from ctiqa_models.training.run import TrainingRun, mixed_precision, seeded
from ctiqa_models.weights import WeightsFile

_log = logging.getLogger(__name__)

_KNOWN_SHARE, _MARGIN = 0.99, 1.8
"""Wide: most patients in training are phantoms, whose features lie close together, and the trunk gate stands before."""

EXAMPLES = "examples"
"""The folder within a run's in which the simulated series are kept."""


def run(request: TrainRequest) -> WeightsFile:
    """Train by the request, and write `chest_ctiqa.safetensors` into its run folder.

    Needs `sources.slices` or nothing: without real slices phantoms alone are shown. Raises ValueError for a recipe or
    slices that cannot be read.
    """
    recipe_file = request.recipe or DEFAULT_RECIPE
    recipe = read_recipe(recipe_file)
    request.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recipe_file, request.out / "recipe.yaml")
    folder = request.out / EXAMPLES
    make_examples(folder, request.sources.slices, recipe, request.processes)
    training, validation = divide(load_examples(folder, recipe.shape))
    if not training:
        raise ValueError("all patients validate and none trains; give more slices or phantoms")
    network = fit(training, validation, recipe, request.out, device_of(request.device))
    views = [view_of(one.builds, one.field_of_view_mm, one.pixel_mm) for one in training]
    release = Release(network, recipe, learn_domain(views), _familiarity(network, training, recipe), _told(training))
    return write_release(release, request.out / WEIGHTS_NAME)


def divide(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Series of the patients (and phantoms) that train, and of those that validate."""
    held_out = [one for one in examples if is_held_out(one.patient)]
    return [one for one in examples if not is_held_out(one.patient)], held_out


def fit(
    training: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    folder: Path,
    device: torch.device,
) -> ChestNetwork:
    """Train a network, or go on where a run in `folder` was stopped; on the CPU and in evaluation mode at the end."""
    generator = seeded(recipe.seed)
    network = network_of(recipe)
    scale(network, training)
    network.to(device).to(memory_format=torch.channels_last_3d)  # a third faster on a CPU
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    schedule = _schedule(optimiser, recipe)
    kept = TrainingRun(folder, network, optimiser, schedule, generator)
    odds = odds_of(training, recipe.real_weight, recipe.lung_weight)
    for done in range(kept.resume(), recipe.epochs):
        begin = time.monotonic()
        _set_dropout(network, 0.0 if done >= recipe.epochs - recipe.dropout_free_epochs else recipe.dropout)
        shown = epoch(training, odds, recipe.shape, recipe.batch, generator)
        loss = float(np.mean([_step(network, batch, optimiser, recipe, device) for batch in shown]))
        schedule.step()
        figures = _figures(network, validation, recipe, device)
        kept.end_epoch(done + 1, loss=loss, seconds=time.monotonic() - begin, **figures)
        told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        _log.info("epoch %d of %d: loss %.3f; validation: %s", done + 1, recipe.epochs, loss, told)
    return network.cpu().eval()


def scale(network: ChestNetwork, training: Sequence[Example]) -> None:
    """Start the numbers' heads at the mean and deviation of the training series."""
    for task, values in ((Task.SNR, [one.snr for one in training]), (Task.BRISQUE, [one.brisque for one in training])):
        known = np.concatenate(values)
        known = known[np.isfinite(known)]
        network.set_scale(task, float(known.mean()), float(known.std()))


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=recipe.step_gamma)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)


def _set_dropout(network: ChestNetwork, share: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def _step(
    network: ChestNetwork, batch: Batch, optimiser: torch.optim.Optimizer, recipe: Recipe, device: torch.device
) -> float:
    network.train()
    with _precision(device):
        told = network(batch.image.to(device, memory_format=torch.channels_last_3d))
    loss = _loss(network, told, batch, recipe, device)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call] # torch publishes no type for it
    optimiser.step()
    return float(loss.detach())


def _precision(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 on a GPU; float32 on a CPU, where torch 2.15's gradient of a Conv3d in bfloat16 is now and then NaN."""
    return nullcontext() if device.type == "cpu" else mixed_precision(device)


def _loss(
    network: ChestNetwork, told: dict[Task, torch.Tensor], batch: Batch, recipe: Recipe, device: torch.device
) -> torch.Tensor:
    truth = {task: values.to(device) for task, values in batch.truth.items()}
    scales = {task: network.deviation(task) for task in Task} if recipe.standardised_loss else None
    return loss_of(told, truth, recipe.weights, scales)


@torch.inference_mode()
def _figures(
    network: ChestNetwork, validation: Sequence[Example], recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """Accuracy of classes and RMSE of numbers on the validation series; NaN where there are none."""
    network.eval()
    right: dict[Task, list[float]] = {task: [] for task in recipe.tasks}
    for batch in batches(validation, recipe.shape, recipe.batch):
        with _precision(device):
            told = network(batch.image.to(device))
        for task, out in told.items():
            truth = batch.truth[task]
            known = truth >= 0 if task.is_class else truth.isfinite()
            found = out.cpu()
            hit = found.argmax(dim=1) == truth if task.is_class else (found - truth) ** 2
            right[task] += hit[known].float().tolist()
    means = {task: float(np.mean(values)) if values else float("nan") for task, values in right.items()}
    return {str(task): mean if task.is_class else mean**0.5 for task, mean in means.items()}


@torch.inference_mode()
def _familiarity(network: ChestNetwork, training: Sequence[Example], recipe: Recipe) -> Familiarity:
    """How the training series look to the network, whole and by their first slice alone."""
    first = [replace(one, maps=one.maps[:, :1], snr=one.snr[:1], brisque=one.brisque[:1]) for one in training]
    shown = [*training, *first]
    seen = [network.look(batch.image)[1] for batch in batches(shown, recipe.shape, recipe.batch)]
    patients = [one.patient for one in shown]
    return Familiarity.fit(torch.cat(seen), patients, quantile=_KNOWN_SHARE, margin=_MARGIN)


def _told(training: Sequence[Example]) -> str:
    patients = {one.patient for one in training}
    made_up = sum(name.startswith("phantom-") for name in patients)
    return (
        f"{len(training)} series of {made_up} phantoms and of chests of {len(patients) - made_up} patients, scanned on "
        "a virtual reference scanner at 30 and 50 mAs, or as they came"
    )
