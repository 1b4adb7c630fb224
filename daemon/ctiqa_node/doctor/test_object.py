"""A small picture that an archive can be sent to see whether it arrives; the same UIDs each time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from ctiqa_node.db.columns import now
from ctiqa_node.dimse.inspection import SentObject

ROWS = 16


def write_test_object(folder: Path, calling: str) -> SentObject:
    """Write it; a repeated test overwrites what the last one left in the archive."""
    study, series, instance = (_uid(f"{calling} doctor {level}") for level in ("study", "series", "instance"))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = instance
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientName, dataset.PatientID = "CTIQA^CONNECTION TEST", "CTIQA-TEST"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.ContentDate = f"{now():%Y%m%d}"
    dataset.StudyTime = dataset.ContentTime = f"{now():%H%M%S}"
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "", 1, 1
    dataset.StudyDescription = dataset.SeriesDescription = "ctiqa-node connection test, not a patient"
    dataset.Modality, dataset.ConversionType, dataset.Manufacturer = "OT", "WSD", "ctiqa-node"
    dataset.ImageType, dataset.PatientOrientation = ["DERIVED", "SECONDARY"], ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = ROWS
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes(range(ROWS * ROWS))
    path = folder / "test.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return SentObject(path, study, series, instance)


def _uid(name: str) -> UID:
    """A UID under 2.25 (PS3.5 B.2) that is the same for the same name."""
    return UID(f"2.25.{int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], 'big')}")
