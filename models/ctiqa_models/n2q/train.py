"""Train N2Q: `python -m ctiqa_models.n2q.train --data FOLDER --out FILE`.

FOLDER holds one .npz per axial slice: `hu` (Hounsfield units, [n, n]), `spacing_mm` (row, column), `patient`.
FILE becomes a safetensors file; its SHA-256, which the catalog wants, is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ctiqa_models import weights
from ctiqa_models.n2q.batches import LARGEST_BLUR, Bases, Batch, at_dose, blurred, collate, draw, loss_of, make_bases
from ctiqa_models.n2q.body import Features, find_anatomy, measure
from ctiqa_models.n2q.domain import Domain, learn_domain
from ctiqa_models.n2q.evaluate import Evaluation, evaluate
from ctiqa_models.n2q.examples import Examples, simulate_examples
from ctiqa_models.n2q.network import DOSE_CLASSES, N2qNetwork
from ctiqa_models.n2q.preprocess import network_input
from ctiqa_models.n2q.recipe import DEFAULT_RECIPE, Recipe, read_recipe
from ctiqa_models.n2q.release import Release, write_release

_log = logging.getLogger(__name__)


def split(patients: tuple[str, ...], validation_share: float) -> tuple[list[str], list[str]]:
    """Patients for training and for validation; a patient falls on the same side in every data set."""
    everyone = sorted(set(patients))
    held_out = [patient for patient in everyone if zlib.crc32(patient.encode()) % 1000 < validation_share * 1000]
    return [patient for patient in everyone if patient not in held_out], held_out


def batches(bases: Bases, patients: tuple[str, ...], recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """One epoch. A patient with many slices counts for the square root of them, lest a few bodies be all it knows."""
    counts = Counter(patients)
    odds = torch.tensor([counts[patient] ** -0.5 for patient in patients])
    steps = len(patients) // recipe.batch
    chosen = torch.multinomial(odds, steps * recipe.batch, replacement=True, generator=generator)
    for indices in chosen.view(steps, recipe.batch).tolist():
        yield collate([draw(bases, index, recipe, generator) for index in indices])


def fit(bases: Bases, patients: tuple[str, ...], recipe: Recipe, device: torch.device) -> N2qNetwork:
    """Train a network from nothing: first with dropout, then without.

    Dropout makes features vary more in training than in use, and the running variances of batch normalisation then do
    not fit (Li et al. 2019, doi:10.1109/CVPR.2019.00279). Without the second part the maps are pale and biased.
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    network = N2qNetwork(recipe.channels, recipe.norm, recipe.dropout).to(memory_format=torch.channels_last).to(device)
    fit_epochs(network, recipe.epochs, bases, patients, recipe, generator)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    fit_epochs(network, recipe.fine_tuning_epochs, bases, patients, recipe, generator)
    network.eval()
    return network


def fit_epochs(
    network: N2qNetwork,
    epochs: int,
    bases: Bases,
    patients: tuple[str, ...],
    recipe: Recipe,
    generator: torch.Generator,
) -> None:
    """Train for some epochs, with a learning rate that falls to zero."""
    device = next(network.parameters()).device
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = epochs * (len(patients) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    for epoch in range(epochs):
        losses = []
        for batch in batches(bases, patients, recipe, generator):
            image = network_input(batch.hu.to(device), recipe.channels)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                painted, logits = network(image.contiguous(memory_format=torch.channels_last))
            truth = Batch(batch.hu, batch.quality.to(device), batch.dose_class.to(device))
            loss = loss_of(painted.float(), logits.float(), truth, recipe.dose_weight)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch publishes no type for it
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        _log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, np.mean(losses))


def domain_of(bases: Bases, fov_mm: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Domain:
    """The ranges that these slices have, as they came, most blurred, and at the lowest dose."""

    def features(hu: torch.Tensor, index: int) -> Features:
        return measure(hu.numpy(), find_anatomy(hu.numpy()), float(fov_mm[index]))

    blurry = [blurred(bases, index, LARGEST_BLUR).picture for index in range(len(fov_mm))]
    noisy = [at_dose(bases, index, 0, DOSE_CLASSES[0], denoised=False).picture for index in range(len(fov_mm))]
    return learn_domain(
        slices=[features(hu, index) for index, hu in enumerate(bases.original)],
        clean=[features(hu, index) for index, hu in enumerate(blurry)],
        noisy=[features(hu, index) for index, hu in enumerate(noisy)],
    )


def train(
    examples: Examples, recipe: Recipe, out: Path, device: torch.device
) -> tuple[weights.WeightsFile, Evaluation]:
    """Train on most patients, measure on the others, and write the weights with all that is needed to use them."""
    known, held_out = split(examples.patients, recipe.validation_share)
    training, validation = examples.of(known), examples.of(held_out)
    _log.info(
        "%d slices of %d patients to train, %d of %d to validate",
        *map(len, (training.patients, known, validation.patients, held_out)),
    )
    bases = make_bases(training)
    network = fit(bases, training.patients, recipe, device)
    release = Release(
        network=network,
        recipe=recipe,
        domain=domain_of(bases, training.fov_mm),
        trained_on=f"{len(training.patients)} original CT slices of {len(known)} patients, simulated quantum noise",
        evaluation=evaluate(network, make_bases(validation), recipe.channels),
    )
    return write_release(release, out), release.evaluation


def _examples(data: Path, cache: Path | None) -> Examples:
    """Simulate, or take what an earlier run kept."""
    if cache is not None and cache.exists():
        return Examples.load(cache)
    examples = simulate_examples(data, processes=os.cpu_count() or 1)
    if cache is not None:
        examples.save(cache)
    return examples


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ctiqa_models.n2q.train", description="Train N2Q.")
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz slices: hu, spacing_mm, patient")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--recipe", type=Path, default=DEFAULT_RECIPE, help="YAML; default: the shipped recipe")
    parser.add_argument("--cache", type=Path, help="keep the simulated noise here (half a gigabyte for 300 slices)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = read_recipe(arguments.recipe)
    examples = _examples(arguments.data, arguments.cache)
    file, result = train(examples, recipe, arguments.out, torch.device(arguments.device))
    _log.info("%s", json.dumps(asdict(result), indent=2))
    _log.info("%s  %s", file.sha256, file.path)


if __name__ == "__main__":
    main()
