"""One DICOM file → its frames: where each lies, how its values become HU, and from which SOP Instance it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from ctiqa_node.ct import headers
from ctiqa_node.ct.hounsfield import Padding, Rescale, padding_of
from ctiqa_node.ct.volume import SliceSource
from ctiqa_node.errors import Rejected

_HOUNSFIELD_TYPES = frozenset({"", "HU", "HU_MOD", "US"})
"""Rescale Types (DICOM PS3.3 C.11.1.1.2) taken as HU: absent means HU for CT; older scanners write US, unspecified."""

_FURTHEST_MM = 1e5
_STEEPEST_SLOPE = 1e4


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice before its pixels are decoded. `index` counts the frames of the file, from 0.

    `pixels_at` is the byte of the file where its pixels begin, unless it is deflated. `pixel_spacing_mm` is (y, x);
    `orientation` holds the row and the column cosine; `position_mm` is None when the header has none; `tilt_degrees` is
    Gantry/Detector Tilt, 0 when the header has none.
    """

    path: Path
    header: Dataset
    pixels_at: int
    source: SliceSource
    series_uid: str
    index: int
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    orientation: tuple[float, ...] | None
    position_mm: tuple[float, ...] | None
    thickness_mm: float | None
    tilt_degrees: float
    rescale: Rescale
    padding: Padding | None


def refusal(series_uid: str, problem: str, remedy: str, sop_instance_uid: str | None = None) -> Rejected:
    """The Rejected for a series, or for one SOP Instance of it, as a sentence: where, what is wrong, what to do."""
    where = f"Series {series_uid or 'without UID'}"
    if sop_instance_uid:
        where += f", SOP Instance {sop_instance_uid}"
    return Rejected(f"{where}: {problem}; {remedy}.")


def read_frames(path: Path) -> list[Frame]:
    """The frames of one DICOM file, pixels not yet read.

    Raises headers.UnreadableFileError when it is no DICOM or names no SOP Instance, Rejected when it is no CT image or
    its header can't be used.
    """
    header, ended_at = headers.read_header(path)
    if not headers.text(header, "SOPInstanceUID"):
        raise headers.UnreadableFileError("it has no SOP Instance UID")
    _check_pixel_description(header)
    padding = padding_of(header)
    return [_frame(path, header, ended_at, index, padding) for index in range(_count_frames(header))]


def _refuse(header: Dataset, problem: str, remedy: str) -> Rejected:
    return refusal(headers.text(header, "SeriesInstanceUID"), problem, remedy, headers.text(header, "SOPInstanceUID"))


def _check_pixel_description(header: Dataset) -> None:
    sop_class = headers.text(header, "SOPClassUID")
    if sop_class not in (CTImageStorage, EnhancedCTImageStorage):
        raise _refuse(header, f"SOP Class {sop_class or 'missing'} is not CT", "send CT or Enhanced CT images")
    rows, columns = headers.integer(header, "Rows") or 0, headers.integer(header, "Columns") or 0
    if rows < 1 or columns < 1:
        raise _refuse(header, f"the image has {rows} rows and {columns} columns", "have the scanner send it again")
    samples = headers.integer(header, "SamplesPerPixel")
    if samples != 1:
        raise _refuse(header, f"Samples per Pixel is {samples or 'missing'}, not 1", "send the original CT images")
    photometric = headers.text(header, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):  # they differ in display only, not in HU
        problem = f"Photometric Interpretation is {photometric or 'missing'}, where CT has MONOCHROME2"
        raise _refuse(header, problem, "send the original CT images")


def _is_enhanced(header: Dataset) -> bool:
    return headers.text(header, "SOPClassUID") == EnhancedCTImageStorage


def _count_frames(header: Dataset) -> int:
    declared = headers.integer(header, "NumberOfFrames")
    if not _is_enhanced(header):
        if declared not in (None, 1):
            raise _refuse(header, f"a CT Image holds one frame, this one says {declared}", "send it as Enhanced CT")
        return 1
    described = len(headers.items(header, "PerFrameFunctionalGroupsSequence"))
    if declared is None or declared < 1 or declared != described:
        problem = f"Number of Frames is {declared or 'missing'}, but {described} frames are described"
        raise _refuse(header, problem, "have the sender repair the object")
    return declared


def _frame(path: Path, header: Dataset, ended_at: int, index: int, padding: Padding | None) -> Frame:
    enhanced = _is_enhanced(header)

    def group(keyword: str) -> Dataset:
        return (headers.functional_group(header, index, keyword) or Dataset()) if enhanced else header

    measures = group("PixelMeasuresSequence")
    return Frame(
        path=path,
        header=header,
        pixels_at=ended_at,
        source=SliceSource(
            sop_class_uid=headers.text(header, "SOPClassUID"),
            sop_instance_uid=headers.text(header, "SOPInstanceUID"),
            instance_number=headers.integer(header, "InstanceNumber"),
            frame_number=index + 1 if enhanced else None,
        ),
        series_uid=headers.text(header, "SeriesInstanceUID"),
        index=index,
        rows=int(header.Rows),
        columns=int(header.Columns),
        pixel_spacing_mm=_pixel_spacing(header, measures),
        orientation=headers.numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        position_mm=_position(group("PlanePositionSequence")),
        thickness_mm=headers.number(measures, "SliceThickness"),
        tilt_degrees=headers.number(group("CTAcquisitionDetailsSequence"), "GantryDetectorTilt") or 0.0,
        rescale=_rescale(header, group("PixelValueTransformationSequence")),
        padding=padding,
    )


def _position(plane: Dataset) -> tuple[float, ...] | None:
    position = headers.numbers(plane, "ImagePositionPatient", 3)
    return position if position and max(map(abs, position)) <= _FURTHEST_MM else None


def _pixel_spacing(header: Dataset, measures: Dataset) -> tuple[float, float]:
    spacing = headers.numbers(measures, "PixelSpacing", 2)
    if spacing is None or min(spacing) <= 0:
        raise _refuse(header, "there is no usable Pixel Spacing", "have the sender keep that attribute")
    return spacing[0], spacing[1]


def _rescale(header: Dataset, transformation: Dataset) -> Rescale:
    slope = headers.number(transformation, "RescaleSlope")
    intercept = headers.number(transformation, "RescaleIntercept")
    if not slope or abs(slope) > _STEEPEST_SLOPE or intercept is None:
        problem = "there is no usable Rescale Slope and Intercept, so its values are not Hounsfield units"
        raise _refuse(header, problem, "have the sender keep those attributes")
    unit = headers.text(transformation, "RescaleType").upper()
    if unit not in _HOUNSFIELD_TYPES:
        raise _refuse(header, f"its values are {unit}, not Hounsfield units", "send the CT images in HU")
    return Rescale(slope, intercept)
