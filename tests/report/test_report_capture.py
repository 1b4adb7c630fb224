"""The summary page as Secondary Capture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite

from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.summary_page import summary_page


def _bytes(dataset):
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def page(report):
    return summary_page(report)


def test_the_pixels_come_back(report, page):
    again = dcmread(BytesIO(_bytes(secondary_capture(report, page))))
    assert np.array_equal(again.pixel_array, page)
    assert again.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_it_is_what_viewers_show(report, page):
    sc = secondary_capture(report, page)
    assert sc.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (sc.PhotometricInterpretation, sc.SamplesPerPixel, sc.PlanarConfiguration) == ("RGB", 3, 0)
    assert (sc.BurnedInAnnotation, sc.ConversionType, sc.Modality) == ("YES", "WSD", "OT")
    assert (sc.SeriesNumber, sc.SeriesDescription) == (9902, "CT image quality: summary")
    assert "N2Q 1.2.3" in sc.DerivationDescription


def test_it_refers_to_the_slices_it_shows(report, page):
    sc = secondary_capture(report, page)
    shown = {item.ReferencedSOPInstanceUID for item in sc.SourceImageSequence}
    assert len(shown) == 4
    assert shown <= {source.sop_instance_uid for source in report.volume.sources}
    (series,) = sc.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == report.volume.headers[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == shown


def test_frames_of_enhanced_ct_are_named(make_volume, make_report):
    report = make_report(make_volume(6, enhanced=True))
    (image,) = secondary_capture(report, summary_page(report)).SourceImageSequence
    assert len(image.ReferencedFrameNumber) == 4


def test_the_same_report_gives_the_same_bytes(report, page):
    assert _bytes(secondary_capture(report, page)) == _bytes(secondary_capture(report, page))


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)]
)
def test_a_page_of_another_shape_or_type_is_refused(report, wrong):
    with pytest.raises(ValueError, match="a page is uint8"):
        secondary_capture(report, wrong)
