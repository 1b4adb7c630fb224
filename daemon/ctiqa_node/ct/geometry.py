"""Where the slices of a series lie: one grid, sorted along the normal, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctiqa_node.ct.frames import Frame, refusal
from ctiqa_node.ct.volume import Finding, FindingCode, Geometry

_COSINE_TOLERANCE = 1e-3
_SAME_SPACING = 1e-3  # relative
_SAME_POSITION_MM = 0.01
_EVEN_GAP = 0.05  # of the median; positions rounded to 0.01 mm still pass at 0.6 mm slices
_EVEN_GAP_MM = 0.02
_UNTILTED_DEGREES = 0.1

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Axes:
    """Unit vectors along a row, down a column, and their cross product (DICOM PS3.3 C.7.6.2.1.1)."""

    row: npt.NDArray[np.float64]
    column: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]

    def distance(self, frame: Frame) -> float:
        """Distance of the frame along the normal, mm; 0 without a position."""
        return float(self.normal @ _position(frame))


def common_axes(frames: Sequence[Frame]) -> Axes:
    """The axes that all frames share. Raises Rejected when grid, spacing or orientation differ, or are missing.

    A lone frame may lack orientation and position; it is taken as axial, at the origin.
    """
    _check_one_grid(frames)
    _check_placed(frames)
    first = frames[0]
    cosines = np.asarray(first.orientation or _AXIAL)
    for frame in frames[1:]:
        if np.abs(np.asarray(frame.orientation) - cosines).max() > _COSINE_TOLERANCE:
            problem = "its slices have different orientations (Image Orientation (Patient))"
            raise refusal(first.series_uid, problem, "send each orientation as a series of its own")
    row, column = cosines[:3], cosines[3:]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column))) > _COSINE_TOLERANCE:
        problem = "Image Orientation (Patient) is not two unit vectors at a right angle"
        remedy = "have the sender correct that attribute"
        raise refusal(first.series_uid, problem, remedy, first.source.sop_instance_uid)
    row, column = row / lengths[0], column / lengths[1]
    normal = np.cross(row, column)
    return Axes(row, column, normal / np.linalg.norm(normal))


def _check_one_grid(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        problem = ""
        if frame.series_uid != first.series_uid:
            problem = f"slices of Series {frame.series_uid or 'without UID'} are mixed in"
        elif (frame.rows, frame.columns) != (first.rows, first.columns):
            problem = f"slices of {first.rows}×{first.columns} and of {frame.rows}×{frame.columns} pixels are mixed"
        elif not np.allclose(frame.pixel_spacing_mm, first.pixel_spacing_mm, rtol=_SAME_SPACING):
            problem = f"Pixel Spacing {first.pixel_spacing_mm} and {frame.pixel_spacing_mm} are mixed"
        if problem:
            remedy = "send each kind of slice as a series of its own"
            raise refusal(first.series_uid, problem, remedy, frame.source.sop_instance_uid)


def _check_placed(frames: Sequence[Frame]) -> None:
    if len(frames) == 1:
        return
    for frame in frames:
        for name, value in (
            ("Image Orientation (Patient)", frame.orientation),
            ("Image Position (Patient)", frame.position_mm),
        ):
            if value is None:
                remedy = "have the sender keep that attribute"
                raise refusal(frame.series_uid, f"there is no usable {name}", remedy, frame.source.sop_instance_uid)


def _position(frame: Frame) -> npt.NDArray[np.float64]:
    return np.asarray(frame.position_mm or (0.0, 0.0, 0.0))


def by_position(frames: Sequence[Frame], axes: Axes) -> list[list[Frame]]:
    """The frames sorted along the normal, those at one place together: lowest Instance Number first, then by UID."""
    groups: list[list[Frame]] = []
    start = 0.0
    for frame in sorted(frames, key=axes.distance):
        distance = axes.distance(frame)
        if groups and distance - start <= _SAME_POSITION_MM:
            groups[-1].append(frame)
        else:
            groups.append([frame])
            start = distance
    return [sorted(group, key=_precedence) for group in groups]


def _precedence(frame: Frame) -> tuple[bool, int, str, int]:
    number = frame.source.instance_number
    return number is None, number or 0, frame.source.sop_instance_uid, frame.index


def geometry_of(frames: Sequence[Frame], axes: Axes) -> Geometry:
    """The geometry of `frames`, which are sorted along the normal and all at different places."""
    positions = np.stack([_position(frame) for frame in frames])
    first = frames[0]
    if len(frames) > 1:
        spacing_z = float(np.median(np.diff(positions @ axes.normal)))
    else:
        spacing_z = first.thickness_mm if first.thickness_mm and first.thickness_mm > 0 else 1.0
    return Geometry(axes.row, axes.column, axes.normal, positions, (spacing_z, *first.pixel_spacing_mm))


def geometry_findings(geometry: Geometry, tilt_degrees: float) -> list[Finding]:
    """Uneven gaps and gantry tilt; `tilt_degrees` is what the headers say of the gantry."""
    return [finding for finding in (_uneven_gaps(geometry), _tilt(geometry, tilt_degrees)) if finding]


def _uneven_gaps(geometry: Geometry) -> Finding | None:
    gaps = np.diff(geometry.distances)
    median = geometry.spacing_mm[0]
    if gaps.size == 0 or np.abs(gaps - median).max() <= max(_EVEN_GAP * median, _EVEN_GAP_MM):
        return None
    missing = int(np.maximum(np.rint(gaps / median) - 1, 0).sum())
    sentence = f"Slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart, the median is {median:.2f} mm"
    if missing:
        sentence += f"; about {missing} slice(s) may be missing"
    return Finding(FindingCode.UNEVEN_GAPS, sentence + ".")


def _tilt(geometry: Geometry, tilt_degrees: float) -> Finding | None:
    along = geometry.positions[-1] - geometry.positions[0]
    length = float(np.linalg.norm(along))
    # atan2 keeps small angles, which acos of a number near 1 loses.
    sideways = float(np.linalg.norm(np.cross(along, geometry.normal)))
    angle = float(np.degrees(np.arctan2(sideways, along @ geometry.normal))) if length else 0.0
    if angle <= _UNTILTED_DEGREES and abs(tilt_degrees) <= _UNTILTED_DEGREES:
        return None
    return Finding(
        FindingCode.GANTRY_TILT,
        f"The gantry was tilted: slices are stacked {angle:.1f}° off their normal, the header says "
        f"{tilt_degrees:.1f}°.",
    )
