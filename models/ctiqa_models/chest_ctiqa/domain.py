"""Whether a series is a chest like those in training: lungs, body and field of view, before any network is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ctiqa_models.api import ReasonCode
from ctiqa_models.chest_ctiqa.build import CHEST_SHARE, Build
from ctiqa_models.n2q.domain import Objection, Range

LEAST_CHEST_SLICES = 0.5
"""Share of the slices looked at in which there must be lung: abdomens show some at their upper end."""

_MARGIN = 0.15
_WORDS = {
    "field_of_view_mm": ("the field of view is", "mm"),
    "pixel_mm": ("a pixel is", "mm wide"),
    "body_cm2": ("the body measures", "cm²"),
}


@dataclass(frozen=True, slots=True)
class View:
    """Plain numbers of a series, by which it is compared with those in training."""

    field_of_view_mm: float
    pixel_mm: float
    body_cm2: float
    """Median over slices; 0 when most show no body."""
    chest_slices: float
    """Share of the slices that show lungs."""
    stranger: str = ""
    """What is strange about most slices; empty when most are of a trunk."""


def view_of(builds: Sequence[Build], field_of_view_mm: float, pixel_mm: float) -> View:
    """The view of a series from what was seen in some of its slices."""
    strange = [build.stranger for build in builds if build.stranger]
    return View(
        field_of_view_mm,
        pixel_mm,
        float(np.median([build.body_cm2 for build in builds])),
        float(np.mean([build.lung_share >= CHEST_SHARE for build in builds])),
        strange[0] if 2 * len(strange) > len(builds) else "",
    )


@dataclass(frozen=True, slots=True)
class Domain:
    """The ranges of the training series."""

    field_of_view_mm: Range
    pixel_mm: Range
    body_cm2: Range

    def objection(self, view: View) -> Objection | None:
        """Why a series is no chest like those in training; None when it is one."""
        if view.body_cm2 == 0:
            return Objection("body", "no body was found in most slices", ReasonCode.TOO_LITTLE)
        if view.chest_slices < LEAST_CHEST_SLICES:
            sentence = f"no chest: lungs were found in {view.chest_slices:.0%} of the slices".replace("%", " %")
            return Objection("lungs", sentence, ReasonCode.OTHER_ANATOMY)
        if view.stranger:
            sentence = f"most slices are refused; in the first of them, {view.stranger}"
            return Objection("trunk", sentence, ReasonCode.OTHER_ANATOMY)
        for name, (what, unit) in _WORDS.items():
            value, known = getattr(view, name), getattr(self, name)
            if value not in known:
                seen = f"{known.low:.3g}–{known.high:.3g} {unit}"
                sentence = f"{what} {value:.3g} {unit}, and the model has only seen {seen}"
                return Objection(name, sentence, ReasonCode.OUT_OF_RANGE)
        return None

    def to_json(self) -> str:
        """For the metadata of a weights file."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Domain:
        """The domain that `to_json` wrote."""
        return Domain(**{name: Range(**limits) for name, limits in json.loads(text).items()})


def learn_domain(views: Iterable[View]) -> Domain:
    """The ranges of the training series, wider by 15 % at both ends."""
    seen = list(views)

    def widened(values: Sequence[float]) -> Range:
        return Range(min(values) * (1 - _MARGIN), max(values) * (1 + _MARGIN))

    return Domain(
        field_of_view_mm=widened([view.field_of_view_mm for view in seen]),
        pixel_mm=widened([view.pixel_mm for view in seen]),
        body_cm2=widened([view.body_cm2 for view in seen]),
    )
