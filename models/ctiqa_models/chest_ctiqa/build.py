"""What is seen of the body in a slice: how big it is, how much of it is lung, and whether it is a trunk at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import ndimage

from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.trunk.gate import load_trunk

CHEST_SHARE = 0.1
"""Share of the body that must be lung for a slice to count as one of the chest; bowel gas and lung bases stay below."""

_LUNG_HU = (-960.0, -500.0)
_SMOOTHING = 5


@dataclass(frozen=True, slots=True)
class Build:
    """What is seen of the body in one slice."""

    body_cm2: float
    lung_share: float
    """Lung over body, 0–1; 0 without a body."""
    stranger: str = ""
    """Why it is not the trunk of an adult; empty when it is."""


def build_of(hu: torch.Tensor, pixel_mm: float) -> list[Build]:
    """The build in each of the square slices [z, n, n] in HU.

    Lung is what is enclosed by the body and lies between −960 and −500 HU when averaged over some millimetres: gas in
    bowel and airways is less dense.
    """
    field_of_view_mm = pixel_mm * hu.shape[-1]
    return [_build(one, field_of_view_mm) for one in to_matrix(hu)]


def _build(hu: torch.Tensor, field_of_view_mm: float) -> Build:
    values = hu.numpy()
    anatomy = find_anatomy(values)
    body = anatomy.body
    smooth = ndimage.uniform_filter(values, _SMOOTHING)
    lung = body & (smooth > _LUNG_HU[0]) & (smooth < _LUNG_HU[1])
    pixels = int(body.sum())
    pixel_cm2 = (field_of_view_mm / values.shape[0] / 10) ** 2
    objection = load_trunk().objection(values, anatomy, field_of_view_mm)
    return Build(
        body_cm2=pixels * pixel_cm2,
        lung_share=int(lung.sum()) / pixels if pixels else 0.0,
        stranger="" if objection is None else objection.sentence,
    )
