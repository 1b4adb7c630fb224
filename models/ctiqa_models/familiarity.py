"""How far a network's features of a picture lie from those of the training pictures: far ones are not judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ctiqa_models.api import FloatArray, ReasonCode
from ctiqa_models.n2q.domain import Objection

_LEAST_SPREAD = 0.1
"""Of the median spread: a feature that hardly moves in training is not given more weight than this."""
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Familiarity:
    """The cloud of the training pictures' features: a Gaussian along its widest directions, and nothing beside them.

    A picture is as far out as the worse of two distances says: the Mahalanobis distance inside the subspace of the
    principal components (Lee et al. 2018, arXiv:1807.03888, for one class), and the length of what the subspace does
    not explain, which is what gives away pictures of quite another kind. Tensors are float32 on the CPU.
    """

    mean: torch.Tensor
    """[d], of the training features."""
    spread: torch.Tensor
    """[d], their standard deviation, not too small; features are counted in it."""
    basis: torch.Tensor
    """[k, d] whitening rows: orthogonal, each divided by the deviation along it."""
    limits: torch.Tensor
    """[2], how long the whitened part and the rest may be."""

    @staticmethod
    def fit(
        features: torch.Tensor | FloatArray,
        groups: Sequence[str],
        kept: int = 24,
        shrinkage: float = 0.1,
        quantile: float = 0.97,
        margin: float = 1.1,
    ) -> Familiarity:
        """Learn from training features [n, d] whose rows belong to `groups` (patients), n ≥ 2.

        The limits come from patients that were left out in turn, because distances of the slices that made the cloud
        are too small: at the limit lies the `quantile` of those, times `margin`. A patient counts once there, however
        many slices he has. `kept` is the number of principal components, `shrinkage` (0–1) moves their variances
        towards the mean of all. Raises ValueError.
        """
        rows = torch.as_tensor(features, dtype=torch.float64)
        if rows.ndim != 2 or len(rows) != len(groups) or len(rows) < 2 or not bool(rows.isfinite().all()):
            raise ValueError(f"familiarity needs finite features [n, d] of n ≥ 2 groups: {list(rows.shape)}")
        parts = torch.empty(len(rows), 2, dtype=rows.dtype)
        for out in _left_out(groups):
            parts[out] = _cloud(rows[~out], kept, shrinkage).parts(rows[out])
        weights = _patients_alike(groups)
        alone = torch.stack([_quantile(part, weights, quantile) for part in parts.T]).clamp(min=_TINY)
        together = _quantile((parts / alone).amax(dim=1), weights, quantile).clamp(min=1.0)
        cloud = _cloud(rows, kept, shrinkage)
        return Familiarity(
            cloud.mean.float(), cloud.spread.float(), cloud.basis.float(), (alone * together * margin).float()
        )

    def distance(self, features: torch.Tensor | FloatArray) -> torch.Tensor:
        """How far each row of `features` [n, d] is from the training pictures: [n] in units of the limit, on the CPU.

        Up to 1 a picture is known; a feature that is no number is endlessly far.
        """
        rows = torch.as_tensor(features).detach().to(self.mean.device, self.mean.dtype)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"familiarity knows features [n, {len(self.mean)}], not {list(rows.shape)}")
        return torch.nan_to_num((self.parts(rows) / self.limits).amax(dim=1), nan=math.inf)

    def objection(self, distance: float) -> Objection | None:
        """Why a picture at this distance is left out; None when it is not."""
        if distance <= 1:
            return None
        times = f"{distance:.1f} times" if distance < 100 else "over a hundred times"
        sentence = f"to the network it is {times} as unlike the training pictures as a new patient's may be"
        return Objection("familiarity", sentence, ReasonCode.UNFAMILIAR)

    def to_tensors(self, prefix: str) -> dict[str, torch.Tensor]:
        """For a weights file; all are vectors, because `weights.save` narrows matrices to float16."""
        tensors = {"mean": self.mean, "spread": self.spread, "basis": self.basis.flatten(), "limits": self.limits}
        return {prefix + name: tensor for name, tensor in tensors.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, torch.Tensor], prefix: str) -> Familiarity:
        """What `to_tensors` wrote with this prefix; KeyError when it is not there."""
        mean, spread, basis, limits = (tensors[prefix + name] for name in ("mean", "spread", "basis", "limits"))
        return Familiarity(mean, spread, basis.reshape(-1, len(mean)), limits)

    def parts(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, 2]: length of the whitened part, and of what is left beside it, in spreads."""
        away = (rows - self.mean) / self.spread
        whitened = away @ self.basis.T
        # The rows of the basis are orthogonal, so dividing twice by their length projects.
        explained = (whitened / self.basis.square().sum(dim=1)) @ self.basis
        return torch.stack((whitened.norm(dim=1), (away - explained).norm(dim=1)), dim=1)


def _cloud(rows: torch.Tensor, kept: int, shrinkage: float) -> Familiarity:
    """The cloud of these rows [n, d], float64, its limits still 1."""
    mean, deviation = rows.mean(dim=0), rows.std(dim=0, correction=0)
    alive = deviation[deviation > _TINY * (1 + mean.abs())]
    least = _LEAST_SPREAD * float(alive.median()) if len(alive) else 1.0
    spread = deviation.clamp(min=least)
    away = (rows - mean) / spread
    _, lengths, directions = torch.linalg.svd(away, full_matrices=False)
    variances = lengths.square() / len(rows)
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / rows.shape[1]
    rank = int((variances > _TINY).sum())
    chosen = slice(0, min(kept, rank))
    basis = directions[chosen] / shrunk[chosen].sqrt()[:, None]
    return Familiarity(mean, spread, basis, torch.ones(2, dtype=rows.dtype))


def _left_out(groups: Sequence[str], folds: int = 8) -> list[torch.Tensor]:
    """Masks [n] of the rows to leave out, whole groups at a time; without groups to part, every row is one."""
    names = np.asarray(groups)
    if len(set(groups)) == 1:
        names = np.arange(len(groups)).astype(str)
    _, index = np.unique(names, return_inverse=True)
    fold = torch.from_numpy(index % folds)
    return [fold == number for number in range(int(fold.max()) + 1)]


def _patients_alike(groups: Sequence[str]) -> torch.Tensor:
    """A weight for every row, [n], so that each group weighs the same."""
    _, index, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return torch.from_numpy(1.0 / counts[index])


def _quantile(values: torch.Tensor, weights: torch.Tensor, quantile: float) -> torch.Tensor:
    """The smallest of `values` [n] up to which lies this share of the weight."""
    order = values.argsort()
    total = weights[order].cumsum(dim=0)
    place = int(torch.searchsorted(total, quantile * total[-1]))
    return values[order[min(place, len(order) - 1)]]
