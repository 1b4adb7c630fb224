"""The summary page: drawn for every kind of report, the same each time, and nothing beside its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from ctiqa_node.ct.volume import Finding, FindingCode
from ctiqa_node.report.canvas import Canvas, drawable
from ctiqa_node.report.content import ReportedClassification, ReportedMeasurement
from ctiqa_node.report.page_text import headline, model_lines, plotted, remark_lines, table_rows
from ctiqa_node.report.series_header import acquisition_line, patient_line, series_line, study_line, voi_window
from ctiqa_node.report.summary_page import summary_page

BACKGROUND = (13, 17, 23)
PICTURE = (slice(202, 466), slice(426, 690))  # of the worst slice
MAP = (slice(202, 440), slice(702, 966))


def _drawn(page):
    return np.any(page != BACKGROUND, axis=2)


def test_the_headline_says_quality_noise_and_dose(report):
    assert headline(report) == "N2Q quality 0.83 of 1; noise 14 HU; dose class 25 %"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tfkt_score": 3.1}, "3.1 of 4, good; noise 14 HU; dose class 25 %"),
        ({"tfkt_score": 0.2, "chest_ctiqa_score": 2.0}, "0.2 of 4, bad; noise 14 HU; dose class 25 %"),
        ({"chest_ctiqa_score": 6.3}, "Chest CT-IQA 6.3 of 10, general; noise 14 HU; dose class 25 %"),
    ],
)
def test_the_headline_begins_with_the_best_score_that_there_is_and_its_word(report, values, sentence):
    grade = (ReportedClassification("chest_ctiqa_grade", "general", 1.0),)
    measured = tuple(ReportedMeasurement(name, value, "1") for name, value in values.items())
    model = replace(report.models[0], name="other", measurements=measured, classifications=grade)
    assert headline(replace(report, models=(*report.models, model))) == sentence


def test_the_headline_of_an_unscored_series_says_so(unscored_report, report):
    assert headline(unscored_report) == "Not scored by any of 2 models"
    assert headline(replace(report, models=())) == "Not scored: no model ran"


def test_the_headline_of_an_unknown_model_names_its_first_value(report):
    model = replace(report.models[0], classifications=(), measurements=(ReportedMeasurement("new_score", 3.1, "1"),))
    assert headline(replace(report, models=(model,))) == "New score 3.10"


def test_the_table_has_every_value_and_every_reason(report):
    rows = [(row.title, row.value) for row in table_rows(report)]
    assert rows == [
        ("N2Q quality", "0.83"),
        ("Noise level", "14.2 HU"),
        ("BRISQUE", "not scored"),
        ("Dose class", "25 % (61 % likely)"),
        ("N2Q spread", "0.031"),
    ]
    assert table_rows(report)[2].reading == "because: the slices are too small"
    assert table_rows(report)[3].reading == "next 50 % (20 % likely), 10 % (11 % likely); tags: 80 mA"


def _with_window(report, label):
    classes = (
        ReportedClassification("chest_ctiqa_window", label, 0.88),
        ReportedClassification("chest_ctiqa_window", "bone", 0.12),
    )
    model = replace(report.models[0], name="chest_ctiqa", classifications=classes, maps=None, measurements=())
    return replace(report, models=(*report.models, model))


def test_a_class_that_does_not_fit_the_tags_stands_first_and_says_so_in_words(report):
    first, *others = table_rows(_with_window(report, "lung"))
    assert (first.title, first.value, first.stands_out) == ("≠ Window class", "lung (88 % likely)", True)
    assert first.reading == "MISMATCH: kernel B31f is made for soft tissue"
    assert not any(row.stands_out for row in others)
    fitting = {row.title: row for row in table_rows(_with_window(report, "soft tissue"))}["Window class"]
    assert fitting.reading == "next bone (12 % likely); tags: kernel B31f: soft tissue"
    assert not fitting.stands_out


def test_a_mismatch_is_seen_without_colours(report):
    def bright(page):
        return float((page[174:214, 24:400].mean(axis=2) > 200).mean())

    assert bright(summary_page(_with_window(report, "lung"))) > 0.6
    assert bright(summary_page(_with_window(report, "soft tissue"))) < 0.2


def test_a_model_that_did_not_score_is_told_before_what_gives_way(report):
    details = tuple(ReportedMeasurement(f"measure_{n}", float(n), "1") for n in range(20))
    crowded = replace(report, models=(*report.models, replace(report.models[1], name="many", measurements=details)))
    rows = [row.title for row in table_rows(crowded)]
    assert rows.index("BRISQUE") < rows.index("Dose class") < rows.index("N2Q spread")


def test_a_grade_stands_beside_its_score(report):
    grade = ReportedClassification("chest_ctiqa_grade", "general", 1.0)
    score = ReportedMeasurement("chest_ctiqa_score", 6.3, "1")
    model = replace(report.models[0], measurements=(score,), classifications=(grade,))
    assert [(r.title, r.value) for r in table_rows(replace(report, models=(model,)))] == [
        ("Chest CT-IQA score", "6.3 general")
    ]


def test_provenance_and_remarks_are_told(report, make_volume):
    assert model_lines(report)[0].startswith("N2Q 1.2.3 (weights abababab): Predicted similarity map.")
    volume = make_volume(findings=(Finding(FindingCode.PADDING, "Padding was taken as air."),))
    model = replace(report.models[0], unscored_slices={2: "mostly air"})
    lines = remark_lines(replace(report, volume=volume, models=(model,)))
    assert lines == [
        "The series is probably complete.",
        "Padding was taken as air.",
        "N2Q left out slices 3: mostly air",
    ]


def test_the_header_lines_name_patient_study_series_and_acquisition(report):
    assert patient_line(report) == "ID P-1  ·  born 1950-01-31  ·  sex M"
    assert study_line(report) == "Study of 2026-01-02  ·  accession ACC-1"
    assert series_line(report) == "Series 4: Thorax  ·  6 slices of 96 × 96, 2 mm thick"
    assert acquisition_line(report) == "ACME Scan  ·  kernel B31f  ·  100 kVp  ·  80 mA"


def test_the_attributes_of_enhanced_ct_are_found_in_its_functional_groups(make_volume, make_report, make_header):
    header = make_header()
    for keyword in ("KVP", "ConvolutionKernel", "XRayTubeCurrent", "SliceThickness"):
        delattr(header, keyword)
    header.SharedFunctionalGroupsSequence = [Dataset()]
    beam, kernel = Dataset(), Dataset()
    beam.KVP = 120
    kernel.ConvolutionKernel = "Br40"
    header.SharedFunctionalGroupsSequence[0].CTXRayDetailsSequence = [beam]
    header.SharedFunctionalGroupsSequence[0].CTReconstructionSequence = [kernel]
    header.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(4)]
    for number, frame in enumerate(header.PerFrameFunctionalGroupsSequence):
        exposure, voi = Dataset(), Dataset()
        exposure.XRayTubeCurrentInmA = 100.0 + number
        voi.WindowCenter, voi.WindowWidth = 50 + number, 300
        frame.CTExposureSequence, frame.FrameVOILUTSequence = [exposure], [voi]
    report = make_report(make_volume(4, header, enhanced=True))
    assert acquisition_line(report) == "ACME Scan  ·  kernel Br40  ·  120 kVp  ·  100–103 mA"
    assert voi_window(report, 2).limits == (-98.0, 202.0)


@pytest.mark.parametrize(
    ("attributes", "limits"),
    [
        ({}, (-160.0, 240.0)),
        ({"ConvolutionKernel": "LUNG"}, (-1350.0, 150.0)),
        ({"ConvolutionKernel": "B70f"}, (-1350.0, 150.0)),
        ({"WindowCenter": [40, -600], "WindowWidth": [400, 1200]}, (-160.0, 240.0)),
        ({"WindowCenter": -600, "WindowWidth": 1200}, (-1200.0, 0.0)),
        ({"WindowCenter": 40, "WindowWidth": 0}, (-160.0, 240.0)),
        ({"WindowCenter": 40}, (-160.0, 240.0)),
    ],
)
def test_the_window_is_the_headers_first_or_one_that_fits_the_kernel(make_volume, make_report, attributes, limits):
    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    assert voi_window(make_report(make_volume(2, header)), 0).limits == limits


def test_the_page_is_rgb_and_the_same_each_time(report):
    page = summary_page(report)
    assert (page.shape, page.dtype) == ((1024, 1024, 3), np.uint8)
    assert np.array_equal(page, summary_page(report))


def test_the_worst_slice_is_shown_in_its_window_and_its_map_in_colour(report):
    page = summary_page(report)
    grey = page[PICTURE].reshape(-1, 3)
    assert np.ptp(grey.astype(int), axis=1).max() == 0
    middle_of_body = page[314:354, 540:580]
    assert np.abs(middle_of_body.astype(int) - 128).max() <= 2  # 40 HU in the middle of the default window
    brighter = replace(report.models[0], maps=np.full((6, 24, 24), 255, dtype=np.uint8))
    other = summary_page(replace(report, models=(brighter, *report.models[1:])))
    assert other[MAP].mean() > page[MAP].mean() + 20
    assert np.array_equal(other[PICTURE], page[PICTURE])


def test_without_scores_the_middle_slice_fills_the_picture_area(unscored_report):
    page = summary_page(unscored_report)
    large = page[202:740, 426:966]
    assert np.ptp(large.astype(int), axis=2).max() == 0
    middle_of_body = page[450:500, 670:720]
    assert np.abs(middle_of_body.astype(int) - 128).max() <= 2


def _variants(report, make_volume, make_report):
    many = tuple(
        replace(
            report.models[0],
            name=f"model {n}",
            summary="word " * 60,
            maps=None,
            measurements=(ReportedMeasurement(f"measure_{n}", float(n), "1"),),
            classifications=(),
        )
        for n in range(14)
    )
    findings = tuple(Finding(code, "A long sentence about the series. " * 12) for code in FindingCode)
    header = Dataset()
    header.PatientName = "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine Maximilian^Alexander^Prof. Dr. med."
    header.PatientID = "W" * 64
    header.SeriesDescription = "$\\frac{1}{2}$ _^{}" * 20
    header.Manufacturer = "M" * 64
    long_reason = replace(report.models[2], reason="because of a reason of many words " * 30)
    return {
        "one slice": make_report(make_volume(1)),
        "two slices": make_report(make_volume(2)),
        "twelve hundred slices": make_report(make_volume(1200)),
        "no maps": replace(report, models=report.models[1:]),
        "no models": replace(report, models=()),
        "many models": replace(report, volume=make_volume(6, header, findings=findings), models=many),
        "long reason": replace(report, volume=make_volume(6, Dataset()), models=(*report.models[:2], long_reason)),
    }


@pytest.mark.parametrize(
    "name", ["one slice", "two slices", "twelve hundred slices", "no maps", "no models", "many models", "long reason"]
)
@pytest.mark.filterwarnings("error::UserWarning:matplotlib.*")
def test_nothing_leaves_the_page_or_runs_into_the_next_block(report, make_volume, make_report, name):
    drawn = _drawn(summary_page(_variants(report, make_volume, make_report)[name]))
    assert not drawn[:, :18].any()
    assert not drawn[:, 1018:].any()
    assert not drawn[:14].any()
    assert not drawn[1016:].any()
    assert not drawn[982:983].any()  # above the last rule
    assert not drawn[170:785, 404:418].any()  # between table and pictures
    assert not drawn[1:, 1002:][986:].any()  # beside the footer


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0x5FF), max_size=200), st.integers(1, 4), st.integers(60, 400))
def test_wrapped_text_fits_its_width_and_its_lines(text, lines, width):
    canvas = Canvas()
    wrapped = canvas.wrapped(drawable(text), 13, "normal", width, lines)
    assert len(wrapped) <= lines
    assert all(canvas.width_of(line, 13, "normal") <= width for line in wrapped)


def test_at_most_two_curves_are_drawn_the_ranking_one_first(report):
    assert plotted(report) == ["n2q_quality", "noise_level"]
    assert plotted(replace(report, models=())) == []


def test_a_class_that_is_unlikelier_than_the_others_together_is_no_headline(report):
    flat = tuple(replace(c, probability=0.2) for c in report.models[0].classifications)
    models = (replace(report.models[0], classifications=flat), *report.models[1:])
    assert headline(replace(report, models=models)) == "N2Q quality 0.83 of 1; noise 14 HU"
    assert any("(20 % likely)" in row.value for row in table_rows(replace(report, models=models)))


def test_details_come_last_in_the_table(report):
    names = ("tfkt_spread", "chest_ctiqa_score", "tfkt_score")
    model = replace(
        report.models[0], measurements=tuple(ReportedMeasurement(name, 3.1, "1") for name in names), classifications=()
    )
    everything = replace(report, models=(*report.models, model))
    titles = [row.title for row in table_rows(everything)]
    assert titles[:2] == ["TFKT score", "Chest CT-IQA score"]
    assert titles[-2:] == ["TFKT spread", "N2Q spread"]


def test_a_class_that_follows_by_a_rule_stands_without_a_probability(report):
    certain = replace(report.models[0].classifications[0], name="chest_ctiqa_grade", label="good", probability=1.0)
    models = (replace(report.models[0], classifications=(certain,)),)
    rows = {row.title: row.value for row in table_rows(replace(report, models=models))}
    assert rows["Chest CT-IQA grade"] == "good"
