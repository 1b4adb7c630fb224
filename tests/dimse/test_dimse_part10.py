"""What stands before a dataset in our files, against pydicom."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import JPEG2000Lossless, generate_uid

from ctiqa_node.dimse.part10 import part10_header

UIDS = st.lists(st.integers(0, 10**9), min_size=1, max_size=5).map(lambda parts: ".".join(map(str, parts)))


@given(UIDS, UIDS, UIDS, UIDS, st.text("ABCDEF_0123456789.", min_size=1, max_size=16))
def test_the_header_is_what_pydicom_writes(sop_class: str, instance: str, syntax: str, ours: str, version: str) -> None:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID, meta.ImplementationClassUID, meta.ImplementationVersionName = syntax, ours, version
    expected = BytesIO()
    write_file_meta_info(expected, meta)
    assert part10_header(sop_class, instance, syntax, ours, version) == b"\0" * 128 + b"DICM" + expected.getvalue()


@pytest.mark.parametrize("length", [63, 64])
def test_pydicom_reads_it(length: int) -> None:
    uid = generate_uid(prefix="1.2.")[:length].rstrip(".")
    header = part10_header("1.2.840.10008.5.1.4.1.1.2", uid, JPEG2000Lossless, "2.25.1", "CTIQA_1")
    read = dcmread(BytesIO(header)).file_meta
    assert read.MediaStorageSOPInstanceUID == uid
    assert read.TransferSyntaxUID == JPEG2000Lossless


def test_what_is_no_uid_makes_no_broken_file() -> None:
    header = part10_header("1.2", "é\N{SNOWMAN}", "1.2.840.10008.1.2.1", "2.25.1", "CTIQA_1")
    assert dcmread(BytesIO(header)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
