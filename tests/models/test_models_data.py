"""The readers of data sets, and finding out which one a folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ctiqa_models.data import ldctiqac
from ctiqa_models.data.detect import Kind, kind_of
from ctiqa_models.data.gather import gather
from ctiqa_models.data.kadid import read_kadid
from ctiqa_models.data.phantoms import write_phantoms
from ctiqa_models.data.photos import photo_files, read_photo
from ctiqa_models.data.slices import TrainingSlice, read_slice, slice_files, write_slice
from support.rated import write_kadid, write_ldctiqac


@pytest.fixture
def kadid(tmp_path: Path) -> Path:
    return write_kadid(tmp_path / "kadid10k")


@pytest.fixture
def readers(tmp_path: Path) -> Path:
    return write_ldctiqac(tmp_path / "LDCTIQAG2023_train")


def test_kadid_is_read_with_its_references_and_scores(kadid: Path) -> None:
    rated = read_kadid(kadid)
    assert len(rated) == 20
    assert rated[0].file == kadid / "images" / "I01_01_01.png"
    assert (rated[0].reference, rated[0].score) == ("I01", 5.0)
    assert {one.reference for one in rated} == {"I01", "I02"}
    assert min(one.score for one in rated) == 1.8


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("I01_01_01.png,I01.png,6.1,0.4", "line 2: the score 6.1 is outside 1–5"),
        ("I01_01_01.png,I01.png,good,0.4", "line 2: the score 'good' is not a number"),
        ("I01_01_01.png,I01.png,nan,0.4", "line 2: the score 'nan' is not a number"),
        ("I09_01_01.png,I01.png,3.1,0.4", "I09_01_01.png; unpack KADID-10k again"),
        ("I01_01_01.png", "the score None is not a number"),
    ],
)
def test_a_wrong_line_of_kadid_is_named(kadid: Path, line: str, complaint: str) -> None:
    (kadid / "dmos.csv").write_text(f"dist_img,ref_img,dmos,var\n{line}\n")
    with pytest.raises(ValueError) as refused:
        read_kadid(kadid)
    assert complaint in str(refused.value)
    assert "dmos.csv" in str(refused.value)


def test_a_kadid_table_without_its_columns_or_lines_is_refused(kadid: Path) -> None:
    (kadid / "dmos.csv").write_text("name,mos\nI01_01_01.png,3\n")
    with pytest.raises(ValueError, match="has no column dist_img, ref_img, dmos"):
        read_kadid(kadid)
    (kadid / "dmos.csv").write_text("dist_img,ref_img,dmos,var\n")
    with pytest.raises(ValueError, match="lists no images"):
        read_kadid(kadid)


def test_ldctiqac_is_read_whether_its_names_have_a_suffix_or_not(readers: Path) -> None:
    with_suffix = ldctiqac.read_ldctiqac(readers)
    scores = {
        name.removesuffix(".tif"): score for name, score in json.loads((readers / "train.json").read_text()).items()
    }
    (readers / "train.json").write_text(json.dumps(scores))
    assert ldctiqac.read_ldctiqac(readers) == with_suffix
    assert [one.file.name for one in with_suffix][:2] == ["0000.tif", "0001.tif"]
    assert [one.score for one in with_suffix] == pytest.approx([0, 0.4, 0.9, 1.3, 1.8, 2.2, 2.7, 3.1, 3.6, 4.0])


def test_a_fifth_of_ldctiqac_validates_always_the_same(readers: Path) -> None:
    rated = ldctiqac.read_ldctiqac(readers)
    training, validation = ldctiqac.split(rated[::-1])
    assert [one.file.stem for one in validation] == ["0004", "0009"]
    assert sorted([*training, *validation], key=lambda one: one.file) == rated
    thousand = [ldctiqac.RatedSlice(Path(f"{index:04d}.tif"), 2.0) for index in range(1000)]
    assert tuple(map(len, ldctiqac.split(thousand))) == (800, 200)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "must be an object"),
        ('{"0000.tif": 4.2}', "0000.tif: the score 4.2 is outside 0–4"),
        ('{"0000.tif": true}', "the score True is not a number"),
        ('{"0000.tif": NaN}', "the score nan is not a number"),
        ('{"7777.tif": 2}', "there is no image"),
        ('{"0000.tif": 2, "0000": 2}', "names 0000.tif twice"),
    ],
)
def test_a_wrong_table_of_ldctiqac_is_named(readers: Path, content: str, complaint: str) -> None:
    (readers / "train.json").write_text(content)
    with pytest.raises(ValueError) as refused:
        ldctiqac.read_ldctiqac(readers)
    assert complaint in str(refused.value)
    assert str(readers / "train.json") in str(refused.value)


def test_an_image_of_ldctiqac_keeps_its_floating_point_values(readers: Path) -> None:
    values = np.linspace(0, 1, 512 * 512, dtype=np.float32).reshape(512, 512)
    file = readers / "image" / "0000.tif"
    Image.fromarray(values).save(file)
    image = ldctiqac.read_image(file)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, values)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.zeros((256, 256), np.float32), r"512×512 with one channel, not \[256, 256\]"),
        (np.zeros((512, 512, 3), np.uint8), r"not \[512, 512, 3\]"),
        (np.full((512, 512), -1000, np.float32), "must lie in 0–1, not -1000"),
        (np.full((512, 512), np.nan, np.float32), "must lie in 0–1, not nan"),
    ],
)
def test_an_image_that_is_not_ldctiqacs_is_refused(readers: Path, values: np.ndarray, complaint: str) -> None:
    file = readers / "image" / "0000.tif"
    Image.fromarray(values).save(file)
    with pytest.raises(ValueError, match=complaint):
        ldctiqac.read_image(file)


def test_a_file_that_is_no_image_is_named(readers: Path) -> None:
    file = readers / "image" / "0000.tif"
    file.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0000\.tif cannot be read"):
        ldctiqac.read_image(file)
    with pytest.raises(ValueError, match=r"0000\.tif cannot be read as a photograph"):
        read_photo(file)


def test_photographs_are_found_at_any_depth_and_turned_upright(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    upright = Image.new("RGB", (30, 20), (200, 10, 10))
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: to be turned by 90°
    upright.save(tmp_path / "a" / "b" / "x.JPG", exif=turned)
    Image.new("L", (30, 20), 77).save(tmp_path / "grey.png")
    (tmp_path / "README.txt").write_text("no photograph")
    files = photo_files(tmp_path)
    assert [file.name for file in files] == ["x.JPG", "grey.png"]
    assert read_photo(files[0]).shape == (30, 20, 3)
    assert read_photo(files[1])[5, 5].tolist() == [77, 77, 77]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no photographs"):
        photo_files(tmp_path / "empty")


def test_each_kind_of_folder_is_recognised(tmp_path: Path, kadid: Path, readers: Path) -> None:
    assert kind_of(kadid) is Kind.KADID
    assert kind_of(readers) is Kind.LDCTIQAC
    assert kind_of(kadid / "images") is Kind.PHOTOS
    for name, arrays, kind in (
        ("slices", {"hu": np.zeros((4, 4))}, Kind.SLICES),
        ("pairs", {"full": np.zeros((4, 4)), "quarter": np.zeros((4, 4)), "spacing": 1.0}, Kind.PAIRS),
    ):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "one.npz", **arrays)
        assert kind_of(tmp_path / name) is kind
    export = tmp_path / "export" / "st" / "se"
    export.mkdir(parents=True)
    (export.parent / "preview.jpg").write_bytes(b"any")
    (export / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(20))
    assert kind_of(tmp_path / "export") is Kind.DICOM


def test_what_is_no_data_is_refused_with_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        kind_of(tmp_path / "none")
    with pytest.raises(ValueError, match=r"LDCTIQAC 2023 \(image/, train.json\)"):
        kind_of(tmp_path)
    np.savez(tmp_path / "odd.npz", image=np.zeros(3))
    with pytest.raises(ValueError, match=r"odd\.npz holds neither hu"):
        kind_of(tmp_path)
    (tmp_path / "odd.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"odd\.npz cannot be read"):
        kind_of(tmp_path)


def test_several_folders_of_slices_become_one_and_a_data_set_may_stand_once(tmp_path: Path, kadid: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_slice(tmp_path / name / "a.npz", TrainingSlice(np.full((4, 4), 7, np.int16), 0.5, name))
    found = [(Kind.SLICES, tmp_path / "one"), (Kind.SLICES, tmp_path / "two"), (Kind.KADID, kadid)]
    for _ in range(2):  # a run that goes on gathers again
        sources = gather(found, tmp_path / "work")
    assert sources.kadid == kadid.resolve()
    assert sources.photos is None
    assert sources.slices is not None
    assert [read_slice(file).patient for file in slice_files(sources.slices)] == ["one", "two"]
    assert gather(found[:1], tmp_path / "work").slices == (tmp_path / "one").resolve()
    other = gather(found[1::-1], tmp_path / "work").slices  # in the same work folder, and not mixed with it
    assert other is not None
    assert [read_slice(file).patient for file in slice_files(other)] == ["two", "one"]
    with pytest.raises(ValueError, match="KADID-10k was given more than once"):
        gather([*found, (Kind.KADID, kadid)], tmp_path / "work")
    with pytest.raises(ValueError, match="which the models do not read"):
        gather([(Kind.DICOM, tmp_path)], tmp_path / "work")


def test_phantoms_become_slices_of_patients_of_their_own(tmp_path: Path) -> None:
    files = write_phantoms(tmp_path, patients=2, slices=2, size=48)
    assert [file.name for file in slice_files(tmp_path)] == [file.name for file in files]
    slices = [read_slice(file) for file in files]
    assert [one.patient for one in slices] == ["phantom-0001"] * 2 + ["phantom-0002"] * 2
    assert slices[0].hu.shape == (48, 48)
    assert slices[0].hu.min() < -900 < 0 < slices[0].hu.max()
    assert not np.array_equal(slices[0].hu, slices[2].hu)
    assert slices[0].spacing_mm == pytest.approx(360 / 48)
    before = files[0].stat().st_mtime_ns
    write_phantoms(tmp_path, patients=2, slices=2, size=48)
    assert files[0].stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="at least one"):
        write_phantoms(tmp_path, patients=0, slices=2)
