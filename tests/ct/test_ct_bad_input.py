"""Files that make no volume are refused with a sentence; a broken slice among good ones is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.volume import FindingCode
from ctiqa_node.ct.writer import SeriesTags, write_series
from ctiqa_node.errors import Rejected

SPACING = (2.5, 0.7, 0.8)
COMPRESSED = [RLELossless, JPEGLSLossless, JPEG2000Lossless]
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def truncate(path: Path, share: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def break_frame(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the compressed bytes of a file that stays well-formed DICOM."""
    dataset = pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([change(frame)])
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"PixelSpacing": None}, "no usable Pixel Spacing"),
        ({"PixelSpacing": ["0", "0.8"]}, "no usable Pixel Spacing"),
        ({"ImagePositionPatient": None}, "no usable Image Position (Patient)"),
        ({"ImagePositionPatient": ["0", "0", "1e300"]}, "no usable Image Position (Patient)"),
        ({"ImageOrientationPatient": None}, "no usable Image Orientation (Patient)"),
        ({"ImageOrientationPatient": ["1", "0", "0", "0", "0", "-1"]}, "different orientations"),
        ({"Rows": 0}, "0 rows"),
        ({"Rows": 20}, "40×48 and of 20×48"),
        ({"PixelSpacing": ["0.9", "0.8"]}, "Pixel Spacing (0.7, 0.8) and (0.9, 0.8) are mixed"),
        ({"SeriesInstanceUID": "1.2.3"}, "slices of Series 1.2.3 are mixed in"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"SamplesPerPixel": 3}, "Samples per Pixel is 3"),
        ({"RescaleSlope": None}, "no usable Rescale Slope"),
        ({"RescaleSlope": "0"}, "no usable Rescale Slope"),
        ({"RescaleType": "MGML"}, "MGML, not Hounsfield units"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "is not CT"),
        ({"NumberOfFrames": 2}, "one frame"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_series_with_one_odd_file_is_refused_with_a_sentence(
    series: list[Path], tags: SeriesTags, edit: Callable[..., str], attributes: dict[str, object], problem: str
) -> None:
    edit(series[-1], **attributes)
    with pytest.raises(Rejected) as refused:
        load_series(series)
    sentence = str(refused.value)
    assert problem in sentence
    if "SeriesInstanceUID" not in attributes:
        assert tags.series_uid in sentence
    assert sentence.endswith(".")
    assert "; " in sentence, "it also says what to do"
    assert "\n" not in sentence


def test_the_sentence_names_the_file_that_is_to_blame(series: list[Path], edit: Callable[..., str]) -> None:
    guilty = edit(series[3], PixelSpacing=None)
    with pytest.raises(Rejected, match=guilty):
        load_series(series)


def test_cosines_that_are_no_right_angle_are_refused(series: list[Path], edit: Callable[..., str]) -> None:
    for path in series:
        edit(path, ImageOrientationPatient=["1", "0", "0", "0.5", "0.8", "0"])
    with pytest.raises(Rejected, match="right angle"):
        load_series(series)


def test_a_number_that_is_text_counts_as_missing(series: list[Path]) -> None:
    raw = series[0].read_bytes()
    value = b"0.7\\0.8 "
    assert raw.count(value) == 1
    series[0].write_bytes(raw.replace(value, b"abc\\def "))
    with pytest.raises(Rejected, match="no usable Pixel Spacing"):
        load_series(series)


def test_a_value_with_the_wrong_length_counts_as_missing(series: list[Path]) -> None:
    dataset = pydicom.dcmread(series[0])
    tag = Tag("Rows")
    dataset[tag] = RawDataElement(tag, "UL", 4, b"\x28\x00\x00\x00", 0, False, True)
    dataset.save_as(series[0])
    raw = series[0].read_bytes()
    series[0].write_bytes(
        raw.replace(b"\x28\x00\x10\x00UL\x04\x00\x28\x00\x00\x00", b"\x28\x00\x10\x00US\x03\x00\x28\x00\x00")
    )
    with pytest.raises(Rejected, match="0 rows"):
        load_series(series)


@pytest.mark.parametrize("syntax", NATIVE + COMPRESSED, ids=lambda uid: uid.name)
def test_a_truncated_slice_is_left_out_and_the_rest_is_used(
    tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID
) -> None:
    paths = write_series(hu, SPACING, tmp_path, transfer_syntax=syntax)
    truncate(paths[2])
    volume = load_series(paths)
    assert np.array_equal(volume.hu, np.delete(hu, 2, axis=0).astype(np.float32))
    assert [finding.code for finding in volume.findings] == [FindingCode.UNUSABLE_INSTANCE, FindingCode.UNEVEN_GAPS]
    assert len(volume.sources) == len(volume.headers) == len(volume.geometry.positions) == 5


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.name)
def test_a_slice_whose_compressed_data_stop_early_is_left_out_by_name(
    tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID
) -> None:
    paths = write_series(hu, SPACING, tmp_path, transfer_syntax=syntax)
    break_frame(paths[1], lambda frame: frame[: len(frame) // 4 * 2])
    volume = load_series(paths)
    unusable = [finding for finding in volume.findings if finding.code is FindingCode.UNUSABLE_INSTANCE]
    assert len(unusable) == 1
    assert pydicom.dcmread(paths[1], stop_before_pixels=True).SOPInstanceUID in unusable[0].sentence
    assert np.array_equal(volume.hu, np.delete(hu, 1, axis=0).astype(np.float32))


def test_scrambled_run_lengths_never_end_the_process(tmp_path: Path, hu: npt.NDArray[np.float64]) -> None:
    paths = write_series(hu, SPACING, tmp_path, transfer_syntax=RLELossless)
    whole = paths[0].read_bytes()
    rng = np.random.default_rng(3)
    left_out = 0
    for _ in range(20):  # some decode to nonsense, some run over their end
        paths[0].write_bytes(whole)
        start = int(rng.integers(64, 2000))
        noise = rng.integers(0, 256, 200, dtype=np.uint8).tobytes()
        break_frame(paths[0], lambda frame: frame[:start] + noise + frame[start + 200 :])  # noqa: B023  # used at once
        left_out += 6 - len(load_series(paths).hu)
    assert 0 < left_out < 20


def test_an_undecodable_slice_gives_way_to_another_at_its_position(
    tmp_path: Path, series: list[Path], tags: SeriesTags, edit: Callable[..., str], hu: npt.NDArray[np.float64]
) -> None:
    again = write_series(hu[:1] + 50, SPACING, tmp_path / "again", tags=tags)
    edit(again[0], InstanceNumber=99)
    truncate(series[0])
    volume = load_series([*series, *again])
    assert np.array_equal(volume.hu[0], (hu[0] + 50).astype(np.float32))
    assert len(volume.hu) == 6


def test_more_unusable_than_usable_slices_are_refused(series: list[Path], tags: SeriesTags) -> None:
    for path in series[:3]:
        truncate(path)
    assert len(load_series(series).hu) == 3
    truncate(series[3])
    with pytest.raises(Rejected, match="only 2 of 6 slices") as refused:
        load_series(series)
    assert tags.series_uid in str(refused.value)


def test_files_that_are_not_dicom_are_left_out(series: list[Path], tmp_path: Path) -> None:
    stray = tmp_path / "stray"
    stray.write_bytes(b"no DICOM at all")
    volume = load_series([stray, *series])
    assert [finding.code for finding in volume.findings] == [FindingCode.UNUSABLE_INSTANCE]
    with pytest.raises(Rejected, match="None of the 1 files"):
        load_series([stray])


def test_a_file_without_sop_instance_uid_is_left_out(series: list[Path], edit: Callable[..., str]) -> None:
    dataset = pydicom.dcmread(series[0])
    del dataset.SOPInstanceUID
    dataset.save_as(series[0])
    volume = load_series(series)
    assert len(volume.hu) == 5
    assert "no SOP Instance UID" in volume.findings[0].sentence


def test_no_files_are_refused() -> None:
    with pytest.raises(Rejected, match="None of the 0 files"):
        load_series([])


def test_a_header_that_claims_more_pixels_than_there_are_is_no_trouble(
    series: list[Path], edit: Callable[..., str]
) -> None:
    for path in series:
        edit(path, Rows=20000, Columns=20000)
    with pytest.raises(Rejected, match="only 0 of 6 slices"):
        load_series(series)


@pytest.mark.parametrize("syntax", NATIVE + COMPRESSED, ids=lambda uid: uid.name)
def test_bytes_changed_at_random_give_a_volume_or_a_refusal(
    tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID
) -> None:
    paths = write_series(hu[:3], SPACING, tmp_path, transfer_syntax=syntax)
    whole = np.frombuffer(paths[1].read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(11)
    loaded = 0
    for _ in range(40):
        changed = whole.copy()
        changed[rng.integers(132, len(whole), size=8)] = rng.integers(0, 256, size=8)
        paths[1].write_bytes(changed.tobytes())
        with contextlib.suppress(Rejected):
            assert np.isfinite(load_series(paths).hu).all()
            loaded += 1
    assert loaded
