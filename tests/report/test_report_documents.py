"""Key objects, text report and PDF, read back without our code."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread, dcmwrite
from pypdf import PdfReader
from test_report_names import NAMES, header_in

from ctiqa_node.ct.volume import Finding, FindingCode
from ctiqa_node.report.content import ReportedClassification, ReportedMeasurement
from ctiqa_node.report.encapsulated_pdf import encapsulated_pdf
from ctiqa_node.report.key_objects import key_objects
from ctiqa_node.report.pdf_document import pdf_document
from ctiqa_node.report.text_report import text_report


def _bytes(dataset):
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _read(dataset):
    return dcmread(BytesIO(_bytes(dataset)))


def _images(document):
    return [item.ReferencedSOPSequence[0] for item in document.ContentSequence if item.ValueType == "IMAGE"]


def test_the_key_objects_are_the_worst_slices_the_worst_first(make_report, make_volume):
    report = make_report(make_volume(12))
    document = _read(key_objects(report))
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "2010"
    worst = [report.volume.sources[z].sop_instance_uid for z in (5, 10, 3)]
    assert [image.ReferencedSOPInstanceUID for image in _images(document)] == worst
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == report.volume.headers[0].SeriesInstanceUID
    assert sorted(item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence) == sorted(worst)


def test_the_key_objects_say_why(make_report, make_volume):
    document = _read(key_objects(make_report(make_volume(12))))
    (text,) = [i for i in document.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "113012"]
    assert text.TextValue.startswith(
        "The worst 3 slices of 12 by N2Q quality, the worst first: slice 6 (0.79), slice 11 (0.80), slice 4 (0.81)."
    )
    assert "N2Q 1.2.3" in text.TextValue


def test_the_key_frames_of_an_enhanced_ct_are_named(make_report, make_volume):
    (image,) = _images(_read(key_objects(make_report(make_volume(12, enhanced=True)))))
    assert list(image.ReferencedFrameNumber) == [4, 6, 11]


def _lines(item, found=None):
    found = [] if found is None else found
    for child in item.get("ContentSequence", []):
        if child.ValueType == "TEXT":
            found.append((child.ConceptNameCodeSequence[0].CodeMeaning, child.TextValue))
        _lines(child, found)
    return found


def test_the_text_report_has_every_value_class_reason_and_the_caveat(report, make_volume):
    findings = (Finding(FindingCode.PADDING, "Padding was taken as air."),)
    model = replace(report.models[0], unscored_slices={2: "mostly air"})
    report = replace(report, volume=make_volume(findings=findings), models=(model, *report.models[1:]))
    document = _read(text_report(report))
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.22"
    assert "ContentTemplateSequence" not in document
    lines = _lines(document)
    assert ("Summary", "N2Q quality 0.83 of 1; noise 14 HU; dose class 25 %") in lines
    assert ("Intended use", "Research use only. Not for diagnosis.") in lines
    noise = "Noise level 14.2 HU (standard deviation in soft tissue; lower is better), by Noise level 1.0.0."
    assert ("Global noise level", noise) in lines
    assert ("Not scored", "BRISQUE 2.0: the slices are too small") in lines
    assert ("Remark", "Padding was taken as air.") in lines
    assert ("Remark", "N2Q left out slices 3: mostly air") in lines
    assert ("Assessed series", "Series 4: Thorax, 6 slices of 96 x 96, 2 mm thick") in lines
    dose = next(words for name, words in lines if name.startswith("Dose class"))
    assert dose.startswith(
        "Dose class 25 % (61 % likely), 50 % (20 % likely), 10 % (11 % likely), 75 % (6 % likely), 5 % (2 % likely)"
    )
    assert any(name == "Model" and "ab" * 32 in words for name, words in lines)
    assert sum("slice" in words for name, words in lines if name == "Reason for selection") == 4


def test_all_of_the_text_report_is_text_in_ascii_or_a_heading(report):
    document = _read(text_report(report))
    assert all(words.isascii() for _, words in _lines(document))

    def kinds(item):
        for child in item.get("ContentSequence", []):
            yield child.ValueType
            yield from kinds(child)

    assert set(kinds(document)) <= {"TEXT", "CONTAINER", "CODE", "UIDREF"}


@pytest.mark.peers
@pytest.mark.parametrize("maker", [text_report, key_objects])
def test_dsr2html_renders_it(report, maker, tmp_path):
    if shutil.which("dsr2html") is None:
        pytest.skip("needs dsr2html of dcmtk")
    (tmp_path / "document.dcm").write_bytes(_bytes(maker(report)))
    done = subprocess.run(["dsr2html", "+U8", tmp_path / "document.dcm"], capture_output=True, timeout=60, check=False)
    html = done.stdout.decode("utf-8")
    assert done.returncode == 0
    for expected in ("Müller", "N2Q quality", "Not for diagnosis"):
        assert expected in html


def _pages(report):
    result = _read(encapsulated_pdf(report))
    content = result.EncapsulatedDocument[: result.EncapsulatedDocumentLength]
    assert content.rstrip().endswith(b"%%EOF")
    return PdfReader(BytesIO(content)).pages


def _text(report):
    return "\n".join(page.extract_text() for page in _pages(report))


def test_the_pdf_is_what_its_attributes_say(report):
    result = _read(encapsulated_pdf(report))
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (result.MIMETypeOfEncapsulatedDocument, result.BurnedInAnnotation) == ("application/pdf", "YES")
    assert result.EncapsulatedDocument.startswith(b"%PDF-")
    assert len(result.EncapsulatedDocument) % 2 == 0
    named = [item.ReferencedSOPInstanceUID for item in result.SourceInstanceSequence]
    assert named == [source.sop_instance_uid for source in report.volume.sources]


def test_the_pdf_has_the_summary_page_and_all_tables_as_text(report, make_volume):
    findings = (Finding(FindingCode.PADDING, "Padding was taken as air."),)
    report = replace(report, volume=make_volume(findings=findings))
    pages = _pages(report)
    (image,) = pages[0].images
    assert image.image.size == (1024, 1024)
    text = _text(report)
    for expected in (
        "Müller, Jürgen",
        "Series 4: Thorax",
        "N2Q quality 0.83 of 1; noise 14 HU",
        "61.0 %",
        "2.0 %",
        "the slices are too small",
        "Padding was taken as air.",
        "ab" * 32,
        "Research use only. Not for diagnosis.",
    ):
        assert expected in text


def test_the_pdf_has_every_value_of_every_slice(make_report, make_volume):
    report = make_report(make_volume(200))
    lines = _text(report).splitlines()
    start = len(lines) - 1 - lines[::-1].index("Values by slice")
    cells = [line for line in lines[start:] if line.strip()]
    for z in (0, 99, 199):
        place = next(i for i, cell in enumerate(cells) if cells[i : i + 2] == [str(z + 1)] * 2)
        values = [f"{0.9 - 0.01 * ((7 * z) % 200):.2f}", f"{10.0 + z:.1f} HU"]
        assert cells[place + 2 : place + 4] == values
    assert sum(cell == "Instance" for cell in cells) == len(_pages(report)) - 2  # the heading again on each page


def test_more_values_than_columns_make_another_table(report):
    many = tuple(ReportedMeasurement(f"measure_{n}", float(n), "1", 0) for n in range(9))
    text = _text(replace(report, models=(replace(report.models[1], measurements=many),)))
    assert all(f"{n}.00" in text for n in range(9))
    assert text.count("Instance") == 2


@pytest.mark.parametrize("name", ["japanese", "russian", "greek"])
def test_names_of_the_world_are_written_with_the_glyphs_that_there_are(make_report, make_volume, name):
    declared, raw, _, written = NAMES[name]
    first = _pages(make_report(make_volume(2, header_in(declared, raw))))[0].extract_text()
    assert written in first


def test_words_that_look_like_markup_are_words(report):
    reason = "a < b & c <b>bold</b> </para>"
    models = (*report.models[:2], replace(report.models[2], reason=reason))
    assert reason in _text(replace(report, models=models))


def test_the_pdf_does_not_hang_on_what_was_made_before(report, make_report, make_volume):
    first = pdf_document(report)
    pdf_document(make_report(make_volume(3)))
    assert pdf_document(report) == first


def test_scores_have_their_word_and_a_window_that_does_not_fit_the_kernel_is_told(report):
    score = ReportedMeasurement("tfkt_score", 3.12, "1")
    window = ReportedClassification("chest_ctiqa_window", "lung", 0.9)  # but the kernel is B31f
    model = replace(report.models[0], measurements=(score,), classifications=(window,), maps=None)
    report = replace(report, models=(model,))
    lines = dict(_lines(_read(text_report(report))))
    assert lines["TFKT score"].startswith("TFKT score 3.12 good (")
    told = lines["Window class against the convolution kernel"]
    assert told == "mismatch: the series does not look like soft tissue, for which kernel B31f is made"
    text = _text(report)
    assert "3.12 good" in text
    assert "Window class and tags: mismatch" in text
