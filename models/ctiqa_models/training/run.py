"""One training run on disk: its log, its checkpoint, its seeds."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

LOG = "log.csv"
CHECKPOINT = "checkpoint.pt"


class TrainingRun:
    """The folder of one phase of a training: `log.csv` with a row an epoch, `checkpoint.pt` to go on from.

    Holds the network, its optimiser, its schedule and the generator that draws the pictures: all that a run needs to go
    on as if it had never been stopped.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
    ) -> None:
        self._folder = folder
        self._network = network
        self._optimiser = optimiser
        self._schedule = schedule
        self._generator = generator
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> int:
        """Take up the checkpoint, if there is one, and answer with the epochs that are done.

        Rows of the log that the checkpoint does not know are taken out: their epochs come again.
        """
        file = self._folder / CHECKPOINT
        if not file.exists():
            self._cut_log(0)
            return 0
        kept = torch.load(file, map_location="cpu", weights_only=True)
        self._network.load_state_dict(kept["network"])
        self._optimiser.load_state_dict(kept["optimiser"])
        self._schedule.load_state_dict(kept["schedule"])
        self._generator.set_state(kept["generator"])
        torch.set_rng_state(kept["torch"])
        self._cut_log(int(kept["epochs"]))
        return int(kept["epochs"])

    def end_epoch(self, epochs_done: int, **figures: float) -> None:
        """Log the epoch and keep the checkpoint, which replaces the last one at once or not at all."""
        self._log({"epoch": epochs_done, **figures})
        kept = {
            "epochs": epochs_done,
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
            "torch": torch.get_rng_state(),
        }
        fresh = self._folder / f"{CHECKPOINT}.new"
        torch.save(kept, fresh)
        fresh.replace(self._folder / CHECKPOINT)

    def _cut_log(self, epochs_done: int) -> None:
        file = self._folder / LOG
        if not file.exists():
            return
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            kept = [row for row in reader if int(row["epoch"]) <= epochs_done]
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=reader.fieldnames or ["epoch"])
            writer.writeheader()
            writer.writerows(kept)

    def _log(self, row: dict[str, float]) -> None:
        file = self._folder / LOG
        is_new = not file.exists()
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)


def seeded(seed: int) -> torch.Generator:
    """Seed everything that draws at random, and answer with a generator of that seed for the pictures."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


@contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions in bfloat16, sums in float32: half the time on a CPU or GPU that has it."""
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield
