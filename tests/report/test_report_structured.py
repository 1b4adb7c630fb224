"""The structured report, read back with pydicom alone."""

from __future__ import annotations

import time
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from ctiqa_node.ct.volume import Finding, FindingCode
from ctiqa_node.report.completeness import completeness
from ctiqa_node.report.content import ReportedClassification, ReportedMeasurement, SliceChoice
from ctiqa_node.report.page_text import remark_lines
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.verdicts import ArchiveAnswer


def _bytes(dataset):
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _read_back(report):
    return dcmread(BytesIO(_bytes(structured_report(report))))


def _walk(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from _walk(child)


def _name(item):
    return item.ConceptNameCodeSequence[0].CodeValue


def _groups(sr):
    measurements = next(item for item in sr.ContentSequence if _name(item) == "126010")
    return list(measurements.ContentSequence)


def _numbers(group):
    return {
        _name(item): float(item.MeasuredValueSequence[0].NumericValue)
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }


def _only(group, name):
    (item,) = [item for item in group.ContentSequence if _name(item) == name]
    return item


def test_it_is_a_measurement_report_with_language_device_procedure_and_library(report):
    sr = _read_back(report)
    assert sr.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    assert (_name(sr), sr.ContentTemplateSequence[0].TemplateIdentifier) == ("126000", "1500")
    names = [_name(item) for item in sr.ContentSequence]
    assert names[0] == "121049"
    assert names[-3:] == ["121058", "111028", "126010"]
    texts = {_name(item): item.TextValue for item in sr.ContentSequence if item.ValueType == "TEXT"}
    assert texts["121013"] == "CTIQA"
    assert texts["121015"] == "ctiqa-node 0.1.0"


def test_the_series_group_has_every_series_value_and_refers_to_every_slice(report):
    group = _groups(_read_back(report))[-1]
    assert _numbers(group) == {"N2Q-QUALITY": 0.8251, "N2Q-SPREAD": 0.031, "NOISE-LEVEL": 14.25}
    images = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in group.ContentSequence if i.ValueType == "IMAGE"
    ]
    assert images == [source.sop_instance_uid for source in report.volume.sources]


def test_each_number_names_its_algorithm_version_and_weights(report):
    group = _groups(_read_back(report))[-1]
    below = _only(group, "N2Q-QUALITY").ContentSequence
    texts = [(_name(item), item.TextValue) for item in below if item.ValueType == "TEXT"]
    assert texts[:3] == [("111001", "n2q"), ("111003", "1.2.3"), ("111002", f"SHA-256 of the weights: {'ab' * 32}")]


def test_units_are_ucum(report):
    units = {
        code.CodeValue
        for item in _walk(_read_back(report))
        if item.ValueType == "NUM"
        for code in item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence
        if code.CodingSchemeDesignator == "UCUM"
    }
    assert {"1", "[hnsf'U]", "%", "mm"} <= units


def test_the_dose_class_is_the_likeliest_with_its_probability_and_the_others_below(report):
    decision = _only(_groups(_read_back(report))[-1], "N2Q-DOSE")
    assert decision.ConceptCodeSequence[0].CodeMeaning == "25 %"
    certainty, *_ = [item for item in decision.ContentSequence if item.ValueType == "NUM"]
    assert (_name(certainty), float(certainty.MeasuredValueSequence[0].NumericValue)) == ("111012", 61.0)
    others = [item.ConceptCodeSequence[0].CodeMeaning for item in decision.ContentSequence if item.ValueType == "CODE"]
    assert others == ["50 %", "10 %", "75 %", "5 %"]


def test_the_value_of_a_series_says_how_it_comes_from_the_slices(report):
    *slices, series = _groups(_read_back(report))
    how = {
        _name(item): below.ConceptCodeSequence[0].CodeMeaning
        for item in series.ContentSequence
        for below in item.get("ContentSequence", [])
        if item.ValueType == "NUM" and _name(below) == "121401"
    }
    assert how == {"N2Q-QUALITY": "Mean", "N2Q-SPREAD": "Standard Deviation"}
    assert not [item for group in slices for item in _walk(group) if _name(item) == "121401"]


def _statuses(group):
    found = {}
    for status in (item for item in group.ContentSequence if _name(item) == "SCORING-STATUS"):
        below = {_name(item): item for item in status.ContentSequence}
        found[below["111001"].TextValue] = (status.ConceptCodeSequence[0].CodeValue, below)
    return found


def test_each_model_has_a_verdict_and_one_that_did_not_score_its_reason_coded_and_in_words(report):
    statuses = _statuses(_groups(_read_back(report))[-1])
    assert {name: verdict for name, (verdict, _) in statuses.items()} == {
        "n2q": "SCORED",
        "noise_level": "SCORED",
        "brisque": "NOT-SCORED",
    }
    below = statuses["brisque"][1]
    assert below["410666004"].ConceptCodeSequence[0].CodeValue == "TOO-LITTLE"
    assert below["121106"].TextValue == "the slices are too small"


@pytest.mark.parametrize(
    ("score", "code"),
    [(0.49, "BAD-QUALITY"), (0.5, "122742"), (1.5, "FAIR-QUALITY"), (3.1, "122741"), (3.5, "122740"), (4.0, "122740")],
)
def test_a_score_of_0_to_4_has_its_ldctiqa_word_for_the_series_and_for_slices(report, score, code):
    measured = tuple(ReportedMeasurement("tfkt_score", score, "1", z) for z in (None, 0, 1))
    model = replace(report.models[0], name="tfkt", measurements=measured, classifications=(), maps=None)
    groups = _groups(_read_back(replace(report, models=(model,))))
    *_, middle, series = groups
    for group in (groups[0], groups[1], series):
        assert _only(group, "111101").ConceptCodeSequence[0].CodeValue == code
    assert "111101" not in {_name(item) for item in middle.ContentSequence}  # it has no score


def test_gaps_are_counted_and_a_series_without_them_is_complete_as_far_as_is_known(make_volume, make_report):
    whole = make_volume(6)
    kept = [0, 1, 4, 5]
    geometry = replace(whole.geometry, positions=whole.geometry.positions[kept])
    gaps = replace(
        whole,
        hu=whole.hu[kept],
        geometry=geometry,
        sources=tuple(whole.sources[z] for z in kept),
        headers=whole.headers[:4],
    )
    told = Dataset()
    told.update(whole.headers[0])
    told.ImagesInAcquisition = 6
    expected = {
        "GAPS": (gaps, [2.0]),
        "PROBABLY-ALL": (whole, []),
        "255594003": (replace(whole, headers=(told,) * 6), []),
    }
    for code, (volume, missing) in expected.items():
        item = _only(_groups(_read_back(make_report(volume)))[-1], "COMPLETENESS")
        assert item.ConceptCodeSequence[0].CodeValue == code
        below = item.ContentSequence
        assert [float(n.MeasuredValueSequence[0].NumericValue) for n in below if n.ValueType == "NUM"] == missing
        assert below[-1].TextValue.startswith("2 slices missing between" if missing else "no gap between")


@pytest.mark.parametrize(
    ("archive", "verdict", "sentence"),
    [
        (ArchiveAnswer("PACS", 6, 6), "complete", "PACS has as many instances of the series as came here (6)"),
        (ArchiveAnswer("PACS", 9, 6), "gaps(3)", "PACS has 9 instances of the series, and 6 came here"),
        (ArchiveAnswer("PACS", 4, 6), "probable", "PACS has only 4 instances of the series, and 6 came here"),
        (
            ArchiveAnswer("PACS", None, 6, "no answer"), "probable",
            "PACS could not say how many instances the series has (no answer)",
        ),
    ],
)  # fmt: skip
def test_what_an_archive_has_counts_and_is_told(make_volume, make_report, archive, verdict, sentence):
    volume = make_volume(6)
    found = completeness(volume, archive)
    assert (str(found), found.evidence[-1]) == (verdict, sentence)
    report = replace(make_report(volume), archive=archive)
    item = _only(_groups(_read_back(report))[-1], "COMPLETENESS")
    assert item.ContentSequence[-1].TextValue == f"no gap between neighbouring slices; {sentence}"
    assert sentence[1:] in " ".join(remark_lines(report))


@pytest.mark.parametrize(("label", "code"), [("lung", "MISMATCH"), ("soft tissue", "AGREES")])
def test_a_window_class_is_held_against_the_kernel(report, label, code):
    classes = (ReportedClassification("chest_ctiqa_window", label, 0.9),)
    models = (replace(report.models[0], classifications=classes),)
    item = _only(_groups(_read_back(replace(report, models=models)))[-1], "WINDOW-KERNEL")
    assert item.ConceptCodeSequence[0].CodeValue == code
    assert "B31f" in item.ContentSequence[0].TextValue


def test_without_a_telling_kernel_there_is_nothing_to_hold_it_against(report, make_volume, make_header):
    header = make_header()
    header.ConvolutionKernel = "CHST"
    classes = (ReportedClassification("chest_ctiqa_window", "lung", 0.9),)
    models = (replace(report.models[0], classifications=classes),)
    group = _groups(_read_back(replace(report, volume=make_volume(6, header), models=models)))[-1]
    assert "WINDOW-KERNEL" not in {_name(item) for item in group.ContentSequence}


def test_the_equipment_names_the_software_and_every_model_with_its_version(report):
    assert list(_read_back(report).SoftwareVersions) == ["0.1.0", "n2q 1.2.3", "noise_level 1.0.0", "brisque 2.0"]


def test_every_slice_has_a_group_with_its_values_and_region_where_that_is_wanted(report):
    *groups, _ = _groups(_read_back(replace(report, slice_groups=SliceChoice.ALL)))
    assert len(groups) == 6
    assert all(_numbers(group).keys() == {"N2Q-QUALITY", "NOISE-LEVEL"} for group in groups)
    seen = {_only(g, "111030").ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for g in groups}
    assert seen == {source.sop_instance_uid for source in report.volume.sources}


def test_findings_of_the_loader_are_coded_and_told(make_volume, make_report):
    finding = Finding(FindingCode.DUPLICATE_POSITION, "Two slices at −12 mm.")
    item = _only(_groups(_read_back(make_report(make_volume(findings=(finding,)))))[-1], "INPUT-FINDING")
    assert item.ConceptCodeSequence[0].CodeMeaning == "Duplicate position"
    assert item.ContentSequence[0].TextValue == "Two slices at -12 mm."


def test_each_notable_slice_has_a_group_with_its_values_and_a_closed_region_on_it(report):
    groups = _groups(_read_back(report))[:-1]
    values = {m.slice_index: m.value for m in report.models[0].measurements if m.slice_index is not None}
    worst = sorted(values, key=lambda z: values[z])
    expected = [*worst[:3], worst[-1]]
    assert len(groups) == 4
    for group, z in zip(groups, expected, strict=True):
        assert _numbers(group) == pytest.approx({"N2Q-QUALITY": values[z], "NOISE-LEVEL": 10.0 + z})
        region = _only(group, "111030")
        assert region.GraphicType == "POLYLINE"
        points = np.reshape(region.GraphicData, (-1, 2))
        assert np.array_equal(points[0], points[-1])
        assert np.ptp(points[:, 0]) == pytest.approx(80, abs=3)
        (image,) = region.ContentSequence
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == report.volume.sources[z].sop_instance_uid
        assert f"Slice {z + 1} of 6" in _only(group, "112039").TextValue


def test_every_group_has_a_region_and_that_of_the_series_lies_on_a_slice_of_no_other(report):
    *slices, series = _groups(_read_back(report))
    on = [_only(g, "111030").ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for g in slices]
    region = _only(series, "111030")
    shown = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert shown in {source.sop_instance_uid for source in report.volume.sources} - set(on)
    assert region.GraphicType == "POLYLINE"


def test_the_series_group_begins_with_what_each_model_says_first(report):
    numbers = [_name(i) for i in _groups(_read_back(report))[-1].ContentSequence if i.ValueType == "NUM"]
    assert numbers[:2] == ["N2Q-QUALITY", "NOISE-LEVEL"]


def test_without_any_score_the_middle_slice_has_a_group_and_the_reasons_are_told(unscored_report):
    groups = _groups(_read_back(unscored_report))
    assert "middle slice" in _only(groups[0], "112039").TextValue
    assert _only(groups[0], "111030").GraphicType == "POLYLINE"
    statuses = [item for item in groups[-1].ContentSequence if _name(item) == "SCORING-STATUS"]
    assert len(statuses) == 2


def test_tracking_uids_are_unique_and_stay_over_repeats(report):
    first, second = ([item.UID for item in _walk(_read_back(report)) if _name(item) == "112040"] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) == 5


def test_the_same_report_gives_the_same_bytes(report):
    first = _bytes(structured_report(report))
    time.sleep(1.1)  # no clock may leak into the object
    assert _bytes(structured_report(report)) == first


def test_every_private_code_is_of_the_declared_scheme(report):
    sr = _read_back(report)
    declared = [item.CodingSchemeDesignator for item in sr.CodingSchemeIdentificationSequence]
    assert declared == ["99CTIQA"]
    used = set()
    for item in _walk(sr):
        for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            used |= {code.CodingSchemeDesignator for code in item.get(keyword, [])}
    assert {scheme for scheme in used if scheme.startswith("99")} == {"99CTIQA"}


def test_patient_study_and_accession_are_those_of_the_source(report):
    sr, source = _read_back(report), report.volume.headers[0]
    for keyword in (
        *("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    ):
        assert sr[keyword].value == source[keyword].value, keyword
    assert sr.SeriesInstanceUID != source.SeriesInstanceUID
    assert (sr.SeriesNumber, sr.SeriesDescription, sr.Modality) == (9901, "CT image quality: report", "SR")


def test_series_numbers_are_those_of_the_report(report):
    assert structured_report(replace(report, structured_report_series_number=77)).SeriesNumber == 77


def test_enhanced_ct_is_referred_to_by_frames(make_volume, make_report):
    report = make_report(make_volume(5, enhanced=True))
    groups = _groups(_read_back(report))
    region_image = _only(groups[0], "111030").ContentSequence[0].ReferencedSOPSequence[0]
    slice_number = int(_only(groups[0], "112039").TextValue.split()[1])
    assert region_image.ReferencedFrameNumber == slice_number
    (whole,) = [item for item in groups[-1].ContentSequence if item.ValueType == "IMAGE"]
    assert list(whole.ReferencedSOPSequence[0].ReferencedFrameNumber) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"PatientSex": "X", "PatientBirthDate": "1.2.1950", "StudyDate": "20261399", "StudyTime": "25"},
        {"StudyDate": "", "PatientName": "", "PatientID": "", "StudyTime": "10:11:12"},
        {"PatientID": "x" * 80, "StudyTime": "", "PatientName": "D^" * 9 + "\x07" + "x" * 90},
        {"PatientName": ["A^B", "C^D"], "StudyTime": "101112.123456", "SpecificCharacterSet": "no such set"},
    ],
)
def test_absent_and_odd_header_values_become_empty_and_never_raise(make_volume, make_report, broken):
    header = Dataset()
    for keyword, value in broken.items():
        tag = tag_for_keyword(keyword)
        header.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=0))
    sr = _read_back(make_report(make_volume(3, header)))
    assert sr.PatientSex == ""
    for keyword in ("PatientBirthDate", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        assert not sr[keyword].value
    assert sr.StudyInstanceUID.startswith("2.25.")


def test_an_unknown_model_with_many_words_is_written_too(report):
    model = replace(
        report.models[0],
        name="tfkt_v2",
        summary="σ × “quoted” — 质量 " * 40,
        classifications=(ReportedClassification("window_of_the_series_as_reconstructed", "lung", 1.0),),
    )
    sr = _read_back(replace(report, models=(model,)))
    texts = [item.TextValue for item in _walk(sr) if item.ValueType == "TEXT"]
    assert all(text.isascii() for text in texts)
    assert any("sigma x" in text for text in texts)


def test_300_slices_take_about_a_second(make_volume, make_report):
    report = make_report(make_volume(300))
    start = time.process_time()
    structured_report(report)
    assert time.process_time() - start < 3.0  # 0.5 s alone on a core; room for a busy machine


def test_all_of_many_slices_are_in_the_library(make_volume, make_report):
    report = make_report(make_volume(1200))
    sr = _read_back(report)
    library = next(item for item in sr.ContentSequence if _name(item) == "111028")
    listed = [item for item in _walk(library) if item.ValueType == "IMAGE"]
    assert len(listed) == 1200
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert len(evidence) == 1200
