"""Simulated CT as valid CT Image Storage, one file a slice (DICOM PS3.3 A.3), for the demonstration and the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

NOT_A_PATIENT = "Simulated image of a phantom, not a patient"


def _uid() -> str:
    return str(generate_uid())


@dataclass(frozen=True, slots=True)
class SeriesTags:
    """What the header of a simulated series says. UIDs are new for each object; dates are DICOM's YYYYMMDD, HHMMSS."""

    patient_name: str = "Phantom^Simulated"
    patient_id: str = "SIMULATED-1"
    accession_number: str = "SIM0001"
    study_uid: str = field(default_factory=_uid)
    series_uid: str = field(default_factory=_uid)
    frame_of_reference_uid: str = field(default_factory=_uid)
    study_description: str = "Simulated CT"
    series_description: str = "Simulated axial series"
    series_number: int = 1
    date: str = "20260102"
    time: str = "120000"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    body_part: str = "CHEST"
    manufacturer: str = "ctiqa-node"
    model_name: str = "Simulated scanner"
    convolution_kernel: str = "SIM-STANDARD"
    kvp: float = 120.0
    tube_current_ma: int = 200
    exposure_time_ms: int = 500
    window: tuple[float, float] = (40.0, 400.0)
    """VOI window: centre and width in HU."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the slices lie: the first voxel of the first slice in mm, the two cosines of Image Orientation (Patient).

    `step_mm` leads from one slice to the next; left out, it is the z spacing along the normal.
    """

    first_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    row_cosine: tuple[float, float, float] = (1.0, 0.0, 0.0)
    column_cosine: tuple[float, float, float] = (0.0, 1.0, 0.0)
    step_mm: tuple[float, float, float] | None = None

    def position(self, index: int, spacing_z: float) -> npt.NDArray[np.float64]:
        """Centre of the first voxel of slice `index`, mm, [3]."""
        normal = np.cross(self.row_cosine, self.column_cosine)
        step = spacing_z * normal if self.step_mm is None else np.asarray(self.step_mm)
        return np.asarray(self.first_mm, dtype=np.float64) + index * step


@dataclass(frozen=True, slots=True)
class PixelCoding:
    """How HU become stored values: HU = slope · stored + intercept, in `bits_stored` bits, signed or not."""

    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = False
    bits_stored: int = 16

    def encode(self, hu: npt.NDArray[np.floating]) -> npt.NDArray[np.int16 | np.uint16]:
        """Stored values of `hu`, rounded to the nearest and cut at the ends of the range."""
        low = -(1 << (self.bits_stored - 1)) if self.signed else 0
        stored = np.rint((hu - self.intercept) / self.slope)
        stored = np.clip(stored, low, low + (1 << self.bits_stored) - 1)
        return stored.astype(np.int16 if self.signed else np.uint16)


_STANDARD_CODING = PixelCoding()


def write_series(
    hu: npt.NDArray[np.floating],
    spacing_mm: tuple[float, float, float],
    folder: Path,
    *,
    tags: SeriesTags | None = None,
    placement: Placement | None = None,
    coding: PixelCoding | Sequence[PixelCoding] = _STANDARD_CODING,
    transfer_syntax: UID = ExplicitVRLittleEndian,
) -> list[Path]:
    """Write `hu` [z, y, x] as one CT Image Storage file a slice, IM0001.dcm and so on, and answer the paths in z order.

    `spacing_mm` is (z, y, x). `coding` is one for all, or one for each slice. Raises pydicom's errors for a transfer
    syntax that it can't encode, and OSError when the folder can't be written.
    """
    tags = tags or SeriesTags()
    placement = placement or Placement()
    codings = [coding] * len(hu) if isinstance(coding, PixelCoding) else list(coding)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (plane, slice_coding) in enumerate(zip(hu, codings, strict=True)):
        dataset = _ct_image(tags, index, spacing_mm, placement)
        path = folder / f"IM{index + 1:04d}.dcm"
        save(dataset, slice_coding.encode(plane), slice_coding, transfer_syntax, path)
        paths.append(path)
    return paths


def series_header(tags: SeriesTags, sop_class: UID) -> Dataset:
    """The patient, study, series, frame of reference and equipment of a simulated object, with a new SOP Instance."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, _uid()
    dataset.PatientName, dataset.PatientID = tags.patient_name, tags.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.PatientComments = dataset.ImageComments = NOT_A_PATIENT
    dataset.StudyInstanceUID, dataset.StudyID = tags.study_uid, "1"
    dataset.StudyDescription, dataset.AccessionNumber = tags.study_description, tags.accession_number
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = tags.date
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = tags.time
    dataset.ReferringPhysicianName = ""
    dataset.Modality, dataset.SeriesInstanceUID = "CT", tags.series_uid
    dataset.SeriesNumber, dataset.SeriesDescription = tags.series_number, tags.series_description
    dataset.BodyPartExamined, dataset.PatientPosition = tags.body_part, "HFS"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = tags.frame_of_reference_uid, ""
    dataset.Manufacturer, dataset.ManufacturerModelName = tags.manufacturer, tags.model_name
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "0", "simulation"
    dataset.ImageType = list(tags.image_type)
    dataset.BurnedInAnnotation = "NO"
    return dataset


def _ct_image(tags: SeriesTags, index: int, spacing_mm: tuple[float, float, float], placement: Placement) -> Dataset:
    dataset = series_header(tags, CTImageStorage)
    dataset.AcquisitionDate, dataset.AcquisitionTime = tags.date, tags.time
    dataset.AcquisitionNumber, dataset.InstanceNumber = 1, index + 1
    dataset.DerivationDescription = NOT_A_PATIENT
    dataset.PixelSpacing = decimals(spacing_mm[1:])
    dataset.ImageOrientationPatient = decimals((*placement.row_cosine, *placement.column_cosine))
    dataset.ImagePositionPatient = decimals(placement.position(index, spacing_mm[0]))
    dataset.SliceThickness = decimals((spacing_mm[0],))[0]
    dataset.GantryDetectorTilt = "0"
    dataset.KVP, dataset.XRayTubeCurrent = decimals((tags.kvp,))[0], tags.tube_current_ma
    dataset.ExposureTime = tags.exposure_time_ms
    dataset.Exposure = round(tags.tube_current_ma * tags.exposure_time_ms / 1000)
    dataset.ConvolutionKernel = tags.convolution_kernel
    dataset.WindowCenter, dataset.WindowWidth = decimals(tags.window)
    return dataset


def decimals(values: Sequence[float] | npt.NDArray[np.float64]) -> list[str]:
    """Numbers as Decimal Strings of at most 16 bytes (DICOM PS3.5 6.2), which is nine digits or better."""
    return [f"{float(value):.9g}" for value in values]


def save(
    dataset: Dataset,
    stored: npt.NDArray[np.int16 | np.uint16],
    coding: PixelCoding,
    transfer_syntax: UID,
    path: Path,
) -> None:
    """Give `dataset` the pixels `stored` [y, x] or [z, y, x], compress where the syntax says so, and write the file.

    A single-frame CT gets its rescale here too; an Enhanced CT carries its own in the functional groups.
    """
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, coding.bits_stored, coding.bits_stored - 1
    dataset.PixelRepresentation = int(coding.signed)
    if dataset.SOPClassUID == CTImageStorage:
        dataset.RescaleSlope, dataset.RescaleIntercept = decimals((coding.slope, coding.intercept))
        dataset.RescaleType = "HU"
    big_endian = transfer_syntax == ExplicitVRBigEndian
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if transfer_syntax.is_encapsulated else transfer_syntax
    dataset.file_meta = meta
    if transfer_syntax.is_encapsulated:
        dataset.compress(transfer_syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
