"""Volumes that no model of this package may judge: other parts of the body, other modalities, no picture of a body.

They are what the in-domain verdict is measured with, and are made to be hard: about half of them are as large as a
trunk, whatever they show, so that their size alone gives nothing away.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ctiqa_models.api import FloatArray, HuVolume
from ctiqa_models.simulation import strangers_pictures as pictures
from ctiqa_models.simulation.kernel_noise import kernel_noise
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.strangers_anatomy import Frame, Painter, head, neck, thighs

_PADDING_HU, _HIGHEST_HU = -1024.0, 3071.0


class Kind(StrEnum):
    """What a stranger is."""

    HEAD = "head CT"
    NECK = "neck CT"
    LIMBS = "limb CT"
    TEST_OBJECT = "water or test phantom"
    LOCALIZER = "localizer"
    PHOTOGRAPH = "photograph"
    MR_HEAD = "MR of the head"
    MR_TRUNK = "MR of the trunk"
    NOISE = "noise"


_PAINTERS: dict[Kind, Painter] = {
    Kind.HEAD: head,
    Kind.NECK: neck,
    Kind.LIMBS: thighs,
    Kind.MR_HEAD: head,
    Kind.TEST_OBJECT: lambda frame, _height, rng: pictures.test_object(frame, rng),
    Kind.NOISE: lambda frame, _height, rng: pictures.only_noise(frame, rng),
}
_OWN_FIELD_MM = {Kind.HEAD: 240.0, Kind.NECK: 240.0, Kind.MR_HEAD: 240.0}
_SPANS_MM = (320.0, 440.0)
_ENLARGED = (1.6, 2.1)
"""By so much heads and necks grow, to 500–900 cm² for a head: as much as a trunk has."""


def stranger(kind: Kind, seed: int, slices: int = 3, size: int = 256, picture: FloatArray | None = None) -> HuVolume:
    """The stranger that `seed` stands for: HU [slices, size, size], whole numbers from −1024 to 3071.

    Those of odd seeds are drawn as large as a trunk, in the field of view of one. CT has the noise of 3–30 HU of some
    kernel. `picture`, grey 0–1 [y, x], is what a photograph shows; without one it is a made-up texture.
    """
    rng = np.random.default_rng((seed, list(Kind).index(kind)))
    frame = _frame(kind, size, large=seed % 2 == 1, rng=rng)
    hu = _draw(kind, frame, seed, slices, picture, rng)
    pixel_mm = frame.field_of_view_mm / size
    whole = np.rint(np.clip(hu, _PADDING_HU, _HIGHEST_HU)).astype(np.float32)
    return HuVolume(whole, (float(rng.uniform(1.0, 5.0)), pixel_mm, pixel_mm))


def _frame(kind: Kind, size: int, *, large: bool, rng: np.random.Generator) -> Frame:
    if kind not in _OWN_FIELD_MM:
        return Frame(size, rng.uniform(*_SPANS_MM), 1.0)
    if large:
        return Frame(size, rng.uniform(380.0, 460.0), rng.uniform(*_ENLARGED))
    return Frame(size, _OWN_FIELD_MM[kind] if rng.random() < 0.5 else rng.uniform(*_SPANS_MM), 1.0)


def _draw(
    kind: Kind, frame: Frame, seed: int, slices: int, picture: FloatArray | None, rng: np.random.Generator
) -> FloatArray:
    if kind is Kind.LOCALIZER:
        return pictures.localizer(frame, slices, seed, rng)
    if kind is Kind.MR_TRUNK:
        return pictures.magnetic_resonance(anatomy(seed, slices, frame.size, frame.field_of_view_mm), rng)
    if kind is Kind.PHOTOGRAPH:
        shown = pictures.texture_picture(rng, 256) if picture is None else picture
        return np.stack([pictures.photograph(shown, frame, rng) for _ in range(slices)])
    shape = np.random.default_rng(seed)
    heights = (np.arange(slices) + shape.uniform(0.2, 0.8, slices)) / slices
    hu = np.stack([_PAINTERS[kind](frame, float(height), rng) for height in heights])
    if kind is Kind.MR_HEAD:
        return pictures.magnetic_resonance(hu, rng)
    deviation = float(np.exp(rng.uniform(np.log(3.0), np.log(30.0))))
    return hu + np.stack([kernel_noise(rng, frame.size, deviation) for _ in range(slices)])
