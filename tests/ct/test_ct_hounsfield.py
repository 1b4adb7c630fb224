"""Padding becomes air however the scanner wrote it; measured values stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from ctiqa_node.ct.hounsfield import AIR_HU, Padding, Rescale, fill_hu, padding_of
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.volume import FindingCode
from ctiqa_node.ct.writer import PixelCoding, write_series


def header(value: int, vr: str, *, signed: bool, limit: int | None = None) -> Dataset:
    dataset = Dataset()
    dataset.BitsAllocated, dataset.PixelRepresentation = 16, int(signed)
    dataset.add(DataElement("PixelPaddingValue", vr, value))
    if limit is not None:
        dataset.add(DataElement("PixelPaddingRangeLimit", vr, limit))
    return dataset


@pytest.mark.parametrize(
    ("value", "vr", "signed", "expected"),
    [
        (-2000, "SS", True, -2000),
        (63536, "US", True, -2000),
        (-1, "SS", False, 65535),
        (0, "US", False, 0),
        (32768, "US", True, -32768),
        (40, "US", True, 40),
    ],
)
def test_padding_is_read_with_the_sign_of_the_pixels(value: int, vr: str, signed: bool, expected: int) -> None:
    assert padding_of(header(value, vr, signed=signed)) == Padding(expected, expected)


def test_a_padding_range_may_run_either_way() -> None:
    assert padding_of(header(63536, "US", signed=True, limit=63486)) == Padding(-2050, -2000)
    assert padding_of(header(63486, "US", signed=True, limit=63536)) == Padding(-2050, -2000)


def test_no_padding_value_means_no_padding() -> None:
    assert padding_of(Dataset()) is None


@given(
    stored=st.lists(st.integers(-400, 30000), min_size=1, max_size=30),
    slope=st.floats(0.1, 3.0),
    intercept=st.floats(-1024, 0),
)
def test_measured_values_are_rescaled_and_nothing_else(stored: list[int], slope: float, intercept: float) -> None:
    pixels = np.array([stored], dtype=np.int16)
    out = np.empty(pixels.shape, dtype=np.float32)
    expected = pixels * slope + intercept
    changed = fill_hu(out, pixels, Rescale(slope, intercept), None)
    measured = expected >= -1499.0  # the few at the edge may fall on either side in float32
    assert np.abs(out - expected)[measured].max(initial=0.0) < 0.02
    assert changed <= np.count_nonzero(~measured)


@pytest.mark.parametrize("outside", [-2000, -3024])
def test_values_outside_the_circle_become_air_without_a_padding_value(tmp_path: Path, outside: int) -> None:
    hu = np.full((5, 8, 8), 40.0)
    hu[:, :2] = outside
    hu[:, 2] = -1100.0  # noise in air
    volume = load_series(write_series(hu, (1, 1, 1), tmp_path, coding=PixelCoding(signed=True)))
    assert (volume.hu[:, :2] == AIR_HU).all()
    assert (volume.hu[:, 2] == -1100.0).all()
    assert (volume.hu[:, 3:] == 40.0).all()
    assert [finding.code for finding in volume.findings] == [FindingCode.PADDING]
    assert "5 of 5 slices" in volume.findings[0].sentence


def test_declared_padding_becomes_air_whatever_its_value(tmp_path: Path) -> None:
    hu = np.full((5, 8, 8), 40.0)
    hu[1, 0] = 3000.0
    paths = write_series(hu, (1, 1, 1), tmp_path)
    dataset = pydicom.dcmread(paths[1])
    dataset.add(DataElement("PixelPaddingValue", "US", 4024))
    dataset.save_as(paths[1])
    volume = load_series(paths)
    assert (volume.hu[1, 0] == AIR_HU).all()
    assert (volume.hu[1, 1:] == 40.0).all()
    assert "1 of 5 slices" in volume.findings[0].sentence


def test_overlay_bits_above_bits_stored_do_not_reach_the_hu(tmp_path: Path) -> None:
    paths = write_series(np.full((1, 4, 4), 100.0), (1, 1, 1), tmp_path, coding=PixelCoding(bits_stored=12))
    dataset = pydicom.dcmread(paths[0])
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 0x8000).tobytes()
    dataset.save_as(paths[0])
    assert (load_series(paths).hu == 100.0).all()
