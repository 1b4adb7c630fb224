from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_state import Run, body
from matplotlib.image import imread
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from ctiqa_node.ct.writer import SeriesTags, write_series


@pytest.fixture(autouse=True)
def _quick_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTIQA_WORKER__ASSESSORS", '["snr", "noise_level"]')
    monkeypatch.setenv("CTIQA_WORKER__DEVICE", "cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good series, one of it twice, a short one, one of gaps in the header, and a text file."""
    source = tmp_path / "in"
    good = write_series(body(6, 12.0), (5, 4, 4), source / "a", tags=SeriesTags(series_description="Good"))
    (source / "a" / "again.dcm").write_bytes(good[0].read_bytes())
    write_series(body(2), (5, 4, 4), source / "b", tags=SeriesTags(series_description="Short"))
    unplaced = write_series(body(6), (5, 4, 4), source / "c", tags=SeriesTags(series_description="Unplaced"))
    for path in unplaced:
        dataset = dcmread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    (source / "notes.txt").write_text("not DICOM")
    return source


def test_a_folder_is_assessed_series_by_series_without_any_state(run: Run, folder: Path, tmp_path: Path) -> None:
    ran = run("assess", str(folder), "--json")
    assert ran.exit_code == 0
    good, short, unplaced = ran.json
    assert (good["state"], good["instances"], good["slices"]) == ("assessed", 6, 6)
    noise = next(m for m in good["models"] if m["model"] == "noise_level")
    assert noise["measurements"][0]["value"] == pytest.approx(12, abs=2)
    assert [value["slice_index"] for value in noise["slices"]] == list(range(6))
    assert (short["state"], short["reason"]) == ("skipped", "only 2 slices; series.min_slices is 5")
    assert unplaced["state"] == "failed"
    assert "1 file left out" in ran.stderr
    assert not (tmp_path / "state").exists()


def test_the_tables_show_values_and_why_the_others_have_none(run: Run, folder: Path) -> None:
    shown = run("assess", str(folder)).stdout
    assert "Series 1: Good (6 slices)" in shown
    assert "Noise level" in shown
    assert "only 2 slices" in shown
    assert "Unplaced" in shown
    assert "Research use only" in shown


def test_out_gets_report_text_picture_and_json_of_each_assessed_series(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run("assess", str(folder), "--out", str(out), "--json")
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == [
        f"series-01/{name}" for name in ("report.dcm", "report.txt", "results.json", "summary.dcm", "summary.png")
    ]
    first = out / "series-01"
    report, summary = dcmread(first / "report.dcm"), dcmread(first / "summary.dcm")
    assert report.SOPClassUID == ComprehensiveSRStorage
    assert summary.SOPClassUID == SecondaryCaptureImageStorage
    assert report.StudyInstanceUID == summary.StudyInstanceUID == ran.json[0]["study_instance_uid"]
    assert imread(first / "summary.png").shape[:2] == (summary.Rows, summary.Columns)
    assert json.loads((first / "results.json").read_text()) == ran.json[0]
    assert (ran.json[0]["completeness"], ran.json[0]["missing_slices"]) == ("probable", 0)
    assert {n["role"] for n in ran.json[0]["notable_slices"]} >= {"worst", "best"}
    assert "Phantom^Simulated" in (first / "report.txt").read_text()


def test_a_folder_without_a_series_that_can_be_assessed_ends_with_exit_code_1(run: Run, folder: Path) -> None:
    ran = run("assess", str(folder / "b"))
    assert ran.exit_code == 1
    assert "only 2 slices" in ran.stdout
    nothing = run("assess", str(folder / "notes.txt"))
    assert nothing.exit_code == 1
    assert "no DICOM file" in nothing.stderr


def test_a_model_that_gives_no_number_is_shown_with_its_reason(run: Run, tmp_path: Path) -> None:
    air = body(6) * 0 - 1000
    write_series(air, (5, 4, 4), tmp_path / "air")
    ran = run("assess", str(tmp_path / "air"))
    assert ran.exit_code == 1
    assert "not scored" in ran.stdout
    assert "because" in ran.stdout


def test_an_output_folder_that_cannot_be_made_is_one_sentence(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = run("assess", str(folder / "a"), "--out", str(tmp_path / "file"))
    assert ran.exit_code == 1
    assert str(tmp_path / "file") in ran.stderr
    assert "Traceback" not in ran.stderr
