"""The quality maps as pictures: a Multi-frame True Color Secondary Capture Image (DICOM PS3.3 A.8.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from ctiqa_node.report.canvas import SIZE
from ctiqa_node.report.codes import model_title
from ctiqa_node.report.content import Progress, Report, ReportedModel, SliceChoice, unheeded
from ctiqa_node.report.frames_on_demand import FramesOnDemand
from ctiqa_node.report.map_frame import MappedSlice, draw_map_frame, mapped_slices
from ctiqa_node.report.notable import shown_slices
from ctiqa_node.report.objects import add_file_meta, identified, refer_to_slices
from ctiqa_node.report.predecessors import name_replaced_image
from ctiqa_node.report.secondary_capture import describe_capture, describe_pixels
from ctiqa_node.report.source import dress, plain
from ctiqa_node.report.uids import ResultKind

SERIES_DESCRIPTION = "CT image quality: maps"


def quality_map_capture(report: Report, progress: Progress = unheeded) -> Dataset | None:
    """Draw the quality maps over their slices, one frame a slice, with file meta information.

    As `report.map_slices` says, the worst slices, the worst first, and the best, 1024 × 1024 pixels each; or every
    slice in the order of the volume, 512 × 512. Slices that the maps' model left out have no frame. None when no model
    made maps, or none of a slice to be shown. Uncompressed RGB by pixel, Explicit VR Little Endian, as the summary page
    is; the same report gives the same data set, byte for byte.
    """
    of_all = report.map_slices is SliceChoice.ALL
    chosen = mapped_slices(report) if of_all else list(_notable_mapped(report))
    if not chosen:
        return None
    result = identified(report, ResultKind.QUALITY_MAPS, MultiFrameTrueColorSecondaryCaptureImageStorage, "OT")
    dress(result, report, ResultKind.QUALITY_MAPS, SERIES_DESCRIPTION, report.quality_maps_series_number)
    describe_capture(result, _derivation(chosen[0].model))
    refer_to_slices(result, report, [mapped.slice_index for mapped in chosen])
    name_replaced_image(result, report)
    _set_frames(result, report, chosen, progress)
    add_file_meta(result)
    return result


def _notable_mapped(report: Report) -> Iterator[MappedSlice]:
    everything = {mapped.slice_index: mapped for mapped in mapped_slices(report)}
    for notable in shown_slices(report):
        if notable.slice_index in everything:
            yield replace(everything[notable.slice_index], notable=notable)


def _halved(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A frame at half its size, each pixel the mean of four."""
    rows, columns, samples = frame.shape
    fours = frame.reshape(rows // 2, 2, columns // 2, 2, samples)
    return np.asarray(np.rint(fours.mean(axis=(1, 3), dtype=np.float32)), dtype=np.uint8)


def _derivation(model: ReportedModel) -> str:
    return plain(f"{model_title(model.name)} {model.version} quality map over the slice. {model.summary}")


def _set_frames(result: Dataset, report: Report, chosen: list[MappedSlice], progress: Progress) -> None:
    """Frames that are drawn when the dataset is written, or its pixels are read."""
    halved = report.map_slices is SliceChoice.ALL
    side = SIZE // 2 if halved else SIZE

    def drawn(index: int) -> bytes:
        frame = draw_map_frame(report, chosen[index])
        progress((index + 1) / len(chosen))
        return (_halved(frame) if halved else frame).tobytes()

    describe_pixels(result, (side, side, 3))
    result.NumberOfFrames = len(chosen)
    # The frames are pages of a report: they follow neither time nor place (PS3.3 C.8.6.5).
    result.FrameIncrementPointer = [tag_for_keyword("PageNumberVector"), tag_for_keyword("FrameLabelVector")]
    result.PageNumberVector = list(range(1, len(chosen) + 1))
    result.FrameLabelVector = [f"Slice {mapped.slice_index + 1}" for mapped in chosen]
    result.PixelData = FramesOnDemand(len(chosen), 3 * side * side, drawn)
    result["PixelData"].VR = "OB"
