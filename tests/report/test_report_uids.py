"""Result UIDs, and the recognition of our own results."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.tag import Tag

from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.uids import ResultKind, is_own_result, models_fingerprint, result_series_uid, result_uid

ARGUMENTS = ("1.2.3", ResultKind.STRUCTURED_REPORT, 1, "f" * 64)


@given(st.text(max_size=64), st.sampled_from(ResultKind), st.integers(1, 10**6), st.text(max_size=64))
def test_a_result_uid_is_a_valid_uid_and_always_the_same(series, kind, revision, fingerprint):
    uid = result_uid(series, kind, revision, fingerprint)
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid)
    assert len(uid) <= 64
    assert uid == result_uid(series, kind, revision, fingerprint)


@pytest.mark.parametrize(
    "changed",
    [
        ("1.2.4", *ARGUMENTS[1:]),
        (ARGUMENTS[0], ResultKind.SECONDARY_CAPTURE, *ARGUMENTS[2:]),
        (*ARGUMENTS[:2], 2, ARGUMENTS[3]),
        (*ARGUMENTS[:3], "e" * 64),
    ],
)
def test_each_part_changes_the_result_uid(changed):
    assert result_uid(*changed) != result_uid(*ARGUMENTS)


def test_the_series_of_the_results_stays_over_revisions_and_differs_by_kind(report):
    second = replace(report, revision=2)
    assert structured_report(report).SeriesInstanceUID == structured_report(second).SeriesInstanceUID
    assert structured_report(report).SOPInstanceUID != structured_report(second).SOPInstanceUID
    assert result_series_uid("1.2.3", ResultKind.STRUCTURED_REPORT) != result_series_uid(
        "1.2.3", ResultKind.SECONDARY_CAPTURE
    )


def test_the_fingerprint_ignores_the_order_of_the_models_and_sees_versions_and_weights(report):
    models = report.models
    assert models_fingerprint(models) == models_fingerprint(models[::-1])
    for change in ({"version": "9"}, {"weights_sha256": "cd" * 32}, {"name": "other"}):
        assert models_fingerprint((replace(models[0], **change), *models[1:])) != models_fingerprint(models)


def _results(report):
    return structured_report(report), secondary_capture(report, np.zeros((8, 8, 3), dtype=np.uint8))


def test_our_results_are_recognised_and_the_source_is_not(report):
    for result in _results(report):
        assert is_own_result(result)
    assert not is_own_result(report.volume.headers[0])
    assert not is_own_result(Dataset())


@pytest.mark.parametrize("kept", ["ManufacturerModelName", "ContributingEquipmentSequence", None])
def test_one_mark_of_three_is_enough(report, kept):
    for result in _results(report):
        for keyword in ("Manufacturer", "ManufacturerModelName", "ContributingEquipmentSequence", "SeriesDescription"):
            if keyword != kept:
                delattr(result, keyword)
        assert is_own_result(result)


def test_a_foreign_object_that_refers_to_the_same_series_is_not_ours(report):
    foreign = structured_report(report)
    foreign.SeriesInstanceUID = "1.2.3.4.5"
    del foreign.ManufacturerModelName
    del foreign.ContributingEquipmentSequence
    assert not is_own_result(foreign)


def test_recognition_works_on_a_file_read_back(report, tmp_path):
    for number, result in enumerate(_results(report)):
        dcmwrite(tmp_path / f"{number}.dcm", result, enforce_file_format=True)
        assert is_own_result(dcmread(tmp_path / f"{number}.dcm", stop_before_pixels=True))


@given(
    st.sampled_from([0x00080070, 0x00081090, 0x0018A001, 0x00081115, 0x0040A375, 0x0020000E]),
    st.sampled_from(["LO", "SQ", "UI", "US", "DS", "OB"]),
    st.binary(max_size=24),
)
def test_recognition_raises_for_no_bytes(tag, vr, value):
    dataset = Dataset()
    dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    assert is_own_result(dataset) in (True, False)


def test_recognition_raises_for_no_broken_sequence():
    dataset = dcmread(
        DicomBytesIO(b"\x08\x00\x15\x11SQ\x00\x00\x08\x00\x00\x00\xfe\xff\x00\xe0\xff\xff\xff\xff"), force=True
    )
    assert not is_own_result(dataset)
