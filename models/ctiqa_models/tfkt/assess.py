"""The TFKT assessor: a score from 0 (bad) to 4 (excellent) for each slice and the series, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from ctiqa_models.api import (
    Assessment,
    HuVolume,
    Measurement,
    ModelIdentity,
    Progress,
    ReasonCode,
    Status,
)
from ctiqa_models.compiled import compile_network
from ctiqa_models.device import device_of, slices_at_once
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.looks import Gates
from ctiqa_models.memory import Batch
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.plausible import LEAST_SHARE, PlainGate, finite_hu, odd_shape, why_not
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.preprocess import SIZE, network_input

LOWEST, HIGHEST = 0.0, 4.0
_LOOKED_AT_AGAIN = 8
_VERDICT = "cannot be judged"


class _Scores(nn.Module):
    """A network whose training nobody here knows: it scores whatever it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """Scores [z]."""
        return (self.network(images),)


class _ScoresAndFeatures(nn.Module):
    """A network whose features of the training pictures are known."""

    def __init__(self, network: TfktNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [z] and features [z, n]."""
        features = self.network.features(images)
        return self.network.judge(features), features


@dataclass(slots=True)
class _Findings:
    """What is known of a volume so far, by the index of the slice."""

    scores: dict[int, float] = field(default_factory=dict)
    objections: dict[int, Objection] = field(default_factory=dict)
    deviations: dict[int, float] = field(default_factory=dict)


class Tfkt:
    """TFKT as an Assessor, whatever network scores the slices.

    `network` takes [z, 1, 512, 512] as `preprocess.network_input` makes them and answers with [z]. Measures
    `tfkt_score` per slice, clipped to 0–4 (0 bad, 1 poor, 2 fair, 3 good, 4 excellent; unit 1), and for the series its
    mean, which has the same name, `tfkt_spread` (standard deviation over slices), `tfkt_minimum` and `tfkt_median`; and
    `tfkt_uncertainty`, by how much (standard deviation) a score changes when the slice is flipped or turned, which
    changes no quality: the mean over up to eight slices. With another `identity` its name stands in place of `tfkt`.

    Slices to which the gates object, or whose features are unfamiliar (`familiarity`; `network` is a TfktNetwork then),
    are left out; when fewer than half remain the volume is not scored, nor when its slices have fewer rows than
    `smallest_side`. `device` is "auto" (a GPU when there is one), "cpu", "cuda" or any other that torch knows;
    `batch` as in `catalog.assessors`.
    """

    def __init__(
        self,
        network: nn.Module,
        identity: ModelIdentity,
        device: str = "auto",
        gates: Gates | None = None,
        familiarity: Familiarity | None = None,
        smallest_side: int = 1,
        batch: int | None = None,
    ) -> None:
        self._device = device_of(device)
        self._network = compile_network(_judging(network, familiarity), (1, SIZE, SIZE), self._device)
        self._identity = identity
        self._gates = Gates(PlainGate()) if gates is None else gates
        self._familiarity = familiarity
        self._smallest_side = smallest_side
        self._batch = Batch(slices_at_once(self._device, batch))

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and provenance."""
        return self._identity

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume, a few slices at a time; NOT_SCORED with a reason when there is too little to judge."""
        count = len(volume.hu)
        odd = odd_shape(volume) or self._too_small(volume)
        if odd:
            return self._not_scored(odd)
        findings = _Findings()
        again = set(np.linspace(0, count - 1, min(count, _LOOKED_AT_AGAIN)).round().astype(int).tolist())
        self._batch.over(count, lambda start, size: self._assess_some(volume, start, size, again, findings), progress)
        if len(findings.scores) < max(1, LEAST_SHARE * count):
            return self._not_scored(why_not(findings.objections.values(), count, _VERDICT))
        return self._scored(findings)

    def _too_small(self, volume: HuVolume) -> Objection | None:
        """Why the slices have too few rows: enlarged, they look smoothed."""
        rows, columns = volume.hu.shape[1:]
        if rows >= self._smallest_side:
            return None
        why = f"the slices have {rows}×{columns} pixels; with fewer than {self._smallest_side} rows they look smoothed"
        return Objection("rows", why, ReasonCode.SMALL_MATRIX)

    def _assess_some(self, volume: HuVolume, start: int, size: int, again: set[int], findings: _Findings) -> None:
        """Look for a body in `size` slices from `start` on, and send those with one through the network."""
        hu = finite_hu(volume, start, size)
        _, objections = self._gates.look(volume, start, to_matrix(hu).numpy())
        findings.objections |= {start + offset: one for offset, one in enumerate(objections) if one is not None}
        accepted = [offset for offset, one in enumerate(objections) if one is None]
        if not accepted:
            return
        images = network_input(hu[accepted].to(self._device))
        for offset, image, (score, objection) in zip(accepted, images, self._judged(images), strict=True):
            index = start + offset
            if objection:
                findings.objections[index] = objection
            elif not np.isfinite(score):
                why = "the network's answer was not a number"
                findings.objections[index] = Objection("score", why, ReasonCode.NO_NUMBER)
            else:
                findings.scores[index] = float(np.clip(score, LOWEST, HIGHEST))
                if index in again:
                    findings.deviations[index] = self._deviation(image, score)

    def _judged(self, images: torch.Tensor) -> list[tuple[float, Objection | None]]:
        """Of images [z, 1, 512, 512] a score, and why the network does not know their like, if so."""
        scores, *features = self._network(images)
        if self._familiarity is None:
            return [(float(score), None) for score in scores]
        distances = self._familiarity.distance(features[0].float().cpu())
        return [
            (float(score), self._familiarity.objection(float(distance)))
            for score, distance in zip(scores, distances, strict=True)
        ]

    def _deviation(self, image: torch.Tensor, score: float) -> float:
        """Standard deviation of the scores of a slice [1, 512, 512] as it is, flipped both ways, and turned."""
        turned = torch.stack([image.flip(1), image.flip(2), torch.rot90(image, 1, (1, 2))])
        scores = [score, *(score for score, _ in self._judged(turned))]
        return float(np.clip(scores, LOWEST, HIGHEST).std())

    def _scored(self, findings: _Findings) -> Assessment:
        name = self._identity.name
        values = np.asarray(list(findings.scores.values()))
        series = {
            f"{name}_score": values.mean(),
            f"{name}_spread": values.std(),
            f"{name}_minimum": values.min(),
            f"{name}_median": np.median(values),
        }
        if findings.deviations:
            series[f"{name}_uncertainty"] = np.mean(list(findings.deviations.values()))
        return Assessment(
            identity=self._identity,
            status=Status.SCORED,
            measurements=(
                *(Measurement(measure, float(value), "1") for measure, value in series.items()),
                *(Measurement(f"{name}_score", score, "1", index) for index, score in findings.scores.items()),
            ),
            unscored_slices={index: objection.sentence for index, objection in findings.objections.items()},
        )

    def _not_scored(self, objection: Objection) -> Assessment:
        return Assessment.not_scored(self._identity, objection.code, objection.sentence)


def _judging(network: nn.Module, familiarity: Familiarity | None) -> nn.Module:
    if familiarity is None:
        return _Scores(network)
    assert isinstance(network, TfktNetwork)
    return _ScoresAndFeatures(network)
