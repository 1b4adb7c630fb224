"""Small CT series, and datasets as a peer would encode them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from ctiqa_node.ct.writer import SeriesTags, write_series
from ctiqa_node.db.states import OutputKind
from ctiqa_node.dicom import ReceivedInstance


def ct_files(
    folder: Path, count: int = 5, *, tags: SeriesTags | None = None, transfer_syntax: UID = ExplicitVRLittleEndian
) -> list[Path]:
    """A series of slices of 32×32 pixels, each with pixels of its own."""
    hu = np.random.default_rng(3).integers(-1000, 1000, size=(count, 32, 32)).astype(np.float64)
    return write_series(hu, (2.5, 0.7, 0.7), folder, tags=tags, transfer_syntax=transfer_syntax)


def ct_datasets(
    folder: Path, count: int = 5, *, tags: SeriesTags | None = None, transfer_syntax: UID = ExplicitVRLittleEndian
) -> list[Dataset]:
    """The same as datasets."""
    return [pydicom.dcmread(path) for path in ct_files(folder, count, tags=tags, transfer_syntax=transfer_syntax)]


def part10(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def dataset_offset(content: bytes) -> int:
    """Where the dataset begins in a DICOM file: after preamble, prefix and file meta information."""
    (length,) = struct.unpack("<I", content[140:144])
    return 144 + int(length)


def peers_bytes(content: bytes) -> bytes:
    """The dataset of a DICOM file as it is encoded there."""
    return content[dataset_offset(content) :]


def received(dataset: Dataset, association_id: int | None = None) -> ReceivedInstance:
    """What the SCP hands to `Ingest` for a dataset."""
    content = part10(dataset)
    return ReceivedInstance(
        part10=content,
        dataset_offset=dataset_offset(content),
        sop_class_uid=str(dataset.file_meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(dataset.file_meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        association_id=association_id,
    )


KINDS = {
    OutputKind.STRUCTURED_REPORT: ComprehensiveSRStorage,
    OutputKind.SUMMARY_PAGE: SecondaryCaptureImageStorage,
}


def result_files(folder: Path, kinds: Mapping[OutputKind, UID] = KINDS) -> Path:
    """A folder with an `sr.dcm`, a `summary.dcm` and so on: of the SOP Classes of results, whatever else they hold."""
    datasets = ct_datasets(folder.with_name("source"), len(kinds))
    folder.mkdir()
    for dataset, (kind, sop_class) in zip(datasets, kinds.items(), strict=True):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.save_as(folder / f"{kind}.dcm")
    return folder
