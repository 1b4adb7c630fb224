"""The words that every model of this package speaks: a volume in Hounsfield units in, an assessment out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ctiqa_models.looks import Look

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class HuVolume:
    """A CT series in Hounsfield units.

    `hu` is float32 [z, y, x] with air outside the reconstruction circle at −1000 or lower; rows and columns follow the
    image as stored. `spacing_mm` is (z, y, x); z is the distance between slice positions.
    """

    hu: FloatArray
    spacing_mm: tuple[float, float, float]
    looks: dict[int, Look] = field(default_factory=dict, compare=False, repr=False)
    """What was found out about slices so far, by index, for all models to use."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who made a number: what a reader needs to judge it and to get it again."""

    name: str
    version: str
    summary: str
    """One sentence: what is computed, and from which paper."""
    trained_on: str
    """What the weights were trained on, in one sentence; "not trained" for a classical measure."""
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number. `slice_index` counts along z of the volume; None means the whole series."""

    name: str
    value: float
    unit: str
    """A UCUM code: `1` for a ratio or index, `[hnsf'U]` for Hounsfield units."""
    slice_index: int | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """One class out of several, with its probability (0–1), for the whole series."""

    name: str
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class QualityMaps:
    """Pixel-wise quality of every slice: uint8 [z, h, w], 0 the worst and 255 the best, over the slice's full extent.

    h and w may be smaller than the slice's rows and columns; a viewer stretches the map over the slice.
    """

    name: str
    values: ByteArray


class Status(StrEnum):
    """Whether a model gave numbers."""

    SCORED = "scored"
    NOT_SCORED = "not_scored"


class ReasonCode(StrEnum):
    """Why a model gave no number, for programs; the sentence beside it is for people."""

    TOO_LITTLE = "too-little"
    """No body, or too little of it or of its soft tissue, in the images."""
    SMALL_MATRIX = "small-matrix"
    """The slices have too few pixels."""
    OUT_OF_RANGE = "out-of-range"
    """Shape, size, composition or noise of the slices lies beyond what the model was trained on."""
    OTHER_ANATOMY = "other-anatomy"
    """Another part of the body than the model was trained on, or none."""
    UNFAMILIAR = "unfamiliar"
    """To the network the images look like nothing that it was trained on."""
    NO_WEIGHTS = "no-weights"
    """The model's weights are missing, or not the right ones."""
    NO_NUMBER = "no-number"
    """What the model answered is not a number."""
    OTHER = "other-reason"
    """None of these; the sentence tells."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one assessor says of one volume.

    With NOT_SCORED, `reason` says why in words and `reason_code` for programs, and nothing else is filled. ValueError
    for one of the two without the other, or without NOT_SCORED.
    """

    identity: ModelIdentity
    status: Status
    reason: str | None = None
    measurements: tuple[Measurement, ...] = ()
    classifications: tuple[Classification, ...] = ()
    maps: QualityMaps | None = None
    unscored_slices: dict[int, str] = field(default_factory=dict)
    """Slices left out of the numbers above: index along z, and why."""
    reason_code: ReasonCode | None = None

    def __post_init__(self) -> None:
        """Hold status, reason and its code together."""
        refused = self.status is Status.NOT_SCORED
        if (self.reason is not None) is not refused or (self.reason_code is not None) is not refused:
            raise ValueError(f"{self.identity.name} is {self.status} with reason {self.reason_code}: {self.reason}")

    @staticmethod
    def not_scored(identity: ModelIdentity, code: ReasonCode, reason: str) -> Assessment:
        """The answer of a model that gives no number."""
        return Assessment(identity, Status.NOT_SCORED, reason=reason, reason_code=code)


Progress = Callable[[float], None]
"""Called with the share done, 0–1; an assessor calls it at least once in ten seconds of work."""


class Assessor(Protocol):
    """A model or measure. `assess` raises nothing for an odd volume: it answers NOT_SCORED with a reason.

    It raises `memory.OutOfMemory` when memory does not suffice for a single slice.
    """

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and provenance."""
        ...

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume of at least one slice."""
        ...
