"""Every transfer syntax that the node accepts gives the same HU."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ctiqa_node.ct import codecs
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.pixels import decode_frame
from ctiqa_node.ct.writer import PixelCoding, write_series

SPACING = (2.5, 0.7, 0.8)
HTJ2K_FRAME = Path(__file__).parent / "data" / "ramp_32x40.htj2k"
"""Made with OpenJPH from the pixels of `ramp`, since no package that the node uses encodes HTJ2K."""

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]

# How far a lossy file of the data folder may lie from the uncompressed one: mean and largest difference, HU.
LOSSY = {
    "1.2.840.10008.1.2.4.50": (30.0, 600.0),
    "1.2.840.10008.1.2.4.51": (5.0, 40.0),
    "1.2.840.10008.1.2.4.81": (1.0, 1.0),
    "1.2.840.10008.1.2.4.91": (1.0, 5.0),
}


def ramp() -> npt.NDArray[np.uint16]:
    y, x = np.mgrid[:32, :40]
    return (1000 + 3 * x + 5 * y + (7 * x + 13 * y) % 23).astype(np.uint16)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_lossless_syntaxes_give_the_values_that_were_written(
    tmp_path: Path, hu: npt.NDArray[np.float64], syntax: UID, signed: bool, bits: int
) -> None:
    coding = PixelCoding(signed=signed, bits_stored=bits, intercept=0.0 if signed else -1024.0)
    paths = write_series(hu, SPACING, tmp_path, coding=coding, transfer_syntax=syntax)
    assert pydicom.dcmread(paths[0], stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(load_series(paths).hu, hu.astype(np.float32))


def test_high_throughput_jpeg_2000_is_decoded(tmp_path: Path) -> None:
    paths = write_series(np.zeros((1, 32, 40)), SPACING, tmp_path)
    dataset = pydicom.dcmread(paths[0])
    dataset.PixelData = encapsulate([HTJ2K_FRAME.read_bytes()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
    dataset.save_as(paths[0])
    assert np.array_equal(load_series(paths).hu[0], ramp().astype(np.float32) - 1024)


@pytest.mark.data
def test_the_real_slice_is_the_same_in_every_syntax(ctiqa_data: Path) -> None:
    files = sorted((ctiqa_data / "transfer_syntaxes").iterdir())
    reference = load_series([ctiqa_data / "transfer_syntaxes" / "CTImage.dcm"])
    assert len(files) == 14
    for path in files:
        syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
        difference = np.abs(load_series([path]).hu - reference.hu)
        mean, largest = LOSSY.get(syntax, (0.0, 0.0))
        assert difference.mean() <= mean, syntax.name
        assert difference.max() <= largest, syntax.name


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_gives_what_gdcm_reads(tmp_path: Path, signed: bool, bits: int) -> None:
    low = -(1 << (bits - 1)) if signed else 0
    hu = np.random.default_rng(bits).integers(low, low + (1 << bits), (1, 16, 24)).astype(np.float64)
    coding = PixelCoding(intercept=0.0, signed=signed, bits_stored=bits)
    (source,) = write_series(hu, SPACING, tmp_path, coding=coding)
    lossless = tmp_path / "lossless.dcm"
    encode_jpeg_lossless(source, lossless)
    dataset = pydicom.dcmread(lossless)
    assert dataset.file_meta.TransferSyntaxUID == JPEGLosslessSV1
    found = decode_frame(dataset, lossless, 0, (16, 24))
    np.testing.assert_array_equal(found, pixel_array(dataset, index=0, raw=True, decoding_plugin="gdcm"))


def encode_jpeg_lossless(source: Path, target: Path) -> None:
    """With GDCM, as pydicom has no encoder of it."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()


def test_a_decoder_lets_other_threads_work_meanwhile() -> None:
    """Else threads decode no faster than one: a codec must let go of Python's lock, which is why these were chosen."""
    hu = np.random.default_rng(1).integers(0, 4096, (2048, 2048)).astype(np.uint16)
    coded = imagecodecs.jpeg2k_encode(hu, level=0)
    turns, done = 0, threading.Event()

    def count() -> None:
        nonlocal turns
        while not done.is_set():
            time.sleep(0.0005)
            turns += 1

    other = threading.Thread(target=count)
    other.start()
    before = turns
    np.testing.assert_array_equal(codecs._CODECS[JPEG2000Lossless](coded), hu)
    meanwhile = turns - before
    done.set()
    other.join()
    assert meanwhile > 20
