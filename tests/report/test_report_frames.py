"""Frames that are made when they are read."""

from __future__ import annotations

from io import SEEK_END, BytesIO

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ParametricMapStorage

from ctiqa_node.report.frames_on_demand import FramesOnDemand

FRAMES = [bytes([number]) * 6 for number in range(5)]


@pytest.mark.parametrize("size", [1, 4, 6, 7, 100])
def test_the_frames_come_in_any_pieces_and_each_is_made_once(size: int) -> None:
    asked: list[int] = []

    def make(index: int) -> bytes:
        asked.append(index)
        return FRAMES[index]

    stream = FramesOnDemand(5, 6, make)
    assert stream.seek(0, SEEK_END) == 30
    assert stream.seek(0) == 0
    pieces = list(iter(lambda: stream.read(size), b""))
    assert b"".join(pieces) == b"".join(FRAMES)
    assert {len(piece) for piece in pieces[:-1]} <= {size}
    assert asked == [0, 1, 2, 3, 4]


def test_nothing_is_made_before_the_dataset_is_written() -> None:
    asked: list[int] = []

    def make(index: int) -> bytes:
        asked.append(index)
        return FRAMES[index]

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ParametricMapStorage, "1.2.3"
    dataset.PixelData = FramesOnDemand(5, 6, make)
    dataset["PixelData"].VR = "OB"
    assert asked == []
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    assert asked == [0, 1, 2, 3, 4]
    buffer.seek(0)
    assert dcmread(buffer).PixelData == b"".join(FRAMES)
