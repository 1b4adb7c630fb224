"""What holds for each of the five further result objects, whatever the report."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from test_report_names import NAMES, header_in

from ctiqa_node.ct.volume import Finding, FindingCode
from ctiqa_node.report.content import Predecessor, SliceChoice
from ctiqa_node.report.encapsulated_pdf import encapsulated_pdf
from ctiqa_node.report.key_objects import key_objects
from ctiqa_node.report.parametric_map import parametric_map
from ctiqa_node.report.quality_maps import quality_map_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.text_report import text_report
from ctiqa_node.report.uids import is_own_result
from support.rows import SOP_CLASSES

# Each maker with its IOD as dciodvfy names it, its series number, and its modality.
MAKERS = {
    quality_map_capture: ("MultiframeTrueColorSCImage", 9903, "OT"),
    parametric_map: ("ParametricMap", 9904, "OT"),
    key_objects: ("KeyObjectSelectionDocument", 9905, "KO"),
    encapsulated_pdf: ("EncapsulatedPDF", 9906, "DOC"),
    text_report: ("EnhancedSR", 9907, "SR"),
}
LAST = tuple(Predecessor(sop_class, f"2.25.47{place}") for place, sop_class in enumerate(SOP_CLASSES.values()))
NUMBERED = ("quality_maps", "parametric_map", "key_objects", "pdf", "text_report")
LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine^Alex^Prof. Dr."  # 64 characters: no more are allowed


@pytest.fixture(params=list(MAKERS), ids=[maker.__name__ for maker in MAKERS])
def maker(request):
    return request.param


def _long_name(make_header):
    header = make_header()
    header.PatientName = LONG_NAME
    header.SeriesDescription = "<b>a & b</b> $\\frac{1}{2}$ " * 10
    return header


def _cases(report, make_volume, make_report, make_header):
    findings = tuple(Finding(code, f"Sentence about {code}.") for code in FindingCode)
    odd = replace(report.models[0], name="n2q_imported", summary="Ω & <i>" * 200, trained_on="x" * 3000)
    long = make_volume(6, _long_name(make_header), findings=findings)
    return {
        "twelve slices, one model not scored": replace(make_report(make_volume(12)), revision=2, predecessors=LAST),
        "empty header": make_report(make_volume(2, Dataset())),
        "long words": replace(report, volume=long, models=(odd, *report.models[1:])),
        "enhanced": make_report(make_volume(2, enhanced=True)),
        "japanese": make_report(make_volume(2, header_in(*NAMES["japanese"][:2]))),
    }


CASES = ["twelve slices, one model not scored", "empty header", "long words", "enhanced", "japanese"]


@pytest.fixture(params=CASES)
def case(request, report, make_volume, make_report, make_header):
    return _cases(report, make_volume, make_report, make_header)[request.param]


def _bytes(dataset):
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.peers
def test_dciodvfy_finds_no_error(maker, case, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy of the Debian package dicom3tools")
    (tmp_path / "object.dcm").write_bytes(_bytes(maker(case)))
    done = subprocess.run(["dciodvfy", tmp_path / "object.dcm"], capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert MAKERS[maker][0] in said
    assert [line for line in said.splitlines() if "Error" in line or "Abort" in line] == []


def test_patient_study_and_series_are_those_of_the_source_and_ours(maker, report, make_header):
    result = dcmread(BytesIO(_bytes(maker(report))))
    source = make_header()
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "SpecificCharacterSet"):
        assert result[keyword].value == source[keyword].value
    _, number, modality = MAKERS[maker]
    assert (result.SeriesNumber, result.Modality, result.InstanceNumber) == (number, modality, 1)
    assert result.SeriesDescription.startswith("CT image quality: ")
    assert result.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert "Research use only. Not for diagnosis." in _all_text(result)
    assert is_own_result(result)


def _all_text(result):
    if "EncapsulatedDocument" in result:
        from pypdf import PdfReader

        pages = PdfReader(BytesIO(result.EncapsulatedDocument)).pages
        return "\n".join(page.extract_text() for page in pages)
    return " ".join(str(element.value) for element in result.iterall() if element.VR in ("UT", "LT", "ST", "LO"))


def test_a_japanese_name_keeps_its_bytes(maker, make_volume, make_report):
    declared, raw, name, _ = NAMES["japanese"]
    content = _bytes(maker(make_report(make_volume(2, header_in(declared, raw)))))
    assert raw in content
    assert str(dcmread(BytesIO(content)).PatientName) == name


def test_the_same_report_gives_the_same_bytes_and_a_revision_others(maker, make_report, make_volume):
    report = make_report(make_volume(2))
    numbers = {f"{name}_series_number": 801 + place for place, name in enumerate(NUMBERED)}
    first, again, second = maker(report), maker(report), maker(replace(report, revision=2, **numbers))
    assert _bytes(first) == _bytes(again)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert second.SeriesNumber == 801 + list(MAKERS).index(maker)


def test_no_two_objects_share_a_uid_and_an_overlong_name_breaks_none(make_report, make_volume, make_header):
    header = make_header()
    header.PatientName = f"{LONG_NAME} {LONG_NAME}"
    made = [maker(make_report(make_volume(2, header))) for maker in MAKERS]
    assert len({result.SeriesInstanceUID for result in made}) == len(MAKERS)
    assert len({result.SOPInstanceUID for result in made}) == len(MAKERS)
    assert {str(dcmread(BytesIO(_bytes(result))).PatientName) for result in made} == {f"{LONG_NAME} {LONG_NAME}"}


def test_without_maps_there_are_no_maps_and_without_scores_no_worst_slices(report, unscored_report):
    no_maps = replace(report, models=report.models[1:])
    assert quality_map_capture(no_maps) is None
    assert parametric_map(no_maps) is None
    assert key_objects(no_maps) is not None  # the noise level ranks them
    for maker in (quality_map_capture, parametric_map, key_objects):
        assert maker(unscored_report) is None
        assert maker(replace(report, models=())) is None
    assert "the slices are too small" in _all_text(text_report(unscored_report))
    assert "the slices are too small" in _all_text(encapsulated_pdf(unscored_report))


def test_a_single_slice_is_no_worst_one(make_report, make_volume):
    report = make_report(make_volume(1))
    assert key_objects(report) is None
    assert parametric_map(report).NumberOfFrames == 1
    assert quality_map_capture(report).NumberOfFrames == 1


def test_a_model_that_left_out_every_slice_gives_no_maps(report):
    left_out = replace(report.models[0], unscored_slices=dict.fromkeys(range(6), "mostly air"))
    assert quality_map_capture(replace(report, models=(left_out,))) is None
    assert parametric_map(replace(report, models=(left_out,))) is None


def test_maps_of_another_series_length_do_no_harm(report):
    short = replace(report.models[0], maps=np.full((2, 24, 24), 128, dtype=np.uint8))
    assert dcmread(BytesIO(_bytes(parametric_map(replace(report, models=(short,)))))).pixel_array.shape[0] == 6


def test_a_report_of_all_slices_tells_its_progress_group_by_group(report):
    shares = []
    structured_report(replace(report, slice_groups=SliceChoice.ALL), shares.append)
    assert shares == pytest.approx([place / 7 for place in range(1, 7)])
