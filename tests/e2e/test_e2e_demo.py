"""`make demo` does what the README says; with an archive of its own where Orthanc is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from support.running_node import environment
from support.series import MakeSeries

DEMO = Path(__file__).resolve().parents[2] / "demo" / "demo.py"


@pytest.mark.slow
@pytest.mark.parametrize("archive", [pytest.param("auto", marks=pytest.mark.peers), "folder"])
def test_the_demonstration_leaves_report_picture_and_log(make_series: MakeSeries, tmp_path: Path, archive: str) -> None:
    folder = make_series(8)[0].parent
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(DEMO), "--ct", str(folder), "--out", str(out), "--archive", archive],
        capture_output=True, text=True, timeout=170, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    expected = ["node.log", "report.dcm", "report.txt", "results.json", "summary.dcm", "summary.png"]
    assert sorted(path.name for path in out.iterdir()) == expected
    assert dcmread(out / "report.dcm").Modality == "SR"
    assert "Imaging Measurement Report" in (out / "report.txt").read_text()
    assert (out / "summary.png").read_bytes().startswith(b"\x89PNG")
    assert "node stopped" in (out / "node.log").read_text()
    assert "delivered" in done.stdout
