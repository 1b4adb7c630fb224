"""The image library of the report (DICOM PS3.16 TID 1600): every slice that was assessed, described once."""

from __future__ import annotations

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    UIDRefContentItem,
)
from pydicom.sr.codedict import codes

from ctiqa_node.ct.volume import SliceSource
from ctiqa_node.report.content import Report
from ctiqa_node.report.source import text_of

_SOURCE = CodedConcept("260753009", "SCT", "Source")
_PIXELS = CodedConcept("{pixels}", "UCUM", "Pixels")
_CONTAINS = RelationshipTypeValues.CONTAINS
_ACQUIRED = RelationshipTypeValues.HAS_ACQ_CONTEXT


def image_library(report: Report) -> ContainerContentItem:
    """One group: what all slices share (TID 1602), then a reference to each SOP Instance.

    All instances are listed, however many. The descriptors stand at the group and not at each image, as TID 1600
    allows: a library of thousands of slices stays small and quick to make. The frames of an Enhanced CT are one entry.
    """
    library = ContainerContentItem(name=codes.DCM.ImageLibrary, relationship_type=_CONTAINS)
    group = ContainerContentItem(name=codes.DCM.ImageLibraryGroup, relationship_type=_CONTAINS)
    entries: list[ContentItem] = _shared_descriptors(report)
    entries.extend(
        ImageContentItem(
            name=_SOURCE,
            referenced_sop_class_uid=source.sop_class_uid,
            referenced_sop_instance_uid=source.sop_instance_uid,
            relationship_type=_CONTAINS,
        )
        for source in distinct_instances(report.volume.sources)
    )
    group.ContentSequence = ContentSequence(entries)
    library.ContentSequence = ContentSequence([group])
    return library


def distinct_instances(sources: tuple[SliceSource, ...]) -> tuple[SliceSource, ...]:
    """One source for each SOP Instance, in the order of the slices."""
    return tuple({source.sop_instance_uid: source for source in sources}.values())


def frames_of(sources: tuple[SliceSource, ...], sop_instance_uid: str) -> list[int] | None:
    """The frame numbers that the slices use of an instance; None for a single-frame one."""
    frames = sorted(
        s.frame_number for s in sources if s.sop_instance_uid == sop_instance_uid and s.frame_number is not None
    )
    return frames or None


def _shared_descriptors(report: Report) -> list[ContentItem]:
    geometry = report.volume.geometry
    rows, columns = report.volume.hu.shape[1:]
    items: list[ContentItem] = [
        CodeContentItem(name=codes.DCM.Modality, value=codes.DCM.ComputedTomography, relationship_type=_ACQUIRED)
    ]
    frame_of_reference = text_of(report.volume.headers[0], "FrameOfReferenceUID")
    if frame_of_reference:
        items.append(
            UIDRefContentItem(name=codes.DCM.FrameOfReferenceUID, value=frame_of_reference, relationship_type=_ACQUIRED)
        )
    millimetre = codes.UCUM.Millimeter
    _, row_spacing, column_spacing = geometry.spacing_mm
    for name, value, unit in (
        (codes.DCM.PixelDataRows, int(rows), _PIXELS),
        (codes.DCM.PixelDataColumns, int(columns), _PIXELS),
        (codes.DCM.HorizontalPixelSpacing, float(column_spacing), millimetre),
        (codes.DCM.VerticalPixelSpacing, float(row_spacing), millimetre),
        (codes.DCM.SpacingBetweenSlices, float(geometry.spacing_mm[0]), millimetre),
    ):
        items.append(NumContentItem(name=name, value=value, unit=unit, relationship_type=_ACQUIRED))
    return items
