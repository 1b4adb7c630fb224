"""Which instances of a series the node assesses: original axial CT, judged from the headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage

from ctiqa_node.ct import headers

_AXIAL_WITHIN_DEGREES = 35.0
"""Gantries tilt by up to 30°; beyond that a slice is a coronal, sagittal or oblique one."""

_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
_REFORMATS = frozenset({"REFORMATTED", "MPR", "CSA MPR", "CURVED_MPR", "MIP", "MINIP", "PROJECTION IMAGE", "CSA 3D"})


@dataclass(frozen=True, slots=True)
class InstanceSummary:
    """What is known of an instance without its pixels; missing text is "", a missing Image Type is ().

    `orientation` is the row and the column cosine, None when missing; `frames` is 1 for a single-frame image.
    """

    sop_class_uid: str
    modality: str
    image_type: tuple[str, ...]
    orientation: tuple[float, ...] | None
    frames: int
    is_own_result: bool
    series_description: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The indexes of the instances to assess; none, and the reason in words, when the series is to be skipped."""

    selected: tuple[int, ...]
    reason: str | None = None


def summarise(dataset: Dataset, *, is_own_result: bool) -> InstanceSummary:
    """Summarise a header. Raises nothing for odd values: what can't be read counts as missing."""
    sop_class = headers.text(dataset, "SOPClassUID")
    plane: Dataset | None = dataset
    if headers.value_of(dataset, "ImageOrientationPatient") is None:
        plane = headers.functional_group(dataset, 0, "PlaneOrientationSequence")
    return InstanceSummary(
        sop_class_uid=sop_class,
        modality=headers.text(dataset, "Modality").upper(),
        image_type=tuple(part.upper() for part in headers.texts(dataset, "ImageType")),
        orientation=headers.numbers(plane, "ImageOrientationPatient", 6) if plane is not None else None,
        frames=max(1, headers.integer(dataset, "NumberOfFrames") or 1),
        is_own_result=is_own_result,
        series_description=headers.text(dataset, "SeriesDescription"),
    )


def choose(instances: Sequence[InstanceSummary], min_slices: int) -> Choice:
    """Choose the original axial CT among the instances of one series.

    Others, such as a localizer, are left out; when nothing remains the commonest objection is the reason, and when
    fewer than `min_slices` frames remain that is.
    """
    objections = [_objection(instance) for instance in instances]
    selected = tuple(index for index, objection in enumerate(objections) if objection is None)
    if not selected:
        commonest = Counter(objections).most_common(1)
        return Choice((), commonest[0][0] if commonest else "no instances")
    slices = sum(instances[index].frames for index in selected)
    if slices < min_slices:
        return Choice((), f"only {slices} slice{'s' if slices != 1 else ''}; series.min_slices is {min_slices}")
    return Choice(selected)


def _objection(instance: InstanceSummary) -> str | None:
    if instance.is_own_result:
        return "a result of this node, sent back"
    if instance.modality not in ("", "CT"):
        return f"not CT: modality {instance.modality}"
    if instance.sop_class_uid not in (CTImageStorage, EnhancedCTImageStorage):
        return f"not CT images: {UID(instance.sop_class_uid).name or 'no SOP Class'}"
    return _objection_to_image_type(instance.image_type) or _objection_to_orientation(instance)


def _objection_to_image_type(image_type: tuple[str, ...]) -> str | None:
    shown = "\\".join(image_type)
    values = set(image_type)
    if values & _LOCALIZERS:
        return "localizer (scout) images only"
    if values & _REFORMATS:
        return f"derived series (reformat): image type {shown}"
    if image_type[:1] in (("DERIVED",), ("MIXED",)):
        return f"derived series: image type {shown}"
    if "SECONDARY" in image_type[1:2]:
        return f"not a primary image: image type {shown}"
    return None


def _objection_to_orientation(instance: InstanceSummary) -> str | None:
    if instance.orientation is None:
        # The scanner's word is enough to choose it; the loader then says what is missing.
        if "AXIAL" in instance.image_type or "VOLUME" in instance.image_type:
            return None
        return "not known to be axial: no usable orientation"
    angle = _degrees_off_axial(instance.orientation)
    if angle is None:
        return "not known to be axial: no usable orientation"
    if angle > _AXIAL_WITHIN_DEGREES:
        return f"not axial: slices {angle:.0f}° off axial"
    return None


def _degrees_off_axial(orientation: tuple[float, ...]) -> float | None:
    """The angle between the slice's normal and the patient's long axis, 0–90°; None for degenerate cosines."""
    if max(map(abs, orientation)) > 2:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    if length < 0.5:
        return None
    return math.degrees(math.acos(min(1.0, abs(float(normal[2])) / length)))
