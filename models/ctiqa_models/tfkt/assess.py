"""The TFKT assessor: a score from 0 (bad) to 4 (excellent) for each slice and the series, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ctiqa_models.api import (
    Assessment,
    FloatArray,
    HuVolume,
    Measurement,
    ModelIdentity,
    Progress,
    ReasonCode,
    Status,
)
from ctiqa_models.device import device_of
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.body import find_anatomy, measure
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.plausible import LEAST_SHARE, Gate, PlainGate, finite_hu, odd_shape, why_not
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.preprocess import network_input
from ctiqa_models.trunk.gate import TrunkGate

LOWEST, HIGHEST = 0.0, 4.0
_CHUNK = 4
_LOOKED_AT_AGAIN = 8
_VERDICT = "cannot be judged"


class Judge(Protocol):
    """Scores pictures, and says how far from the training pictures they are."""

    def judge(self, images: torch.Tensor) -> list[tuple[float, Objection | None]]:
        """For images [z, 1, 512, 512] as `preprocess.network_input` makes them: a score and an objection, if any."""
        ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """A network whose training nobody here knows: it scores whatever it is shown."""

    network: nn.Module

    def judge(self, images: torch.Tensor) -> list[tuple[float, Objection | None]]:
        """Scores without objections."""
        return [(float(score), None) for score in self.network(images)]


@dataclass(frozen=True, slots=True)
class Known:
    """A network and what its features of the training pictures were like."""

    network: TfktNetwork
    familiarity: Familiarity

    def judge(self, images: torch.Tensor) -> list[tuple[float, Objection | None]]:
        """Scores, with an objection to pictures that are too unlike the training's."""
        features = self.network.features(images)
        scores, distances = self.network.judge(features), self.familiarity.distance(features)
        return [
            (float(score), self.familiarity.objection(float(distance)))
            for score, distance in zip(scores, distances, strict=True)
        ]


@dataclass(slots=True)
class _Findings:
    """What is known of a volume so far, by the index of the slice."""

    scores: dict[int, float] = field(default_factory=dict)
    objections: dict[int, Objection] = field(default_factory=dict)
    deviations: list[float] = field(default_factory=list)


class Tfkt:
    """TFKT as an Assessor, whatever network scores the slices.

    `network` takes [z, 1, 512, 512] as `preprocess.network_input` makes them and answers with [z]. Measures
    `tfkt_score` per slice, clipped to 0–4 (0 bad, 1 poor, 2 fair, 3 good, 4 excellent; unit 1), and for the series its
    mean, which has the same name, `tfkt_spread` (standard deviation over slices), `tfkt_minimum` and `tfkt_median`; and
    `tfkt_uncertainty`, by how much (standard deviation) a score changes when the slice is flipped or turned, which
    changes no quality: the mean over up to eight slices. With another `identity` its name stands in place of `tfkt`.

    Slices to which the gate, the trunk gate (None: there is none) or the judge object are left out; when fewer than
    half remain the volume is not scored, nor when its slices have fewer rows than `smallest_side`. `device` is "auto"
    (a GPU when there is one), "cpu", "cuda" or any other that torch knows.
    """

    def __init__(
        self,
        network: nn.Module,
        identity: ModelIdentity,
        device: str = "auto",
        gate: Gate | None = None,
        judge: Judge | None = None,
        trunk: TrunkGate | None = None,
        smallest_side: int = 1,
    ) -> None:
        self._device = device_of(device)
        network.eval().to(self._device)
        self._judge: Judge = Unknown(network) if judge is None else judge
        self._identity = identity
        self._gate: Gate = PlainGate() if gate is None else gate
        self._trunk = trunk
        self._smallest_side = smallest_side

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
        for start in range(0, count, _CHUNK):
            self._assess_chunk(volume, start, again, findings)
            progress(min(start + _CHUNK, count) / count)
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

    def _assess_chunk(self, volume: HuVolume, start: int, again: set[int], findings: _Findings) -> None:
        """Look for a body in the slices from `start` on, and send those with one through the network."""
        hu = finite_hu(volume, start, _CHUNK)
        field_of_view_mm = volume.spacing_mm[1] * volume.hu.shape[1]
        accepted: list[int] = []
        for offset, small in enumerate(to_matrix(hu).numpy()):
            objection = self._objection(small, field_of_view_mm)
            if objection:
                findings.objections[start + offset] = objection
            else:
                accepted.append(offset)
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
                    findings.deviations.append(self._deviation(image, score))

    def _objection(self, small: FloatArray, field_of_view_mm: float) -> Objection | None:
        """Why a slice [256, 256] in HU is not shown to the network at all; None when it is."""
        anatomy = find_anatomy(small)
        objection = self._gate.objection(measure(small, anatomy, field_of_view_mm))
        if objection is None and self._trunk is not None:
            objection = self._trunk.objection(small, anatomy, field_of_view_mm)
        return objection

    @torch.inference_mode()
    def _judged(self, images: torch.Tensor) -> list[tuple[float, Objection | None]]:
        return self._judge.judge(images)

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
            series[f"{name}_uncertainty"] = np.mean(findings.deviations)
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
