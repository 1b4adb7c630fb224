"""The worst slices as key images: a Key Object Selection Document (DICOM PS3.3 A.35.4, PS3.16 TID 2010)."""

from __future__ import annotations

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from ctiqa_node.ct.volume import SliceSource
from ctiqa_node.report.codes import NOT_FOR_DIAGNOSIS, quantity, value_text
from ctiqa_node.report.content import Report
from ctiqa_node.report.image_library import distinct_instances, frames_of
from ctiqa_node.report.notable import NotableSlice, Role, notable_slices
from ctiqa_node.report.objects import device_observer, evidence, instance_uid, models_sentence, series_uid
from ctiqa_node.report.source import dress, plain
from ctiqa_node.report.uids import DEVICE_MODEL, ResultKind

SERIES_DESCRIPTION = "CT image quality: worst slices"
# Not "Quality Issue" (113010): the worst slices of a good series are good. Nor "Rejected for Quality Reasons" (113001),
# by which archives with IHE's Imaging Object Change Management hide the images that it names.
_TITLE = codes.DCM.OfInterest


def key_objects(report: Report) -> Dataset | None:
    """Select the worst slices for a person to look at, with file meta information and a sentence that says why.

    References are in the order of the ranking, the worst first; the frames of an Enhanced CT are one reference. None
    where nothing ranks the slices, or there is only one. All content is ASCII; the same report gives the same data set,
    byte for byte.
    """
    worst = [notable for notable in notable_slices(report) if notable.role is Role.WORST]
    if not worst:
        return None
    chosen = tuple(report.volume.sources[notable.slice_index] for notable in worst)
    result = KeyObjectSelectionDocument(
        evidence=evidence(report, chosen),
        content=_content(report, chosen, description(report, worst)),
        series_instance_uid=series_uid(report, ResultKind.KEY_OBJECTS),
        series_number=report.key_objects_series_number,
        sop_instance_uid=instance_uid(report, ResultKind.KEY_OBJECTS),
        instance_number=report.revision,
        manufacturer=DEVICE_MODEL,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=None,  # dress() sets it: the source's own may be one that highdicom refuses
    )
    dress(result, report, ResultKind.KEY_OBJECTS, SERIES_DESCRIPTION, report.key_objects_series_number)
    return result


def description(report: Report, worst: list[NotableSlice]) -> str:
    """Why these slices were chosen, with their values, in ASCII; and what it replaces, for which KO has no place."""
    named = ", ".join(_with_value(report, notable) for notable in worst)
    title = quantity(worst[0].ranked_by or "").title
    last = report.predecessor_of(KeyObjectSelectionDocumentStorage)
    instead = "" if last is None else f" In place of {last.sop_instance_uid}."
    count = "slice" if len(worst) == 1 else f"{len(worst)} slices"
    return plain(
        f"The worst {count} of {len(report.volume.sources)} by {title}, the worst first: {named}. "
        f"A ranking within this series, not a finding. Assessed by {models_sentence(report)}."
        f"{instead} {NOT_FOR_DIAGNOSIS}"
    )


def _with_value(report: Report, notable: NotableSlice) -> str:
    for model in report.scored:
        for m in model.measurements:
            if m.slice_index == notable.slice_index and m.name == notable.ranked_by:
                return f"slice {notable.slice_index + 1} ({value_text(m.name, m.value, m.unit)})"
    return f"slice {notable.slice_index + 1}"


def _content(report: Report, chosen: tuple[SliceSource, ...], words: str) -> KeyObjectSelection:
    instances = []
    for source in distinct_instances(chosen):
        instance = Dataset()
        instance.SOPClassUID, instance.SOPInstanceUID = source.sop_class_uid, source.sop_instance_uid
        instance.Rows, instance.Columns = report.volume.hu.shape[1:]  # by which highdicom knows an image
        instances.append(instance)
    content = KeyObjectSelection(
        document_title=_TITLE,
        referenced_objects=instances,
        observer_device_context=device_observer(report),
        description=words,
    )
    for item in content[0].ContentSequence:
        if item.ValueType == "IMAGE":
            frames = frames_of(chosen, item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            if frames is not None:  # highdicom has no parameter for them
                item.ReferencedSOPSequence[0].ReferencedFrameNumber = frames
    return content
