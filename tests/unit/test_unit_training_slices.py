"""Folders of DICOM files as training slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_node.ct.writer import SeriesTags, write_series
from ctiqa_node.errors import Rejected
from ctiqa_node.laboratory import Given, sources_of
from ctiqa_node.training_slices import AxialSlice, read_dicom_folder


def ramp(slices: int, rows: int = 24, columns: int = 24) -> np.ndarray:
    """Slice z is z HU everywhere but for a corner of 500 HU."""
    hu = np.broadcast_to(np.arange(slices, dtype=np.float64)[:, None, None], (slices, rows, columns)).copy()
    hu[:, :3, :5] = 500
    return hu


def edit(file: Path, **values: object) -> None:
    dataset = pydicom.dcmread(file)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good series, a localizer, a text and a file that is cut off, in folders below one."""
    root = tmp_path / "export"
    write_series(ramp(4), (2.5, 0.7, 0.7), root / "a", tags=SeriesTags(patient_id="P1", convolution_kernel="B30f"))
    sharp = SeriesTags(patient_id="P2", convolution_kernel="B70f", series_description="rows < columns")
    write_series(ramp(3, 20, 24), (1.0, 0.7, 0.7), root / "b" / "c", tags=sharp)
    scout = SeriesTags(patient_id="P1", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    write_series(ramp(1), (2.5, 0.7, 0.7), root / "scout", tags=scout)
    (root / "README").write_text("no DICOM")
    cut = next((root / "a").iterdir()).read_bytes()[:900]
    (root / "cut").write_bytes(cut)
    return root


def read(folder: Path, most: int = 50) -> tuple[list[list[AxialSlice]], list[str]]:
    told: list[str] = []
    return list(read_dicom_folder(folder, told.append, most)), told


def test_original_axial_series_become_square_slices_with_what_their_headers_say(folder: Path) -> None:
    (first, second), told = read(folder)
    assert [one.hu[12, 12] for one in first] == [0, 1, 2, 3]
    assert first[0].hu.dtype == np.int16
    assert first[0].hu[0, 0] == 500
    assert {(one.patient, one.kernel, one.thickness_mm, one.spacing_mm) for one in first} == {("P1", "B30f", 2.5, 0.7)}
    assert [one.kernel for one in second] == ["B70f"] * 3
    assert second[0].hu.shape == (24, 24)
    assert second[1].hu[:2].max() == second[1].hu[-2:].max() == -1024
    assert second[1].hu[2, 0] == 500
    assert any("localizer" in sentence for sentence in told)
    assert any("1 files were left out: they cannot be read" in sentence for sentence in told)


def test_a_long_series_gives_evenly_spread_slices(tmp_path: Path) -> None:
    write_series(ramp(11), (1.0, 0.7, 0.7), tmp_path)
    ((slices,), _) = read(tmp_path, most=3)
    assert [int(one.hu[12, 12]) for one in slices] == [0, 5, 10]


def test_a_series_that_cannot_be_used_is_told_and_left_out(folder: Path) -> None:
    for file in (folder / "a").iterdir():
        edit(file, PixelSpacing=[0.7, 0.9])
    series, told = read(folder)
    assert [one.patient for slices in series for one in slices] == ["P2"] * 3
    assert any("its pixels are not square, 0.7 × 0.9 mm" in sentence for sentence in told)


def test_a_slice_whose_pixels_are_broken_is_left_out(folder: Path) -> None:
    broken = sorted((folder / "b" / "c").iterdir())[1]
    edit(broken, PixelData=b"\0" * 10)
    (_, second), told = read(folder)
    assert len(second) == 2
    assert any("was left out, its pixels can't be decoded" in sentence for sentence in told)


def test_a_folder_without_a_usable_series_is_refused(folder: Path) -> None:
    with pytest.raises(Rejected, match="no original axial CT series"):
        read(folder / "scout")


def test_dicom_and_phantoms_become_the_slices_of_one_training(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    given = Given((str(folder), "simulation"), phantoms=1, slices_per_phantom=2, size=32)
    for _ in range(2):
        sources = sources_of(given, tmp_path / "work", processes=1, tell=told.append)
    assert sources.slices is not None
    patients = [read_slice(file).patient for file in slice_files(sources.slices)]
    assert sorted(patients) == ["P1"] * 4 + ["P2"] * 3 + ["phantom-0001"] * 2
    assert sum("localizer" in sentence for sentence in told) == 1  # the second time, what was made is used again
    assert told[0] == f"{folder}: DICOM files."


def test_slices_that_were_half_made_are_made_again(folder: Path, tmp_path: Path) -> None:
    given = Given((str(folder),))
    made = sources_of(given, tmp_path / "work", processes=1, tell=lambda _: None).slices
    assert made is not None
    (made / "source.json").unlink()
    (made / "99999-000.npz").write_bytes(b"of another folder")
    sources_of(given, tmp_path / "work", processes=1, tell=lambda _: None)
    assert len(slice_files(made)) == 7


def test_without_data_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="give --data a folder"):
        sources_of(Given(()), tmp_path, processes=1, tell=lambda _: None)


@pytest.mark.data
def test_a_real_series_becomes_slices_in_hounsfield_units(ctiqa_data: Path) -> None:
    ((slices,), _) = read(ctiqa_data / "series" / "abdomen-siemens-b30s")
    assert len(slices) == 18
    assert {(one.kernel, one.thickness_mm, one.hu.shape) for one in slices} == {("B30s", 3.0, (512, 512))}
    assert 0.6 < slices[0].spacing_mm < 0.7
    liver_or_fat = [float(np.median(one.hu[one.hu > -300])) for one in slices]
    assert all(-110 < value < 100 for value in liver_or_fat)
