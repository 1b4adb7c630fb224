"""What a dataset claims to become, held against limits and its own codestream before anything is decoded.

A few kilobytes can claim terabytes: in rows, columns and frames, in the header of a JPEG that the attributes belie, or
in a deflated dataset. Nothing of that is allocated here.
"""

from __future__ import annotations

import struct
import zlib

MOST_INFLATED_BYTES = 1 << 30
"""Of a deflated dataset (PS3.5 A.5)."""
_CHUNK = 1 << 16

_J2K_START, _J2K_SIZE = b"\xff\x4f", b"\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_JPEG_START = b"\xff\xd8"
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
"""Start of Frame of each JPEG process (ISO/IEC 10918-1 Table B.1), and that of JPEG-LS (ISO/IEC 14495-1)."""
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a length."""


def codestream_shape(codestream: bytes) -> tuple[int, int] | None:
    """Rows and columns by the header of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream; None when it tells none."""
    try:
        if codestream.startswith(_JPEG_START):
            return _jpeg_shape(codestream)
        start = codestream.find(_J2K_START + _J2K_SIZE) if codestream.startswith(_JP2_SIGNATURE) else 0
        if start >= 0 and codestream[start : start + 4] == _J2K_START + _J2K_SIZE:
            right, bottom, left, top = struct.unpack_from(">4I", codestream, start + 8)
            return bottom - top, right - left
    except (struct.error, IndexError):
        return None
    return None


def _jpeg_shape(codestream: bytes) -> tuple[int, int] | None:
    position = 2
    while position < len(codestream) - 1:
        if codestream[position] != 0xFF:
            return None
        marker = codestream[position + 1]
        if marker == 0xFF:  # fill
            position += 1
        elif marker in _JPEG_ALONE:
            position += 2
        elif marker in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">HH", codestream, position + 5)
            return rows, columns
        else:
            position += 2 + struct.unpack_from(">H", codestream, position + 2)[0]
    return None


def inflates_within(deflated: bytes | memoryview, most: int = MOST_INFLATED_BYTES) -> bool:
    """Whether a deflated dataset stays below so many bytes; what is broken does, since it stops where it breaks."""
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    total, content = 0, memoryview(deflated)
    try:
        for start in range(0, len(content), _CHUNK):
            piece: bytes | memoryview = content[start : start + _CHUNK]
            while piece and not inflating.eof:
                total += len(inflating.decompress(piece, _CHUNK))
                if total > most:
                    return False
                piece = inflating.unconsumed_tail  # of one chunk; of the whole, copying it would take hours
    except zlib.error:
        return True
    return True
