"""From a frame to its stored values, several frames at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ctiqa_node.ct.frames import Frame
from ctiqa_node.ct.pixels import UndecodableError, decode_frame, read_pixels

StoredValues = npt.NDArray[np.integer]


def decode(frame: Frame) -> StoredValues:
    """The stored values [y, x] of a frame. Raises UndecodableError."""
    return _decode(frame, read_pixels(frame.path, frame.header, frame.pixels_at))


def decoded_ahead(frames: Sequence[Frame], pool: Executor, ahead: int) -> Iterator[Future[StoredValues]]:
    """What `decode` gives for each frame, in their order; no more than twice `ahead` are begun before they are taken.

    So memory holds some frames of what is decoded, whatever their number. Frames of one file share what is read of it.
    """
    begun: deque[Future[StoredValues]] = deque()
    files = _LastFile()
    for frame in frames:
        begun.append(pool.submit(decode, frame) if frame.source.frame_number is None else files.submit(frame, pool))
        if len(begun) >= 2 * ahead:
            yield begun.popleft()
    yield from begun


def _decode(frame: Frame, pixels: Dataset) -> StoredValues:
    return decode_frame(pixels, frame.path, frame.index, (frame.rows, frame.columns))


class _LastFile:
    """Keeps the pixels of the file read last, so that the frames of an Enhanced CT read it once."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._pixels: Dataset | None = None

    def submit(self, frame: Frame, pool: Executor) -> Future[StoredValues]:
        """Begin to decode a frame; that its file cannot be read, the future tells."""
        if frame.path != self._path:
            self._path, self._pixels = frame.path, None
            with suppress(UndecodableError):
                self._pixels = read_pixels(frame.path, frame.header, frame.pixels_at)
        return pool.submit(decode, frame) if self._pixels is None else pool.submit(_decode, frame, self._pixels)
