"""The folder of a training: what a run that was stopped finds there."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from ctiqa_models.training.run import CHECKPOINT, LOG, TrainingRun, seeded


def begin(folder: Path) -> tuple[TrainingRun, torch.nn.Linear]:
    generator = seeded(1)
    network = torch.nn.Linear(2, 1)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1)
    return TrainingRun(folder, network, optimiser, schedule, generator), network


def epochs(folder: Path) -> list[str]:
    with (folder / LOG).open(newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


def test_an_epoch_that_was_logged_but_not_kept_comes_again_and_stands_once_in_the_log(tmp_path: Path) -> None:
    run, network = begin(tmp_path)
    assert run.resume() == 0
    run.end_epoch(1, loss=0.5)
    kept = (tmp_path / CHECKPOINT).read_bytes()
    weight = network.weight.detach().clone()
    torch.nn.init.zeros_(network.weight)
    run.end_epoch(2, loss=0.4)
    (tmp_path / CHECKPOINT).write_bytes(kept)  # as if it had been stopped between log and checkpoint

    again, network = begin(tmp_path)
    assert again.resume() == 1
    assert torch.equal(network.weight, weight)
    assert epochs(tmp_path) == ["1"]
    again.end_epoch(2, loss=0.3)
    assert epochs(tmp_path) == ["1", "2"]


def test_without_a_checkpoint_the_log_begins_again(tmp_path: Path) -> None:
    run, _ = begin(tmp_path)
    run.end_epoch(1, loss=0.5)
    (tmp_path / CHECKPOINT).unlink()
    again, _ = begin(tmp_path)
    assert again.resume() == 0
    assert epochs(tmp_path) == []
