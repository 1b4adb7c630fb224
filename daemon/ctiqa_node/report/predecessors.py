"""How a result names the one that it stands in place of, as far as its IOD has a place for that.

Documents have the Predecessor Documents Sequence (PS3.3 C.17.2.3, C.24.2), images the Referenced Image Sequence with a
purpose (C.12.4); a Key Object Selection has neither.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ctiqa_node.report.codes import REPLACED_RESULT
from ctiqa_node.report.content import Predecessor, Report
from ctiqa_node.report.objects import code_item, our_coding_scheme


def name_replaced_document(result: Dataset, report: Report) -> None:
    """Name the document that a document replaces, in place; it lies in the same series. Nothing for the first one."""
    last = report.predecessor_of(result.SOPClassUID)
    if last is None:
        return
    series, study = Dataset(), Dataset()
    instance = _reference(last)
    instance.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.ReplacedReport)]
    series.ReferencedSOPSequence = [instance]
    series.SeriesInstanceUID = result.SeriesInstanceUID
    study.ReferencedSeriesSequence = [series]
    study.StudyInstanceUID = result.StudyInstanceUID
    result.PredecessorDocumentsSequence = [study]


def name_replaced_image(result: Dataset, report: Report) -> None:
    """Name the image that an image replaces, in place, after its sources are named. Nothing for the first one."""
    last = report.predecessor_of(result.SOPClassUID)
    if last is None:
        return
    image = _reference(last)
    image.PurposeOfReferenceCodeSequence = [code_item(REPLACED_RESULT)]
    result.ReferencedImageSequence = [image]
    series = Dataset()
    series.SeriesInstanceUID = result.SeriesInstanceUID
    series.ReferencedInstanceSequence = [_reference(last)]
    result.ReferencedSeriesSequence.append(series)
    result.CodingSchemeIdentificationSequence = [our_coding_scheme()]


def _reference(last: Predecessor) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = last.sop_class_uid
    item.ReferencedSOPInstanceUID = last.sop_instance_uid
    return item
