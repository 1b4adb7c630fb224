"""Enhanced CT: frames in any order, rescale shared or per frame, mixed with nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from ctiqa_node.ct.enhanced_writer import write_enhanced
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.volume import FindingCode
from ctiqa_node.ct.writer import PixelCoding, Placement, SeriesTags, write_series
from ctiqa_node.errors import Rejected

SPACING = (2.5, 0.7, 0.8)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name
)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_an_enhanced_ct_equals_the_same_slices_as_single_frames(
    tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID, signed: bool
) -> None:
    placement = Placement((-100, -120, 300))
    coding = PixelCoding(signed=signed)
    path = write_enhanced(
        hu, SPACING, tmp_path / "enhanced", placement=placement, coding=coding, transfer_syntax=syntax
    )
    single = load_series(write_series(hu, SPACING, tmp_path / "single", placement=placement))
    volume = load_series([path])
    assert np.array_equal(volume.hu, single.hu)
    assert np.allclose(volume.geometry.positions, single.geometry.positions)
    assert volume.geometry.spacing_mm == pytest.approx(single.geometry.spacing_mm)
    assert [source.frame_number for source in volume.sources] == [1, 2, 3, 4, 5, 6]
    assert volume.findings == ()
    assert all(header is volume.headers[0] for header in volume.headers)


def test_frames_stored_head_first_are_sorted(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    downwards = Placement(step_mm=(0, 0, -2.5))
    volume = load_series([write_enhanced(hu, SPACING, tmp_path / "enhanced", placement=downwards)])
    assert np.array_equal(volume.hu, hu[::-1].astype(np.float32))
    assert [source.frame_number for source in volume.sources] == [6, 5, 4, 3, 2, 1]


def test_a_series_may_come_as_several_enhanced_objects(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    tags = SeriesTags()
    lower = write_enhanced(hu[:3], SPACING, tmp_path / "a", tags=tags)
    upper = write_enhanced(hu[3:], SPACING, tmp_path / "b", tags=tags, placement=Placement((0, 0, 7.5)))
    volume = load_series([upper, lower])
    assert np.array_equal(volume.hu, hu.astype(np.float32))
    assert [source.frame_number for source in volume.sources] == [1, 2, 3, 1, 2, 3]


def test_a_frames_own_rescale_goes_before_the_shared_one(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    path = write_enhanced(hu, SPACING, tmp_path / "enhanced")
    dataset = pydicom.dcmread(path)
    own = Dataset()
    own.RescaleSlope, own.RescaleIntercept, own.RescaleType = "1", "-924", "HU"
    dataset.PerFrameFunctionalGroupsSequence[4].PixelValueTransformationSequence = [own]
    dataset.save_as(path)
    volume = load_series([path])
    assert np.array_equal(volume.hu[3], hu[3].astype(np.float32))
    assert np.array_equal(volume.hu[4], (hu[4] + 100).astype(np.float32))


def test_a_broken_frame_is_left_out_by_number(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    path = write_enhanced(hu, SPACING, tmp_path / "enhanced", transfer_syntax=JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=6))
    frames[2] = frames[2][: len(frames[2]) // 4 * 2]
    dataset.PixelData = encapsulate(frames)
    dataset.save_as(path)
    volume = load_series([path])
    assert np.array_equal(volume.hu, np.delete(hu, 2, axis=0).astype(np.float32))
    assert "Frame 3 of SOP Instance" in volume.findings[0].sentence


def test_gantry_tilt_is_read_from_the_acquisition_details(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    path = write_enhanced(hu, SPACING, tmp_path / "enhanced")
    dataset = pydicom.dcmread(path)
    dataset.SharedFunctionalGroupsSequence[0].CTAcquisitionDetailsSequence[0].GantryDetectorTilt = "15"
    dataset.save_as(path)
    assert [finding.code for finding in load_series([path]).findings] == [FindingCode.GANTRY_TILT]


def test_frames_that_are_not_described_are_refused(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    path = write_enhanced(hu, SPACING, tmp_path / "enhanced")
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[5]
    dataset.save_as(path)
    with pytest.raises(Rejected, match="Number of Frames is 6, but 5 frames are described"):
        load_series([path])


def test_without_plane_positions_it_is_refused(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    path = write_enhanced(hu, SPACING, tmp_path / "enhanced")
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    dataset.save_as(path)
    with pytest.raises(Rejected, match="no usable Image Position"):
        load_series([path])
