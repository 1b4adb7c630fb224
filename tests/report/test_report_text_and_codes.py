"""The table of codes, and the plain text rendering."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from ctiqa_node.ct.volume import FindingCode
from ctiqa_node.report import codes as table
from ctiqa_node.report.content import ReportedMeasurement
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.text import as_text


@given(st.text(max_size=80))
def test_a_private_code_fits_its_value_representations(text):
    code = table.private_code(text)
    assert re.fullmatch(r"[A-Z0-9][A-Z0-9-]{0,15}", code.value)
    assert code.scheme_designator == "99CTIQA"
    assert 1 <= len(code.meaning) <= 64
    assert table.private_code(text) == code


def test_no_two_names_of_today_share_a_code():
    names = [*table.QUANTITIES, *FindingCode, *(f"n2q_dose {share} %" for share in (5, 10, 25, 50, 75))]
    made = [table.quantity(n).code if n in table.QUANTITIES else table.private_code(n) for n in names]
    assert len({(c.scheme_designator, c.value) for c in made}) == len(names)


def test_an_unknown_measurement_gets_a_readable_title_and_its_own_unit():
    assert table.quantity("new_score").title == "New score"
    assert table.value_text("new_score", 3.14159, "mGy") == "3.14 mGy"
    assert table.unit_code("mGy").value == "mGy"


def test_hounsfield_units_are_written_as_people_write_them():
    assert table.value_text("noise_level", 14.24, "[hnsf'U]") == "14.2 HU"
    assert table.value_text("n2q_quality", 0.825, "1") == "0.82"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_dicom_cannot_write_is_refused(value):
    with pytest.raises(ValueError, match="snr"):
        ReportedMeasurement("snr", value, "1")


def test_the_text_holds_the_values_the_reasons_and_the_indentation(report):
    text = as_text(structured_report(report))
    assert "Imaging Measurement Report" in text.splitlines()
    assert "      N2Q quality: 0.8251" in text.splitlines()
    assert "      Global noise level: 14.25 [hnsf'U]" in text.splitlines()
    assert "Comment: the slices are too small" in text
    assert "Müller" in text


def test_the_text_counts_images_instead_of_listing_thousands(report, make_volume, make_report):
    text = as_text(structured_report(make_report(make_volume(40))))
    assert "and 35 more images" in text
    assert len(text.splitlines()) < 200


def test_the_text_of_an_empty_or_odd_report_does_not_raise():
    odd = Dataset()
    child = Dataset()
    child.ValueType = "NUM"
    odd.ContentSequence = [child, Dataset()]
    assert "no value" in as_text(odd)


def test_the_slices_left_out_are_told_as_ranges(report):
    left_out = {0: "mostly air", 1: "mostly air", 4: "mostly air", 5: "table only"}
    model = replace(report.models[0], unscored_slices=left_out)
    text = as_text(structured_report(replace(report, models=(model,))))
    assert "N2Q left out slices 1-2, 5: mostly air" in text
    assert "N2Q left out slices 6: table only" in text
