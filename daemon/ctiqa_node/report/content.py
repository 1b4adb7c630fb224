"""What a report is made from: the values that the worker fills in after the models have run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import isfinite

import numpy as np
import numpy.typing as npt

from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.report.verdicts import ArchiveAnswer, NotScoredReason

ByteArray = npt.NDArray[np.uint8]
Progress = Callable[[float], None]
"""Called with the share of an object that is made, 0–1; at least every few seconds by what may take longer."""


def unheeded(share: float) -> None:
    """A progress that nobody looks at."""
    del share


STRUCTURED_REPORT_SERIES_NUMBER = 9901
SECONDARY_CAPTURE_SERIES_NUMBER = 9902
QUALITY_MAPS_SERIES_NUMBER = 9903
PARAMETRIC_MAP_SERIES_NUMBER = 9904
KEY_OBJECTS_SERIES_NUMBER = 9905
PDF_SERIES_NUMBER = 9906
TEXT_REPORT_SERIES_NUMBER = 9907


class SliceChoice(StrEnum):
    """Which slices are told, or shown, one by one."""

    NOTABLE = "notable"
    ALL = "all"


class ReportStatus(StrEnum):
    """Whether a model gave numbers."""

    SCORED = "scored"
    NOT_SCORED = "not_scored"


@dataclass(frozen=True, slots=True)
class ReportedMeasurement:
    """One number with its UCUM unit; `slice_index` counts along z of the volume, None means the whole series.

    ValueError for a value that is not finite: DICOM has no digits for it. Such a model did not score.
    """

    name: str
    value: float
    unit: str
    slice_index: int | None = None

    def __post_init__(self) -> None:
        """Refuse what DICOM cannot write."""
        if not isfinite(self.value):
            raise ValueError(f"{self.name} is {self.value}")


@dataclass(frozen=True, slots=True)
class ReportedClassification:
    """One class with its probability (0–1) for the whole series. All classes of one name make one decision."""

    name: str
    label: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class ReportedModel:
    """What one model said, and which model it was.

    `maps` are uint8 [z, h, w], 0 the worst and 255 the best quality, each over the full extent of its slice.
    `unscored_slices` gives the reason for each slice that the numbers leave out. A model that is NOT_SCORED has a
    reason, in words and as a code, and nothing else.
    """

    name: str
    version: str
    summary: str
    trained_on: str
    status: ReportStatus
    weights_sha256: str | None = None
    reason: str | None = None
    measurements: tuple[ReportedMeasurement, ...] = ()
    classifications: tuple[ReportedClassification, ...] = ()
    maps: ByteArray | None = None
    unscored_slices: dict[int, str] = field(default_factory=dict)
    reason_code: NotScoredReason | None = None

    @property
    def series_measurements(self) -> tuple[ReportedMeasurement, ...]:
        """The numbers that hold for the whole series."""
        return tuple(m for m in self.measurements if m.slice_index is None)

    def slice_values(self, name: str) -> dict[int, float]:
        """The values of one measurement by index along z."""
        return {m.slice_index: m.value for m in self.measurements if m.name == name and m.slice_index is not None}


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The node that made the report."""

    ae_title: str
    software_version: str
    station_name: str = ""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An object of the series' last revision that has one of its kind, which the new one stands in place of."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One assessment of one series, ready to be written down.

    `revision` counts from 1 and grows when late slices, or other models, made the series be assessed again.
    `assessed_at` is an aware time; it is the only time in the result objects, so that the same report gives the same
    objects. `predecessors` has at most one object of each SOP Class, and none for the first report of a series.
    `slice_groups` are the slices with a measurement group of their own in the structured report, `map_slices` those of
    which the quality maps are drawn.
    """

    volume: CtVolume
    models: tuple[ReportedModel, ...]
    revision: int
    device: DeviceInfo
    assessed_at: datetime
    structured_report_series_number: int = STRUCTURED_REPORT_SERIES_NUMBER
    secondary_capture_series_number: int = SECONDARY_CAPTURE_SERIES_NUMBER
    quality_maps_series_number: int = QUALITY_MAPS_SERIES_NUMBER
    parametric_map_series_number: int = PARAMETRIC_MAP_SERIES_NUMBER
    key_objects_series_number: int = KEY_OBJECTS_SERIES_NUMBER
    pdf_series_number: int = PDF_SERIES_NUMBER
    text_report_series_number: int = TEXT_REPORT_SERIES_NUMBER
    slice_groups: SliceChoice = SliceChoice.NOTABLE
    map_slices: SliceChoice = SliceChoice.NOTABLE
    predecessors: tuple[Predecessor, ...] = ()
    archive: ArchiveAnswer | None = None
    """What an archive said of the number of instances, where one was asked."""

    def __post_init__(self) -> None:
        """Refuse what no result object could be made from."""
        if self.assessed_at.tzinfo is None:
            raise ValueError("assessed_at needs a time zone")
        if self.revision < 1:
            raise ValueError("revisions count from 1")

    @property
    def scored(self) -> tuple[ReportedModel, ...]:
        """The models that gave numbers."""
        return tuple(m for m in self.models if m.status is ReportStatus.SCORED)

    def slice_values(self, name: str) -> dict[int, float]:
        """The values of one measurement by index along z, whichever model gave them; empty when none did."""
        for model in self.scored:
            values = model.slice_values(name)
            if values:
                return values
        return {}

    def predecessor_of(self, sop_class_uid: str) -> Predecessor | None:
        """The object that the new one of a SOP Class replaces; None for the first one. Each kind has its own class."""
        return next((each for each in self.predecessors if each.sop_class_uid == sop_class_uid), None)

    @property
    def maps(self) -> tuple[ReportedModel, ByteArray] | None:
        """The first quality maps that a model made, and the model."""
        for model in self.scored:
            if model.maps is not None:
                return model, model.maps
        return None
