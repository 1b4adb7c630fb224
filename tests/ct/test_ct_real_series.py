"""The real series of the data folder load as what their headers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.selection import choose, summarise
from ctiqa_node.ct.volume import FindingCode

pytestmark = pytest.mark.data

# Of each series the number of slices, the spacing, and what the loader finds.
EXPECTED = {
    "abdomen-ge-standard": (41, (5.0, 0.796875, 0.796875), {FindingCode.PADDING}),
    "abdomen-siemens-b30s": (18, (2.5, 0.6640625, 0.6640625), set()),
    "chest-ge-lung": (100, (2.5, 0.898438, 0.898438), {FindingCode.PADDING}),
    "chest-siemens-b31f": (98, (1.0, 0.759765625, 0.759765625), {FindingCode.NO_IMAGE_TYPE}),
    "head-phantom-philips-ub": (28, (5.0, 0.451171875, 0.451171875), set()),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_series_loads_in_hounsfield_units(ctiqa_data: Path, name: str) -> None:
    slices, spacing, findings = EXPECTED[name]
    volume = load_series(sorted((ctiqa_data / "series" / name).iterdir(), reverse=True))
    assert volume.hu.shape == (slices, 512, 512)
    assert volume.geometry.spacing_mm == pytest.approx(spacing)
    assert {finding.code for finding in volume.findings} == findings
    assert volume.hu.min() == -1024.0
    assert volume.hu.max() <= 3071.0
    middle = volume.hu[slices // 2]
    soft = middle[(middle > -150) & (middle < 250)]
    assert -60 < np.median(soft) < 150, "soft tissue (or the phantom's plastic) lies near water"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_series_is_chosen_whole(ctiqa_data: Path, name: str) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in (ctiqa_data / "series" / name).iterdir()]
    choice = choose([summarise(header, is_own_result=False) for header in headers], min_slices=5)
    assert choice.reason is None
    assert len(choice.selected) == EXPECTED[name][0]
