"""The pixels of many frames as a stream, so that no more than one frame is in memory while an object is written."""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedIOBase


class FramesOnDemand(BufferedIOBase):
    """`count` frames of `frame_bytes` each, which `make` gives by their index, from 0, when they are read.

    pydicom takes it as the value of Pixel Data, and reads it from its beginning when the dataset is written.
    """

    def __init__(self, count: int, frame_bytes: int, make: Callable[[int], bytes]) -> None:
        self._count, self._frame_bytes, self._make = count, frame_bytes, make
        self._at = 0
        self._index, self._frame = -1, b""

    def readable(self) -> bool:
        """As pydicom asks."""
        return True

    def seekable(self) -> bool:
        """As pydicom asks."""
        return True

    def tell(self) -> int:
        """How much was read."""
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a byte."""
        start = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._frame_bytes * self._count}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes; all that are left without a size."""
        wanted = self._frame_bytes * self._count - self._at
        wanted = wanted if size is None or size < 0 else min(size, wanted)
        pieces = []
        while wanted > 0:
            piece = self._of_one_frame(wanted)
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def _of_one_frame(self, size: int) -> bytes:
        index, start = divmod(self._at, self._frame_bytes)
        if index != self._index:
            self._index, self._frame = index, self._make(index)
        piece = self._frame[start : start + size]
        self._at += len(piece)
        return piece
