"""A plug-in for pydicom's decoders that works while other threads do: imagecodecs lets go of Python's lock.

pydicom's own plug-ins keep it, so that two threads decode no faster than one. The codecs are the same: CharLS for
JPEG-LS, OpenJPEG for JPEG 2000; libjpeg-turbo for JPEG lossless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

LABEL = "imagecodecs"
DECODER_DEPENDENCIES: dict[UID, tuple[str, ...]] = {}
"""pydicom asks for it where `is_available` says no."""

_CODECS: dict[str, Callable[[bytes], Any]] = {
    JPEGLSLossless: imagecodecs.jpegls_decode,
    JPEGLSNearLossless: imagecodecs.jpegls_decode,
    JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    JPEG2000: imagecodecs.jpeg2k_decode,
    JPEGLossless: imagecodecs.jpeg8_decode,
    JPEGLosslessSV1: imagecodecs.jpeg8_decode,
}


def is_available(uid: UID) -> bool:
    """Whether a transfer syntax is decoded here."""
    return uid in _CODECS


def decode(source: bytes, runner: DecodeRunner) -> bytes:
    """The decoded frame, little endian, in as many bits as its codestream needs.

    Raises:
        ValueError: it has several components, which no CT image has.
        RuntimeError: it is broken.
    """
    frame = _CODECS[runner.transfer_syntax](source)
    if frame.ndim != 2:
        raise ValueError(f"the codestream holds an image of {frame.ndim} dimensions, not 2")
    runner.set_option("bits_allocated", 8 * frame.itemsize)
    decoded: bytes = frame.tobytes()
    return decoded


for _uid in _CODECS:
    get_decoder(UID(_uid)).add_plugin(LABEL, (__name__, decode.__name__))
