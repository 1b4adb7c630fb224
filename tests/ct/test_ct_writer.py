"""Simulated series are valid DICOM and say that they are simulated."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from ctiqa_node.ct.enhanced_writer import write_enhanced
from ctiqa_node.ct.writer import NOT_A_PATIENT, PixelCoding, SeriesTags, write_series

SPACING = (2.5, 0.7, 0.8)
# Deflated is left out: Debian's dciodvfy can't inflate.
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]


def complaints(path: Path) -> list[str]:
    """The error lines of dciodvfy, which checks an object against its Information Object Definition."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy of the Debian package dicom3tools")
    done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, timeout=60, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("CTImage" in line for line in lines), "dciodvfy did not recognise the object"
    return [line for line in lines if line.startswith("Error")]


@pytest.mark.peers
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_dciodvfy_finds_no_error_in_a_ct_image(tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID) -> None:
    paths = write_series(hu, SPACING, tmp_path, coding=PixelCoding(signed=True), transfer_syntax=syntax)
    assert complaints(paths[1]) == []


@pytest.mark.peers
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_dciodvfy_finds_no_error_in_an_enhanced_ct(tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID) -> None:
    assert complaints(write_enhanced(hu, SPACING, tmp_path / "enhanced.dcm", transfer_syntax=syntax)) == []


@pytest.mark.peers
def test_dciodvfy_does_find_errors_where_there_are_some(series: list[Path], edit: Callable[..., str]) -> None:
    edit(series[0], RescaleSlope=None)
    assert complaints(series[0]) != []


def test_files_are_named_in_order_and_carry_the_tags(series: list[Path], tags: SeriesTags) -> None:
    assert [path.name for path in series[:2]] == ["IM0001.dcm", "IM0002.dcm"]
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in series]
    assert {header.SeriesInstanceUID for header in headers} == {tags.series_uid}
    assert len({header.SOPInstanceUID for header in headers}) == len(series)
    assert [header.InstanceNumber for header in headers] == [1, 2, 3, 4, 5, 6]
    assert headers[0].ImageComments == headers[0].DerivationDescription == NOT_A_PATIENT


def test_two_series_with_default_tags_are_different_series() -> None:
    assert SeriesTags().series_uid != SeriesTags().series_uid


def test_values_beyond_the_range_are_cut_and_not_wrapped_around() -> None:
    coding = PixelCoding(bits_stored=12)
    assert coding.encode(np.array([-5000.0, 0.0, 9000.0])).tolist() == [0, 1024, 4095]
    signed = PixelCoding(bits_stored=12, signed=True, intercept=0.0)
    assert signed.encode(np.array([-5000.0, 0.4, 9000.0])).tolist() == [-2048, 0, 2047]


def test_a_coding_for_each_slice_must_match_the_number_of_slices(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_series(hu, SPACING, tmp_path, coding=[PixelCoding()] * (len(hu) - 1))
