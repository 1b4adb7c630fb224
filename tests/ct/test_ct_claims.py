"""Datasets that claim to become enormous are refused before anything of that size is made."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from ctiqa_node.ct.claims import codestream_shape, inflates_within
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.pixels import UndecodableError, decode_frame
from ctiqa_node.ct.writer import write_series
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.errors import Rejected
from ctiqa_node.ingest import read_header


def _jpeg(rows: int, columns: int, marker: int = 0xC0) -> bytes:
    application = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\x00" + b"\x00" * 9
    frame = bytes([0xFF, marker]) + struct.pack(">HBHHB", 11, 8, rows, columns, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + application + b"\xff" + frame + b"\xff\xd9"


def _jpeg_2000(rows: int, columns: int) -> bytes:
    return b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, columns + 3, rows + 2, 3, 2) + b"\x00" * 32


@pytest.mark.parametrize(
    ("codestream", "shape"),
    [
        (_jpeg(512, 400), (512, 400)),
        (_jpeg(65535, 65535, 0xF7), (65535, 65535)),
        (_jpeg_2000(70000, 80000), (70000, 80000)),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00" * 40 + _jpeg_2000(7, 9), (7, 9)),
        (b"", None),
        (b"\xff\xd8\xff", None),
        (b"\xff\xd8\x00\x00", None),
        (b"\xff\x4f\xff\x51\x00", None),
        (b"RLE?", None),
    ],
)
def test_the_codestream_tells_its_rows_and_columns(codestream: bytes, shape: tuple[int, int] | None) -> None:
    assert codestream_shape(codestream) == shape


@given(st.binary(max_size=400))
def test_any_bytes_at_all_are_looked_at_without_an_error(codestream: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "):
        codestream_shape(start + codestream)
    inflates_within(codestream)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, JPEGBaseline8Bit])
def test_a_codestream_that_is_larger_than_its_attributes_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    (path,) = write_series(np.zeros((1, 16, 16)), (5, 1, 1), tmp_path)
    dataset = pydicom.dcmread(path)
    claims = _jpeg(60000, 60000) if syntax == JPEGBaseline8Bit else _jpeg_2000(60000, 60000)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([claims])
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableError, match="its codestream is of 60000 × 60000, not 16 × 16"):
            decode_frame(dataset, path, 0, (16, 16))
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_series_whose_headers_claim_too_much_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    paths = write_series(np.zeros((5, 16, 16)), (5, 1, 1), tmp_path)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 65535
        dataset.save_as(path)
    with pytest.raises(Rejected, match=r"it claims 21474 million voxels; series\.max_million_voxels is 4000"):
        load_series(paths)
    with pytest.raises(Rejected, match=r"series\.max_million_voxels is 0"):
        load_series(paths, most_voxels=100)


def test_a_deflated_dataset_that_bursts_is_told_from_one_that_does_not() -> None:
    packing = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = packing.compress(b"\x00" * (4 << 20)) + packing.flush()
    assert len(bomb) < 8000
    assert inflates_within(bomb, 4 << 20)
    assert not inflates_within(bomb, (4 << 20) - 1)
    assert inflates_within(b"\xff not deflated at all", 10)


def test_a_deflated_instance_that_bursts_is_refused_on_reception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctiqa_node.ingest.inflates_within", lambda deflated: inflates_within(deflated, 1 << 20))
    packing = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = packing.compress(b"\x00" * (4 << 20)) + packing.flush()
    received = ReceivedInstance(
        part10=b"head" + bomb, dataset_offset=4, sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="2.25.1",
        transfer_syntax_uid=DeflatedExplicitVRLittleEndian, association_id=None,
    )  # fmt: skip
    with pytest.raises(Rejected, match="inflates to more than"):
        read_header(received)


def test_a_long_deflated_dataset_is_looked_through_in_time_that_grows_with_its_length() -> None:
    stored = zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
    content = stored.compress(bytes(48 << 20)) + stored.flush()
    began = time.process_time()
    assert inflates_within(content)
    assert (
        time.process_time() - began < 1.5
    )  # copying the rest again for each part took 7 s, and an hour for a gigabyte
