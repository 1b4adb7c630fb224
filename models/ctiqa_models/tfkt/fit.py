"""One phase of a training: epochs of random crops, and the epoch that does best on pictures it did not learn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rich.progress import Progress
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from ctiqa_models.evaluation.figures import Values, srcc
from ctiqa_models.tfkt.examples import Example, odds
from ctiqa_models.tfkt.recipe import Phase
from ctiqa_models.training.run import TrainingRun, mixed_precision, seeded

BEST = "best.pt"
_CHUNK = 4
_MOST_TO_CHOOSE = 400

T = TypeVar("T")
Choose = Callable[[nn.Module], float]


def fit(
    network: nn.Module, examples: Sequence[Example], phase: Phase, choose: Choose | None, folder: Path, seed: int
) -> None:
    """Train `network` by mean squared error, on the device that it is on, and leave it as it was after its best epoch.

    `choose` measures it after each epoch, more is better; None leaves it as it was after the last. A run that was
    stopped goes on from what lies in `folder`.
    """
    generator = seeded(seed)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=phase.learning_rate)
    schedule = LambdaLR(optimiser, _rate(phase))
    run = TrainingRun(folder, network, optimiser, schedule, generator)
    likelihood = odds(examples)
    with Progress() as progress:
        for epoch in range(run.resume(), phase.epochs):
            task = progress.add_task(f"{folder.name}, epoch {epoch + 1} of {phase.epochs}", total=phase.steps)
            chosen = torch.multinomial(likelihood, phase.steps * phase.batch, replacement=True, generator=generator)
            losses = []
            for indices in chosen.view(phase.steps, phase.batch).tolist():
                losses.append(_step(network, [examples[index] for index in indices], phase.crop, optimiser, generator))
                schedule.step()
                progress.advance(task)
            figures = {"loss": float(np.mean(losses))}
            if choose is not None:
                figures["choice"] = choose(network)
                _keep_if_best(network, figures["choice"], folder / BEST)
            run.end_epoch(epoch + 1, **figures)
    if choose is None:
        return
    kept = torch.load(folder / BEST, map_location="cpu", weights_only=True)
    network.load_state_dict(kept["network"])


def ranks_all(held_out: Sequence[Example], unseen_kinds: Sequence[str]) -> Choose:
    """The rank correlation over validation examples, half of them of kinds that no training sees.

    All are ranked together: a kind that is new must find its place among the others, not only have its own order.
    """
    unseen = [example for example in held_out if example.kind in unseen_kinds]
    others = [example for example in held_out if example.kind not in unseen_kinds]
    chosen = some(unseen) + some(others)
    truth = np.asarray([example.score for example in chosen])

    def choose(network: nn.Module) -> float:
        return float(np.nan_to_num(srcc(predict(network, chosen), truth), nan=-1.0))

    return choose


@torch.inference_mode()
def predict(network: nn.Module, examples: Sequence[Example]) -> Values:
    """What the network says of whole examples, [n]; the network is left in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    answers = []
    for start in range(0, len(examples), _CHUNK):
        images = torch.stack([example.load() for example in examples[start : start + _CHUNK]])[:, None]
        with mixed_precision(device):
            answers.append(network(images.to(device)).float().cpu())
    return torch.cat(answers).double().numpy()


def crop_and_turn(image: torch.Tensor, side: int, generator: torch.Generator) -> torch.Tensor:
    """A random square of `side` pixels of `image` [y, x], flipped and turned by quarters at random."""
    lots = torch.rand(4, generator=generator).tolist()
    row, column = (int(lot * (length - side + 1)) for lot, length in zip(lots, image.shape, strict=False))
    crop = image[row : row + side, column : column + side]
    crop = crop.flip(1) if lots[2] < 0.5 else crop
    return torch.rot90(crop, int(lots[3] * 4))


def _step(
    network: nn.Module,
    batch: Sequence[Example],
    side: int,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    device = next(network.parameters()).device
    network.train()
    images = torch.stack([crop_and_turn(example.load(), side, generator) for example in batch])[:, None]
    truth = torch.tensor([example.score for example in batch], device=device)
    with mixed_precision(device):
        answers = network(images.to(device).contiguous(memory_format=torch.channels_last))
    loss = functional.mse_loss(answers.float(), truth)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call] # torch publishes no type for it
    optimiser.step()
    return float(loss.detach())


def _rate(phase: Phase) -> Callable[[int], float]:
    """The share of the learning rate at each step."""
    steps = phase.epochs * phase.steps
    rising = max(1, round(phase.warm_up * steps))

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, steps - rising))

    return share


def _keep_if_best(network: nn.Module, value: float, file: Path) -> None:
    if file.exists() and torch.load(file, map_location="cpu", weights_only=True)["value"] >= value:
        return
    fresh = file.with_suffix(".new")
    torch.save({"value": value, "network": network.state_dict()}, fresh)
    fresh.replace(file)


def some(examples: Sequence[T], most: int = _MOST_TO_CHOOSE) -> list[T]:
    """At most so many, drawn at random but always the same; every n-th would meet one kind of picture alone."""
    drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))[:most]
    return [examples[index] for index in sorted(drawn.tolist())]
