"""A new revision, or the same with other models, is a new instance that names the one before; a repeat is none."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite

from ctiqa_node.report.content import Predecessor
from ctiqa_node.report.encapsulated_pdf import encapsulated_pdf
from ctiqa_node.report.key_objects import key_objects
from ctiqa_node.report.parametric_map import parametric_map
from ctiqa_node.report.quality_maps import quality_map_capture
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.text_report import text_report
from ctiqa_node.report.uids import is_own_result


def _page(report):
    return secondary_capture(report, np.zeros((8, 8, 3), dtype=np.uint8))


DOCUMENTS = (structured_report, encapsulated_pdf, text_report)
IMAGES = (_page, quality_map_capture, parametric_map)


def _made(maker, report):
    buffer = BytesIO()
    dcmwrite(buffer, maker(report), enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


@pytest.fixture
def small(make_report, make_volume):
    return make_report(make_volume(2))


def _next(report, first):
    """The same with a newer N2Q, as the node makes it after `first`."""
    newer = replace(report.models[0], version="9")
    other = Predecessor("1.2.3", "2.25.1")
    last = Predecessor(first.SOPClassUID, first.SOPInstanceUID)
    return replace(report, models=(newer, *report.models[1:]), revision=2, predecessors=(other, last))


@pytest.mark.parametrize("maker", DOCUMENTS)
def test_a_document_names_the_one_it_replaces(maker, small):
    first = _made(maker, small)
    assert "PredecessorDocumentsSequence" not in first
    second = _made(maker, _next(small, first))
    (study,) = second.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (first.StudyInstanceUID, first.SeriesInstanceUID)
    assert instance.ReferencedSOPClassUID == first.SOPClassUID
    assert instance.ReferencedSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert instance.PurposeOfReferenceCodeSequence[0].CodeValue == "121360"


@pytest.mark.parametrize("maker", IMAGES)
def test_an_image_names_the_one_it_replaces_and_the_series_of_that(maker, small):
    first = _made(maker, small)
    assert "ReferencedImageSequence" not in first
    second = _made(maker, _next(small, first))
    (image,) = second.ReferencedImageSequence
    assert image.ReferencedSOPClassUID == first.SOPClassUID
    assert image.ReferencedSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "REPLACED-RESULT"
    assert [item.CodingSchemeDesignator for item in second.CodingSchemeIdentificationSequence] == ["99CTIQA"]
    named = {s.SeriesInstanceUID: s.ReferencedInstanceSequence for s in second.ReferencedSeriesSequence}
    assert [i.ReferencedSOPInstanceUID for i in named[first.SeriesInstanceUID]] == [first.SOPInstanceUID]
    assert len(named) == 2
    assert is_own_result(second)


def test_key_objects_say_so_in_their_description(small):
    first = _made(key_objects, small)
    second = _made(key_objects, _next(small, first))
    said = [" ".join(i.TextValue for i in d.ContentSequence if i.ValueType == "TEXT") for d in (first, second)]
    assert ["In place of" in words for words in said] == [False, True]
    assert f"In place of {first.SOPInstanceUID}." in said[1]
    assert first.SOPInstanceUID != second.SOPInstanceUID
