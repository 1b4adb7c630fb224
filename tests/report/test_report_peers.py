"""Our objects before other people's programs: dicom3tools' validator and dumper, dcmtk's renderer."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from test_report_names import NAMES, header_in

from ctiqa_node.ct.volume import Finding, FindingCode
from ctiqa_node.report.content import Predecessor, ReportedClassification, SliceChoice
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report

LAST = (
    Predecessor("1.2.840.10008.5.1.4.1.1.88.33", "2.25.4711"),
    Predecessor("1.2.840.10008.5.1.4.1.1.7", "2.25.4712"),
)
pytestmark = pytest.mark.peers


def _run(program, *arguments):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def _cases(report, make_volume, make_report):
    findings = tuple(Finding(code, f"Sentence about {code}.") for code in FindingCode)
    empty = replace(report, volume=make_volume(3, Dataset()))
    score = replace(report.models[0].measurements[0], name="tfkt_score", value=3.1)
    lung = ReportedClassification("chest_ctiqa_window", "lung", 0.9)
    eloquent = replace(report.models[0], measurements=(score, replace(score, slice_index=0)), classifications=(lung,))
    return {
        "everything": replace(
            report,
            models=(eloquent, *report.models[1:]),
            revision=2,
            predecessors=LAST,
            slice_groups=SliceChoice.ALL,
        ),
        "full": replace(report, volume=make_volume(findings=findings)),
        "empty header": empty,
        "not scored": replace(report, models=report.models[2:]),
        "no model": replace(report, models=()),
        "enhanced": make_report(make_volume(5, enhanced=True)),
        "one slice": make_report(make_volume(1)),
    } | {name: make_report(make_volume(3, header_in(*NAMES[name][:2]))) for name in NAMES}


CASES = ["everything", "full", "empty header", "not scored", "no model", "enhanced", "one slice", *NAMES]


@pytest.fixture(params=CASES)
def written(request, report, make_volume, make_report, tmp_path):
    case = _cases(report, make_volume, make_report)[request.param]
    page = np.zeros((64, 64, 3), dtype=np.uint8)  # what is drawn makes no difference to the attributes
    results = {"sr": structured_report(case), "sc": secondary_capture(case, page)}
    for kind, result in results.items():
        dcmwrite(tmp_path / f"{kind}.dcm", result, enforce_file_format=True)
    return tmp_path


def test_dciodvfy_finds_no_error(written):
    for kind, iod in (("sr", "ComprehensiveSR"), ("sc", "SCImage")):
        _, said = _run("dciodvfy", written / f"{kind}.dcm")
        assert iod in said
        assert [line for line in said.splitlines() if "Error" in line or "Abort" in line] == []


def test_the_validator_does_find_errors(report, tmp_path):
    broken = structured_report(report)
    del broken.CompletionFlag
    dcmwrite(tmp_path / "broken.dcm", broken, enforce_file_format=True)
    assert "Error" in _run("dciodvfy", tmp_path / "broken.dcm")[1]


def test_dsr2html_renders_the_values(report, tmp_path):
    dcmwrite(tmp_path / "sr.dcm", structured_report(report), enforce_file_format=True)
    code, html = _run("dsr2html", "+U8", tmp_path / "sr.dcm")
    assert code == 0
    for expected in ("Imaging Measurement Report", "0.8251", "14.25", "Müller", "the slices are too small"):
        assert expected in html


def test_dcsrdump_renders_the_values(report, tmp_path):
    dcmwrite(tmp_path / "sr.dcm", structured_report(report), enforce_file_format=True)
    code, dump = _run("dcsrdump", tmp_path / "sr.dcm")
    assert code == 0
    assert '(NOISE-LEVEL,99CTIQA,"Global noise level")  = 14.25' in dump
    assert "POLYLINE" in dump
