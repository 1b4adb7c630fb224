"""The summary page as a DICOM object: a single-frame RGB Secondary Capture Image (DICOM PS3.3 A.8.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset, validate_file_meta
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from ctiqa_node.report.codes import NOT_FOR_DIAGNOSIS, model_title
from ctiqa_node.report.content import Report
from ctiqa_node.report.image_library import frames_of
from ctiqa_node.report.notable import notable_slices
from ctiqa_node.report.source import dress, plain, source_uid
from ctiqa_node.report.uids import ResultKind, models_fingerprint, result_series_uid, result_uid

SERIES_DESCRIPTION = "CT image quality: summary"
_LONGEST_SHORT_TEXT = 1024


def secondary_capture(report: Report, page: npt.NDArray[np.uint8]) -> Dataset:
    """Write a page, uint8 RGB [rows, columns, 3], as Secondary Capture with file meta information.

    Uncompressed Explicit VR Little Endian, samples by pixel: what every archive takes and every viewer shows. It refers
    to the slices shown on it. The same report and page give the same data set, byte for byte. ValueError for a page of
    another shape or type.
    """
    if page.ndim != 3 or page.shape[2] != 3 or page.dtype != np.uint8:
        raise ValueError(f"a page is uint8 [rows, columns, 3], not {page.dtype} {page.shape}")
    result = Dataset()
    _identify(result, report)
    dress(result, report, ResultKind.SECONDARY_CAPTURE, SERIES_DESCRIPTION, report.secondary_capture_series_number)
    _describe(result, report)
    _refer(result, report)
    _set_pixels(result, page)
    result.preamble = b"\0" * 128
    result.file_meta = _file_meta(result)
    return result


def _file_meta(result: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # pydicom writes the true length
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    validate_file_meta(meta, enforce_standard=True)
    return meta


def _identify(result: Dataset, report: Report) -> None:
    series, kind = source_uid(report, "SeriesInstanceUID"), ResultKind.SECONDARY_CAPTURE
    result.SOPClassUID = SecondaryCaptureImageStorage
    result.SOPInstanceUID = result_uid(series, kind, report.revision, models_fingerprint(report.models))
    result.SeriesInstanceUID = result_series_uid(series, kind)
    result.Modality = "OT"


def _describe(result: Dataset, report: Report) -> None:
    names = ", ".join(f"{model_title(m.name)} {m.version}" for m in report.models)
    result.ConversionType = "WSD"
    result.DateOfSecondaryCapture = result.ContentDate
    result.TimeOfSecondaryCapture = result.ContentTime
    result.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    result.PatientOrientation = []
    result.Laterality = ""  # type 2C: a page is of neither side
    result.BurnedInAnnotation = "YES"
    result.RecognizableVisualFeatures = "NO"
    result.LossyImageCompression = "00"
    result.DerivationDescription = plain(f"Summary page of image quality by {names or 'no model'}")[
        :_LONGEST_SHORT_TEXT
    ]
    result.ImageComments = NOT_FOR_DIAGNOSIS


def _refer(result: Dataset, report: Report) -> None:
    """Refer to the notable slices; the structured report lists all."""
    sources = report.volume.sources
    shown = {sources[n.slice_index].sop_instance_uid: sources[n.slice_index] for n in notable_slices(report)}
    images, instances = [], []
    for uid, source in shown.items():
        instance = Dataset()
        instance.ReferencedSOPClassUID = source.sop_class_uid
        instance.ReferencedSOPInstanceUID = uid
        instances.append(instance)
        image = Dataset()
        image.update(instance)
        image.PurposeOfReferenceCodeSequence = [_item(codes.DCM.SourceImageForImageProcessingOperation)]
        frames = frames_of(tuple(sources[n.slice_index] for n in notable_slices(report)), uid)
        if frames is not None:
            image.ReferencedFrameNumber = frames
        images.append(image)
    series = Dataset()
    series.SeriesInstanceUID = source_uid(report, "SeriesInstanceUID")
    series.ReferencedInstanceSequence = instances
    result.SourceImageSequence = images
    result.ReferencedSeriesSequence = [series]


def _item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _set_pixels(result: Dataset, page: npt.NDArray[np.uint8]) -> None:
    result.SamplesPerPixel = 3
    result.PhotometricInterpretation = "RGB"
    result.PlanarConfiguration = 0
    result.Rows, result.Columns = page.shape[:2]
    result.BitsAllocated = result.BitsStored = 8
    result.HighBit = 7
    result.PixelRepresentation = 0
    data = page.tobytes()
    result.PixelData = data + b"\0" * (len(data) % 2)
    result["PixelData"].VR = "OB"
