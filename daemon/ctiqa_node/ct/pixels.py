"""Decoding the Pixel Data of one frame, native or compressed, with pydicom's plug-ins and GDCM."""

from __future__ import annotations

import textwrap
from pathlib import Path

import gdcm
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ctiqa_node.ct import headers
from ctiqa_node.ct.claims import codestream_shape

_PLUGINS = {
    RLELossless: "pydicom",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
"""The one plug-in for syntaxes that several decode. Left alone, pydicom tries the others after a failure, and on broken
data GDCM aborts the process (JPEG-LS), and pylibjpeg-rle panics with what is no Exception."""


class UndecodableError(ValueError):
    """The Pixel Data of a frame is truncated, broken or in a syntax that no plug-in decodes."""


def read_with_pixels(path: Path) -> Dataset:
    """The whole file at `path`. Raises UndecodableError when it breaks off."""
    try:
        return headers.read_file(path, with_pixels=True)
    except headers.UnreadableFileError as error:
        raise UndecodableError(str(error)) from error


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
            plugin = _PLUGINS.get(dataset.file_meta.TransferSyntaxUID, "")
            stored = pixel_array(dataset, index=index, raw=True, decoding_plugin=plugin)
    except headers.UNREADABLE as error:
        raise UndecodableError(textwrap.shorten(str(error), 300)) from error
    if stored.shape != shape or not np.issubdtype(stored.dtype, np.integer):
        raise UndecodableError(f"it decodes to {stored.dtype} {stored.shape}, not to whole numbers {shape}")
    return stored


def _refuse_if_larger_inside(dataset: Dataset, index: int, shape: tuple[int, int]) -> None:
    """A decoder allocates what the codestream says, whatever the attributes say."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    inside = codestream_shape(get_frame(dataset.PixelData, index, number_of_frames=frames))
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
