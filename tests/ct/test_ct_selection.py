"""Original axial CT is chosen; everything else is skipped for a reason in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from ctiqa_node.ct.enhanced_writer import write_enhanced
from ctiqa_node.ct.selection import Choice, InstanceSummary, choose, summarise
from ctiqa_node.ct.writer import Placement

AXIAL = InstanceSummary(
    sop_class_uid=CTImageStorage,
    modality="CT",
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    frames=1,
    is_own_result=False,
    series_description="Thorax 2.0 B31f",
)
SCOUT = replace(AXIAL, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), orientation=(1, 0, 0, 0, 0, -1))
CORONAL = replace(AXIAL, image_type=(), orientation=(1, 0, 0, 0, 0, -1))


def tilted(degrees: float) -> InstanceSummary:
    angle = np.radians(degrees)
    return replace(AXIAL, orientation=(1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))))


def test_original_axial_slices_are_chosen() -> None:
    assert choose([AXIAL] * 5, 5) == Choice((0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (replace(AXIAL, modality="MR", sop_class_uid=MRImageStorage), "not CT: modality MR"),
        (SCOUT, "localizer (scout) images only"),
        (
            replace(AXIAL, image_type=("DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 MPR")),
            "derived series: image type DERIVED\\PRIMARY\\AXIAL\\CT_SOM5 MPR",
        ),
        (
            replace(AXIAL, image_type=("DERIVED", "SECONDARY", "REFORMATTED")),
            "derived series (reformat): image type DERIVED\\SECONDARY\\REFORMATTED",
        ),
        (
            replace(AXIAL, image_type=("ORIGINAL", "SECONDARY", "OTHER")),
            "not a primary image: image type ORIGINAL\\SECONDARY\\OTHER",
        ),
        (replace(AXIAL, sop_class_uid=SecondaryCaptureImageStorage), "not CT images: Secondary Capture Image Storage"),
        (replace(AXIAL, sop_class_uid=ComprehensiveSRStorage, modality="SR"), "not CT: modality SR"),
        (replace(AXIAL, sop_class_uid="", modality=""), "not CT images: no SOP Class"),
        (CORONAL, "not axial: slices 90° off axial"),
        (replace(CORONAL, orientation=None), "not known to be axial: no usable orientation"),
        (replace(CORONAL, orientation=(0.0,) * 6), "not known to be axial: no usable orientation"),
        (replace(CORONAL, orientation=(1e308,) * 6), "not known to be axial: no usable orientation"),
        (replace(AXIAL, is_own_result=True, modality="SR"), "a result of this node, sent back"),
    ],
)
def test_others_are_skipped_for_a_reason_in_words(instance: InstanceSummary, reason: str) -> None:
    assert choose([instance] * 8, 5) == Choice((), reason)


def test_a_localizer_within_a_series_is_left_out_and_the_rest_chosen() -> None:
    assert choose([SCOUT, *[AXIAL] * 5, SCOUT], 5) == Choice((1, 2, 3, 4, 5))


def test_the_commonest_objection_is_the_reason() -> None:
    assert choose([SCOUT, CORONAL, CORONAL], 1).reason == "not axial: slices 90° off axial"


def test_too_few_slices_are_counted_without_the_localizer() -> None:
    assert choose([SCOUT, SCOUT, AXIAL, AXIAL, AXIAL], 5) == Choice((), "only 3 slices; series.min_slices is 5")
    assert choose([AXIAL], 5).reason == "only 1 slice; series.min_slices is 5"


def test_frames_count_as_slices() -> None:
    enhanced = replace(
        AXIAL, sop_class_uid=EnhancedCTImageStorage, frames=40, image_type=("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    )
    assert choose([enhanced], 5) == Choice((0,))


def test_an_empty_series_is_skipped() -> None:
    assert choose([], 1) == Choice((), "no instances")


@pytest.mark.parametrize("degrees", [-34, -20, 0, 12.5, 30, 34])
def test_slices_tilted_by_the_gantry_are_axial(degrees: float) -> None:
    assert choose([tilted(degrees)], 1).selected == (0,)
    assert choose([replace(tilted(degrees), image_type=())], 1).selected == (0,)


@pytest.mark.parametrize("degrees", [36, -40, 60, 90])
def test_slices_tilted_further_are_not(degrees: float) -> None:
    assert choose([tilted(degrees)], 1).reason == f"not axial: slices {abs(degrees)}° off axial"


def test_axial_by_the_scanners_word_is_chosen_for_the_loader_to_explain() -> None:
    assert choose([replace(AXIAL, orientation=None)], 1).selected == (0,)


def test_a_header_is_summarised(series: list[Path]) -> None:
    summary = summarise(pydicom.dcmread(series[0], stop_before_pixels=True), is_own_result=False)
    assert summary == replace(AXIAL, series_description="Simulated axial series")


def test_an_enhanced_header_is_summarised(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    path = write_enhanced(
        hu, (2.5, 0.7, 0.8), tmp_path / "e", placement=Placement(row_cosine=(0, 1, 0), column_cosine=(0, 0, -1))
    )
    summary = summarise(pydicom.dcmread(path, stop_before_pixels=True), is_own_result=True)
    assert summary.sop_class_uid == EnhancedCTImageStorage
    assert summary.image_type == ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    assert summary.orientation == (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    assert summary.frames == 6
    assert summary.is_own_result


def test_an_empty_header_is_summarised_as_nothing() -> None:
    assert summarise(Dataset(), is_own_result=False) == InstanceSummary("", "", (), None, 1, False, "")


KEYWORDS = {
    "SOPClassUID": "UI",
    "Modality": "CS",
    "ImageType": "CS",
    "ImageOrientationPatient": "DS",
    "NumberOfFrames": "IS",
    "SeriesDescription": "LO",
    "SharedFunctionalGroupsSequence": "SQ",
    "PerFrameFunctionalGroupsSequence": "SQ",
}
VRS = ["UI", "CS", "DS", "IS", "LO", "SQ", "US", "SS", "FD", "UN", "OB", "AT", "DA", "PN", "ZZ"]


@given(
    values=st.dictionaries(
        st.sampled_from(sorted(KEYWORDS)),
        st.tuples(
            st.one_of(st.none(), st.sampled_from(VRS)),
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    [b"1\\0\\0\\0\\1", b"a\\b\\c\\d\\e\\f", b"nan\\0\\0\\0\\1\\0", b"1e999", b"2.5", b"\\\\", b"-3 "]
                ),
            ),
        ),
    ),
    charset=st.sampled_from([None, b"ISO_IR 192", b"nonsense", b"\\ISO 2022 IR 87"]),
)
def test_weird_values_never_raise(values: dict[str, tuple[str | None, bytes]], charset: bytes | None) -> None:
    dataset = Dataset()
    if charset is not None:
        tag = Tag("SpecificCharacterSet")
        dataset[tag] = RawDataElement(tag, "CS", len(charset), charset, 0, False, True)
    for keyword, (vr, value) in values.items():
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, vr or KEYWORDS[keyword], len(value), value, 0, False, True)
    summary = summarise(dataset, is_own_result=False)
    assert summary.frames >= 1
    assert summary.orientation is None or len(summary.orientation) == 6
    choose([summary], 1)


def test_a_number_of_frames_that_no_database_can_hold_counts_as_missing() -> None:
    for value, frames in (("99999999999999999999", 1), ("2147483648", 1), ("2147483647", 2147483647), ("6", 6)):
        dataset = Dataset()
        tag = Tag("NumberOfFrames")
        dataset[tag] = RawDataElement(tag, "IS", len(value), value.encode(), 0, False, True)
        assert summarise(dataset, is_own_result=False).frames == frames
