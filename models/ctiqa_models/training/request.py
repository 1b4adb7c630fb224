"""What a training or an evaluation is asked to do; every model's `train.run` and `evaluate.run` take one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ctiqa_models.data.sources import Sources


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Train from `sources` by `recipe` (None: the one that ships) into the run folder `out`.

    The folder gets the weights, a copy of the recipe, the log and a checkpoint, from which a run that was stopped goes
    on by itself when it is asked for again. `processes` simulate in parallel. `device` is "cpu", "cuda" or "auto".
    """

    sources: Sources
    out: Path
    recipe: Path | None = None
    device: str = "auto"
    processes: int = 1


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Measure `weights` (None: those that ship) on the validation side of `sources`.

    `against` names further metrics to put into the same tables ("pyiqa:niqe"). `cache` is a folder for what is costly
    to simulate again. `resamples` are those of the bootstrap, of patients.
    """

    sources: Sources
    weights: Path | None = None
    against: tuple[str, ...] = ()
    cache: Path | None = None
    device: str = "auto"
    processes: int = 1
    resamples: int = 1000
