"""The summary page as a DICOM object: a single-frame RGB Secondary Capture Image (DICOM PS3.3 A.8.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from ctiqa_node.report.codes import NOT_FOR_DIAGNOSIS
from ctiqa_node.report.content import Report
from ctiqa_node.report.notable import shown_slices
from ctiqa_node.report.objects import add_file_meta, identified, models_sentence, refer_to_slices
from ctiqa_node.report.predecessors import name_replaced_image
from ctiqa_node.report.source import dress
from ctiqa_node.report.uids import ResultKind

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
    result = identified(report, ResultKind.SECONDARY_CAPTURE, SecondaryCaptureImageStorage, "OT")
    dress(result, report, ResultKind.SECONDARY_CAPTURE, SERIES_DESCRIPTION, report.secondary_capture_series_number)
    describe_capture(result, f"Summary page of image quality by {models_sentence(report)}")
    refer_to_slices(result, report, [shown.slice_index for shown in shown_slices(report)])
    name_replaced_image(result, report)
    _set_pixels(result, page)
    add_file_meta(result)
    return result


def describe_capture(result: Dataset, derivation: str) -> None:
    """Say in place, of a picture that software made, what it is (`derivation`, ASCII) and that it is no diagnosis."""
    result.ConversionType = "WSD"
    result.DateOfSecondaryCapture = result.ContentDate
    result.TimeOfSecondaryCapture = result.ContentTime
    result.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    result.PatientOrientation = []
    result.Laterality = ""  # type 2C: a page is of neither side
    result.BurnedInAnnotation = "YES"
    result.RecognizableVisualFeatures = "NO"
    result.LossyImageCompression = "00"
    result.DerivationDescription = derivation[:_LONGEST_SHORT_TEXT]
    result.ImageComments = NOT_FOR_DIAGNOSIS


def describe_pixels(result: Dataset, shape: tuple[int, ...]) -> None:
    """Describe RGB pictures of 8 bit by pixel, of a shape (rows, columns, 3), in place."""
    result.SamplesPerPixel = 3
    result.PhotometricInterpretation = "RGB"
    result.PlanarConfiguration = 0
    result.Rows, result.Columns = shape[:2]
    result.BitsAllocated = result.BitsStored = 8
    result.HighBit = 7
    result.PixelRepresentation = 0


def _set_pixels(result: Dataset, page: npt.NDArray[np.uint8]) -> None:
    describe_pixels(result, page.shape)
    data = page.tobytes()
    result.PixelData = data + b"\0" * (len(data) % 2)
    result["PixelData"].VR = "OB"
