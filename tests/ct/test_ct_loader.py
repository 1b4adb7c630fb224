"""Files in any order and coding come back as one volume in HU, sorted by position."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.volume import CtVolume, FindingCode
from ctiqa_node.ct.writer import PixelCoding, Placement, SeriesTags, write_series

SPACING = (2.5, 0.7, 0.8)

codings = st.builds(
    PixelCoding,
    slope=st.floats(0.25, 2.0).map(lambda value: round(value, 4)),
    intercept=st.sampled_from([-1024.0, -1000.0, -8192.0]),
    signed=st.booleans(),
).map(lambda coding: coding if not coding.signed else PixelCoding(coding.slope, -1024.0, True))


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Axial slices turned by up to 25° about x and y, head or feet first."""
    about_x, about_y = (np.radians(draw(st.floats(-25, 25))) for _ in range(2))
    turn_x = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]])
    turn_y = np.array([[np.cos(about_y), 0, np.sin(about_y)], [0, 1, 0], [-np.sin(about_y), 0, np.cos(about_y)]])
    axes = turn_y @ turn_x @ np.diag([draw(st.sampled_from([1.0, -1.0])), 1.0, 1.0])
    first = draw(st.tuples(*[st.floats(-900, 900)] * 3))
    return Placement(first, tuple(axes[:, 0]), tuple(axes[:, 1]))


def codes(volume: CtVolume) -> set[FindingCode]:
    return {finding.code for finding in volume.findings}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), placement=placements(), slice_codings=st.lists(codings, min_size=1, max_size=7))
def test_a_shuffled_series_comes_back_sorted_and_within_half_a_rescale_step(
    data: st.DataObject, placement: Placement, slice_codings: list[PixelCoding]
) -> None:
    count = len(slice_codings)
    original = np.random.default_rng(count).uniform(-1000, 2000, size=(count, 5, 6))
    spacing = (data.draw(st.floats(0.5, 8.0)), 0.7, 0.8)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_series(original, spacing, Path(folder), placement=placement, coding=slice_codings)
        volume = load_series(data.draw(st.permutations(paths)))
    for plane, expected, coding in zip(volume.hu, original, slice_codings, strict=True):
        assert np.abs(plane - expected).max() <= coding.slope / 2 + 1e-2
    assert [source.instance_number for source in volume.sources] == list(range(1, count + 1))
    assert volume.hu.dtype == np.float32
    assert volume.findings == ()
    assert volume.geometry.spacing_mm == pytest.approx(spacing, rel=1e-4)
    assert volume.geometry.positions[0] == pytest.approx(placement.first_mm, abs=1e-4)
    assert (np.diff(volume.geometry.distances) > 0).all()


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(0.5, 30.0), sign=st.sampled_from([-1, 1]))
def test_a_stack_that_leans_off_its_normal_is_found_as_gantry_tilt(angle: float, sign: int) -> None:
    lean = np.radians(sign * angle)
    # The table moves along z while the slices are turned about x: the distance along the normal is 4 · cos.
    placement = Placement((0, 0, 0), (1, 0, 0), (0, np.cos(lean), np.sin(lean)), (0, 0, 4.0))
    with tempfile.TemporaryDirectory() as folder:
        volume = load_series(write_series(np.zeros((5, 4, 4)), (4.0, 1.0, 1.0), Path(folder), placement=placement))
    assert codes(volume) == {FindingCode.GANTRY_TILT}
    told = re.search(r"stacked ([0-9.]+)°", volume.findings[0].sentence)
    assert told is not None
    assert float(told[1]) == pytest.approx(angle, abs=0.051)  # told to a tenth; 1.35 may become either neighbour
    assert volume.geometry.spacing_mm[0] == pytest.approx(4.0 * np.cos(lean), rel=1e-5)


def test_a_tilt_that_only_the_header_tells_is_found(series: list[Path], edit: Callable[..., str]) -> None:
    for path in series:
        edit(path, GantryDetectorTilt="-12.5")
    volume = load_series(series)
    assert codes(volume) == {FindingCode.GANTRY_TILT}
    assert "-12.5°" in volume.findings[0].sentence


def test_headers_and_sources_run_with_z_and_hold_no_pixels(series: list[Path]) -> None:
    volume = load_series(series[::-1])
    expected = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in series]
    assert [source.sop_instance_uid for source in volume.sources] == expected
    assert [header.SOPInstanceUID for header in volume.headers] == expected
    assert not any("PixelData" in header for header in volume.headers)


def test_names_and_extensions_of_files_have_no_meaning(series: list[Path], hu: npt.NDArray[np.float64]) -> None:
    renamed = [path.rename(path.with_name(f"{9 - index}.txt")) for index, path in enumerate(series)]
    assert np.array_equal(load_series(renamed).hu, hu.astype(np.float32))


def test_a_missing_slice_is_found_as_an_uneven_gap(series: list[Path], hu: npt.NDArray[np.float64]) -> None:
    volume = load_series(series[:3] + series[4:])
    assert codes(volume) == {FindingCode.UNEVEN_GAPS}
    assert "about 1 slice(s) may be missing" in volume.findings[0].sentence
    assert volume.geometry.spacing_mm[0] == pytest.approx(2.5)
    assert len(volume.hu) == 5


def test_positions_rounded_by_the_scanner_are_even(tmp_path: Path) -> None:
    placement = Placement(step_mm=(0, 0, 0.625))
    paths = write_series(np.zeros((9, 4, 4)), (0.625, 1, 1), tmp_path, placement=placement)
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = ["0", "0", f"{index * 0.625:.2f}"]
        dataset.save_as(path)
    assert load_series(paths).findings == ()


def test_of_two_slices_at_one_position_the_lowest_instance_number_stays(
    tmp_path: Path, series: list[Path], tags: SeriesTags, edit: Callable[..., str], hu: npt.NDArray[np.float64]
) -> None:
    again = write_series(hu[:1] + 50, SPACING, tmp_path / "again", tags=tags)
    left_out = edit(again[0], InstanceNumber=99)
    for order in ([*series, *again], [*again, *series]):
        volume = load_series(order)
        assert np.array_equal(volume.hu, hu.astype(np.float32))
        assert codes(volume) == {FindingCode.DUPLICATE_POSITION}
        assert left_out in volume.findings[0].sentence


def test_equal_instance_numbers_at_one_position_are_settled_by_uid(
    tmp_path: Path, series: list[Path], tags: SeriesTags, edit: Callable[..., str], hu: npt.NDArray[np.float64]
) -> None:
    again = write_series(hu[:1] + 50, SPACING, tmp_path / "again", tags=tags)
    edit(series[0], SOPInstanceUID="1.2.9")
    edit(again[0], SOPInstanceUID="1.2.3")
    assert load_series([*series, *again]).sources[0].sop_instance_uid == "1.2.3"


def test_one_slice_takes_its_thickness_as_spacing(series: list[Path], edit: Callable[..., str]) -> None:
    assert load_series(series[2:3]).geometry.spacing_mm == pytest.approx(SPACING)
    edit(series[2], SliceThickness=None)
    assert load_series(series[2:3]).geometry.spacing_mm[0] == 1.0


def test_one_slice_may_lack_its_position(series: list[Path], edit: Callable[..., str]) -> None:
    edit(series[0], ImagePositionPatient=None, ImageOrientationPatient=None)
    volume = load_series(series[:1])
    assert volume.geometry.positions.tolist() == [[0.0, 0.0, 0.0]]
    assert volume.geometry.normal.tolist() == [0.0, 0.0, 1.0]


def test_a_missing_image_type_is_recorded(series: list[Path], edit: Callable[..., str]) -> None:
    for path in series[:2]:
        edit(path, ImageType=None)
    volume = load_series(series)
    assert codes(volume) == {FindingCode.NO_IMAGE_TYPE}
    assert volume.findings[0].sentence.startswith("2 instance(s)")
