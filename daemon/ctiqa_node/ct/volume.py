"""The value types of a loaded CT series."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset


class FindingCode(StrEnum):
    """What the loader noticed and could live with."""

    DUPLICATE_POSITION = "duplicate-position"
    UNEVEN_GAPS = "uneven-gaps"
    GANTRY_TILT = "gantry-tilt"
    PADDING = "padding"
    NO_IMAGE_TYPE = "no-image-type"
    UNUSABLE_INSTANCE = "unusable-instance"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something noticed on loading: a code for programs, a sentence for people."""

    code: FindingCode
    sentence: str


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the voxels lie, in the patient's coordinates (DICOM PS3.3 C.7.6.2), in millimetres.

    `row_cosine` points along a row (growing column index), `column_cosine` down a column, `normal` is their cross
    product; slices are sorted by growing distance along `normal`. `positions` [z, 3] are the centres of the first
    voxel of each slice. `spacing_mm` is (z, y, x); z is the median distance between slices, the thickness for one.
    """

    row_cosine: npt.NDArray[np.float64]
    column_cosine: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float, float]

    @property
    def distances(self) -> npt.NDArray[np.float64]:
        """Distance of each slice along the normal, mm, [z]."""
        return self.positions @ self.normal


@dataclass(frozen=True, slots=True)
class SliceSource:
    """The SOP Instance, and for Enhanced CT the frame (from 1), that a slice of the volume came from."""

    sop_class_uid: str
    sop_instance_uid: str
    instance_number: int | None
    frame_number: int | None = None


@dataclass(frozen=True, slots=True)
class CtVolume:
    """One CT series: float32 Hounsfield units [z, y, x], sorted along the normal of Image Orientation (Patient).

    `sources` and `headers` run with z. A header is the source's dataset without pixel data; the frames of an Enhanced
    CT share one. `findings` are for the record and the report.
    """

    hu: npt.NDArray[np.float32]
    geometry: Geometry
    sources: tuple[SliceSource, ...]
    headers: tuple[Dataset, ...]
    findings: tuple[Finding, ...] = ()
