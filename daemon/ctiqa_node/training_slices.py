"""Folders of DICOM files as what training reads: axial slices in HU with kernel, thickness and patient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ctiqa_node.ct import headers
from ctiqa_node.ct.hounsfield import AIR_HU
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.selection import choose
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.errors import Rejected, RetryLater
from ctiqa_node.folders import SeriesFiles, find_files, group_by_series

SLICES_PER_SERIES = 50
"""At most so many, evenly spread: neighbours look alike, and a long series must not outweigh the others."""

_ALIKE = 0.01


@dataclass(frozen=True, slots=True)
class AxialSlice:
    """One original axial slice: `hu` int16 [n, n], the side of a pixel in mm, and what its header says.

    `patient` is the Patient ID (the Study Instance UID where there is none); `kernel` "" and `thickness_mm` 0 when
    unknown.
    """

    hu: npt.NDArray[np.int16]
    spacing_mm: float
    patient: str
    kernel: str
    thickness_mm: float


Tell = Callable[[str], None]


def read_dicom_folder(folder: Path, tell: Tell, most: int = SLICES_PER_SERIES) -> Iterator[list[AxialSlice]]:
    """The slices of each series below a folder that the node would assess, at most `most` a series.

    What is left out (a file, a slice, a series) is told, each with the reason. Raises Rejected when no series is left.
    """
    series, unusable = group_by_series(find_files(folder).dicom)
    if unusable:
        tell(f"{folder}: {unusable} files were left out: they cannot be read, or name no series.")
    used = 0
    for one in series:
        try:
            slices = _slices_of(one, tell, most)
        except (Rejected, RetryLater) as error:
            tell(f"A series was left out: {error}")
            continue
        if slices:
            used += 1
            yield slices
    if not used:
        raise Rejected(f"{folder} holds no original axial CT series that can be read.")


def _slices_of(series: SeriesFiles, tell: Tell, most: int) -> list[AxialSlice]:
    uid = headers.text(series.header, "SeriesInstanceUID")
    choice = choose(series.summaries, min_slices=1)
    if choice.reason is not None:
        tell(f"Series {uid} was left out: {choice.reason}.")
        return []
    volume = load_series([series.paths[index] for index in choice.selected])
    for finding in volume.findings:
        tell(f"Series {uid}: {finding.sentence}")
    _, row_mm, column_mm = volume.geometry.spacing_mm
    if abs(row_mm - column_mm) > _ALIKE * row_mm:
        raise Rejected(f"Series {uid}: its pixels are not square, {row_mm:g} × {column_mm:g} mm.")
    chosen = np.unique(np.linspace(0, len(volume.hu) - 1, min(most, len(volume.hu))).round().astype(int))
    return [_axial_slice(volume, int(index)) for index in chosen]


def _axial_slice(volume: CtVolume, index: int) -> AxialSlice:
    header = volume.headers[index]
    frame = (volume.sources[index].frame_number or 1) - 1
    return AxialSlice(
        hu=_square(volume.hu[index]),
        spacing_mm=volume.geometry.spacing_mm[1],
        patient=headers.text(header, "PatientID") or headers.text(header, "StudyInstanceUID"),
        kernel=_kernel(header, frame),
        thickness_mm=_thickness_mm(header, frame),
    )


def _square(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """The slice in the middle of a square of air."""
    rows, columns = hu.shape
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    square = np.full((side, side), AIR_HU, dtype=np.float32)
    square[top : top + rows, left : left + columns] = hu
    limits = np.iinfo(np.int16)
    return np.clip(np.round(square), limits.min, limits.max).astype(np.int16)


def _kernel(header: Dataset, frame: int) -> str:
    """Convolution Kernel of a CT Image, or of a frame of an Enhanced CT (PS3.3 C.8.15.3.8)."""
    described = headers.functional_group(header, frame, "CTReconstructionSequence") or header
    return headers.text(described, "ConvolutionKernel")


def _thickness_mm(header: Dataset, frame: int) -> float:
    measures = headers.functional_group(header, frame, "PixelMeasuresSequence") or header
    return headers.number(measures, "SliceThickness") or 0.0
