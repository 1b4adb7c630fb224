"""Reports of the real series: valid, and drawn without a warning."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from pydicom import dcmwrite

from ctiqa_node.ct.loader import load_series
from ctiqa_node.report.outline import body_outline
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.series_header import acquisition_line, voi_window
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.summary_page import summary_page

pytestmark = pytest.mark.data

SERIES = {
    "abdomen-ge-standard": ("kernel STANDARD", (-160.0, 240.0)),
    "abdomen-siemens-b30s": ("kernel B30s", (-145.0, 205.0)),
    "chest-ge-lung": ("kernel LUNG", (-1450.0, 50.0)),
    "chest-siemens-b31f": ("kernel B31f", (-160.0, 240.0)),
    "head-phantom-philips-ub": ("kernel UB", (0.0, 80.0)),
}


@pytest.fixture(scope="module", params=list(SERIES))
def real(request, ctiqa_data):
    folder = ctiqa_data / "series" / request.param
    return request.param, load_series(sorted(folder.glob("*.dcm"))[:12])


def test_real_series_give_valid_objects(real, make_report, tmp_path):
    name, volume = real
    report = make_report(volume)
    page = summary_page(report)
    results = {"sr": structured_report(report), "sc": secondary_capture(report, page)}
    for kind, result in results.items():
        dcmwrite(tmp_path / f"{kind}.dcm", result, enforce_file_format=True)
        if shutil.which("dciodvfy"):
            done = subprocess.run(["dciodvfy", tmp_path / f"{kind}.dcm"], capture_output=True, timeout=60, check=False)
            assert b"Error" not in done.stderr, done.stderr
    kernel, limits = SERIES[name]
    assert kernel in acquisition_line(report)
    assert voi_window(report, 0).limits == limits


def test_the_outline_of_a_real_body_holds_most_of_the_dense_voxels(real):
    _, volume = real
    z = len(volume.hu) // 2
    points = body_outline(volume.hu[z])
    assert len(points) < 400
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    dense = volume.hu[z] > 0
    inside = dense[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
    assert inside.sum() > 0.85 * dense.sum()  # the rest is table and head holder
    assert np.array_equal(points[0], points[-1])
