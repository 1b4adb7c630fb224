"""The ranges that the training slices had: outside of them the network is not asked, and the reader is told why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from ctiqa_models.api import ReasonCode
from ctiqa_models.n2q.body import Features

_MARGIN = 0.1
_NOISIEST = 95
_WORDS = {
    "body_cm2": ("the body measures", "cm²", 1),
    "field_of_view_mm": ("the field of view is", "mm", 1),
    "tissue_fraction": ("the soft-tissue share of the body is", "%", 100),
    "noise_hu": ("the noise in soft tissue is", "HU", 1),
}
"""Each feature in words, its unit, and what it is multiplied with to be in that unit; the first that fails is told."""


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason to leave out a slice, or a volume: the feature, a sentence without its full stop, and its class."""

    feature: str
    sentence: str
    code: ReasonCode


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest value that counts as known."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Domain:
    """A range for every feature of a slice."""

    field_of_view_mm: Range
    body_cm2: Range
    tissue_fraction: Range
    noise_hu: Range

    def objection(self, features: Features) -> Objection | None:
        """Why a slice is out of the domain; None when it is in."""
        if features.body_cm2 == 0:
            return Objection("body", "no body was found in the slice", ReasonCode.TOO_LITTLE)
        for name, (what, unit, scale) in _WORDS.items():
            value, known = getattr(features, name), getattr(self, name)
            if value not in known:
                seen = f"{known.low * scale:.0f}–{known.high * scale:.0f}"
                sentence = f"{what} {value * scale:.0f} {unit}, and the model has only seen {seen} {unit}"
                return Objection(name, sentence, ReasonCode.OUT_OF_RANGE)
        return None

    def to_json(self) -> str:
        """For the metadata of a weights file."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Domain:
        """The domain that `to_json` wrote."""
        return Domain(**{name: Range(**limits) for name, limits in json.loads(text).items()})


def learn_domain(slices: Iterable[Features], clean: Iterable[Features], noisy: Iterable[Features]) -> Domain:
    """The ranges of the training slices as they came, a tenth wider.

    Noise runs from that of denoised and blurred slices (`clean`) to what all but a twentieth of the slices have at the
    lowest dose (`noisy`): beyond that, quality was seen to rise again. The share of soft tissue has no upper limit,
    because an abdomen without gas is nothing strange.
    """
    seen = list(slices)
    tissue = min(features.tissue_fraction for features in seen)
    return Domain(
        field_of_view_mm=_widened([features.field_of_view_mm for features in seen]),
        body_cm2=_widened([features.body_cm2 for features in seen]),
        tissue_fraction=Range(tissue * (1 - _MARGIN), 1.0),
        noise_hu=_widened(
            [min(features.noise_hu for features in clean), float(np.percentile([n.noise_hu for n in noisy], _NOISIEST))]
        ),
    )


def _widened(values: list[float]) -> Range:
    return Range(min(values) * (1 - _MARGIN), max(values) * (1 + _MARGIN))
