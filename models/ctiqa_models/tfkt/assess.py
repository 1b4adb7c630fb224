"""The TFKT assessor: a score from 0 (bad) to 4 (excellent) for each slice and the series, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from ctiqa_models.api import Assessment, HuVolume, Measurement, ModelIdentity, Progress, Status
from ctiqa_models.device import device_of
from ctiqa_models.n2q.body import find_anatomy, measure
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.plausible import LEAST_SHARE, Gate, PlainGate, finite_hu, odd_shape, why_not
from ctiqa_models.tfkt.preprocess import network_input

LOWEST, HIGHEST = 0.0, 4.0
_CHUNK = 4
_VERDICT = "cannot be judged"


@dataclass(slots=True)
class _Findings:
    """What is known of a volume so far, by the index of the slice."""

    scores: dict[int, float] = field(default_factory=dict)
    objections: dict[int, Objection] = field(default_factory=dict)


class Tfkt:
    """TFKT as an Assessor, whatever network scores the slices.

    `network` takes [z, 1, 512, 512] as `preprocess.network_input` makes them and answers with [z]. Measures
    `tfkt_score` per slice, clipped to 0–4 (0 bad, 1 poor, 2 fair, 3 good, 4 excellent; unit 1), and for the series its
    mean, which has the same name, `tfkt_spread` (standard deviation over slices), `tfkt_minimum` and `tfkt_median`.

    Slices to which the gate objects are left out; when fewer than half remain the volume is not scored. `device` is
    "auto" (a GPU when there is one), "cpu", "cuda" or any other that torch knows.
    """

    def __init__(
        self, network: nn.Module, identity: ModelIdentity, device: str = "auto", gate: Gate | None = None
    ) -> None:
        self._device = device_of(device)
        self._network = network.eval().to(self._device)
        self._identity = identity
        self._gate: Gate = PlainGate() if gate is None else gate

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and provenance."""
        return self._identity

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume, a few slices at a time; NOT_SCORED with a reason when there is too little to judge."""
        count = len(volume.hu)
        reason = odd_shape(volume)
        if reason:
            return self._not_scored(reason)
        findings = _Findings()
        for start in range(0, count, _CHUNK):
            self._assess_chunk(volume, start, findings)
            progress(min(start + _CHUNK, count) / count)
        if len(findings.scores) < max(1, LEAST_SHARE * count):
            return self._not_scored(why_not(findings.objections.values(), count, _VERDICT))
        return self._scored(findings)

    def _assess_chunk(self, volume: HuVolume, start: int, findings: _Findings) -> None:
        """Look for a body in the slices from `start` on, and send those with one through the network."""
        hu = finite_hu(volume, start, _CHUNK)
        field_of_view_mm = volume.spacing_mm[1] * volume.hu.shape[1]
        accepted: list[int] = []
        for offset, small in enumerate(to_matrix(hu).numpy()):
            objection = self._gate.objection(measure(small, find_anatomy(small), field_of_view_mm))
            if objection:
                findings.objections[start + offset] = objection
            else:
                accepted.append(offset)
        if not accepted:
            return
        for offset, score in zip(accepted, self._scores(hu[accepted]), strict=True):
            if np.isfinite(score):
                findings.scores[start + offset] = float(np.clip(score, LOWEST, HIGHEST))
            else:
                findings.objections[start + offset] = Objection("score", "the network's answer was not a number")

    @torch.inference_mode()
    def _scores(self, hu: torch.Tensor) -> list[float]:
        """The network's answers to slices [z, y, x] in HU."""
        answers: torch.Tensor = self._network(network_input(hu.to(self._device)))
        return [float(answer) for answer in answers]

    def _scored(self, findings: _Findings) -> Assessment:
        values = np.asarray(list(findings.scores.values()))
        series = {
            "tfkt_score": values.mean(),
            "tfkt_spread": values.std(),
            "tfkt_minimum": values.min(),
            "tfkt_median": np.median(values),
        }
        return Assessment(
            identity=self._identity,
            status=Status.SCORED,
            measurements=(
                *(Measurement(name, float(value), "1") for name, value in series.items()),
                *(Measurement("tfkt_score", score, "1", index) for index, score in findings.scores.items()),
            ),
            unscored_slices={index: objection.sentence for index, objection in findings.objections.items()},
        )

    def _not_scored(self, reason: str) -> Assessment:
        return Assessment(identity=self._identity, status=Status.NOT_SCORED, reason=reason)
