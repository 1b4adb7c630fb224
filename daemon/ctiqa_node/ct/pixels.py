"""Decoding the Pixel Data of one frame, native or compressed, with pydicom's plug-ins and GDCM."""

from __future__ import annotations

import textwrap
from pathlib import Path

import gdcm
import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import data_element_generator
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, RLELossless

from ctiqa_node.ct import codecs, headers
from ctiqa_node.ct.claims import codestream_shape

_PIXEL_DATA = tag_for_keyword("PixelData")
_DESCRIPTION = tuple(
    Tag(keyword)
    for keyword in (
        *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    )
)
_JPEG_LOSSLESS = frozenset({JPEGLossless, JPEGLosslessSV1})


class UndecodableError(ValueError):
    """The Pixel Data of a frame is truncated, broken or in a syntax that no plug-in decodes."""


def read_pixels(path: Path, header: Dataset, at: int) -> Dataset:
    """The pixels of the file at `path` with what describes them; its header was read, and ended at byte `at`.

    Raises UndecodableError when the file breaks off, OSError when it can't be opened.
    """
    element = _pixel_data(path, header, at)
    if element is None:  # deflated, odd or broken: whatever it is, reading it as a whole tells
        try:
            return headers.read_file(path)
        except headers.UnreadableFileError as error:
            raise UndecodableError(str(error)) from error
    pixels = Dataset({tag: header.get_item(tag) for tag in _DESCRIPTION if tag in header})
    pixels[element.tag] = element
    pixels.file_meta = header.file_meta
    implicit, little = header.original_encoding
    pixels.set_original_encoding(implicit, little)
    return pixels


def _pixel_data(path: Path, header: Dataset, at: int) -> RawDataElement | DataElement | None:
    implicit, little = header.original_encoding
    if implicit is None or little is None:
        return None
    with path.open("rb") as file:
        file.seek(at)
        try:
            element = next(data_element_generator(file, implicit, little), None)
        except headers.UNREADABLE:
            return None
    return element if element is not None and element.tag == _PIXEL_DATA else None


def decode_frame(dataset: Dataset, path: Path, index: int, shape: tuple[int, int]) -> npt.NDArray[np.integer]:
    """The stored values [y, x] of frame `index` (from 0) of `dataset`, which was read from `path`.

    Raises UndecodableError, also when what comes out is not whole numbers of `shape`.
    """
    if "PixelData" not in dataset:
        raise UndecodableError("the file holds no Pixel Data, or breaks off before their end")
    try:
        _refuse_if_larger_inside(dataset, index, shape)
        if dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and dataset.BitsStored > 8:
            stored = _decode_jpeg_12_bit(path)[index]
        else:
            stored = pixel_array(dataset, index=index, raw=True, decoding_plugin=_plugin(dataset))
    except headers.UNREADABLE as error:
        raise UndecodableError(textwrap.shorten(str(error), 300)) from error
    if stored.shape != shape or not np.issubdtype(stored.dtype, np.integer):
        raise UndecodableError(f"it decodes to {stored.dtype} {stored.shape}, not to whole numbers {shape}")
    return stored


def _plugin(dataset: Dataset) -> str:
    """The one plug-in for a transfer syntax that several decode, "" where there is but one.

    Left alone, pydicom tries the others after a failure, and on broken data GDCM aborts the process (JPEG-LS), and
    pylibjpeg-rle panics with what is no Exception.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == RLELossless:
        return "pydicom"
    if syntax in _JPEG_LOSSLESS and dataset.PixelRepresentation == 1:
        return ""  # GDCM knows what the sign of a codestream is that has none
    return codecs.LABEL if codecs.is_available(syntax) else ""


def _refuse_if_larger_inside(dataset: Dataset, index: int, shape: tuple[int, int]) -> None:
    """A decoder allocates what the codestream says, whatever the attributes say."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    inside = codestream_shape(get_frame(dataset.PixelData, index, number_of_frames=frames))
    if inside is None and codecs.is_available(dataset.file_meta.TransferSyntaxUID):
        raise UndecodableError("its codestream does not say how large it is")
    if inside is not None and inside != shape:
        raise UndecodableError(f"its codestream is of {inside[0]} × {inside[1]}, not {shape[0]} × {shape[1]}")


def _decode_jpeg_12_bit(path: Path) -> npt.NDArray[np.uint16]:
    """All frames [z, y, x] of a 12-bit JPEG Extended file: GDCM reads it whole, while pydicom's way into GDCM can't."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise UndecodableError("GDCM can't read this 12-bit JPEG")
    image = reader.GetImage()
    columns, rows = image.GetDimension(0), image.GetDimension(1)
    # GDCM's Python binding hands bytes over as a str with surrogate escapes.
    text = image.GetBuffer()
    if text is None:
        raise UndecodableError("GDCM can't decode this 12-bit JPEG")
    return np.frombuffer(text.encode("utf-8", errors="surrogateescape"), dtype="<u2").reshape(-1, rows, columns)
