"""What a training or an evaluation is asked to do; every model's `train.run` and `evaluate.run` take one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ctiqa_models.data.sources import Sources
from ctiqa_models.weights import WeightsFile, sha256_of


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
    """Measure `weights` (a file, a folder of several, or None: those that ship) on the validation side of `sources`.

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

    def files(self, shipped: WeightsFile) -> list[WeightsFile]:
        """The weights to measure: the file that was named, all of a folder by name, or what ships.

        Raises ValueError for a folder that holds none.
        """
        if self.weights is None:
            return [shipped]
        found = sorted(self.weights.glob("*.safetensors")) if self.weights.is_dir() else [self.weights]
        if not found:
            raise ValueError(f"{self.weights} holds no weights (.safetensors)")
        return [WeightsFile(file, sha256_of(file)) for file in found]
