"""Room for a volume: memory while it is small, a nameless file that is mapped into memory once it is large.

Of a mapped file the system keeps in memory what is read just now, and what it has room for; so a series of three
thousand slices needs no more memory than one of three hundred. Nobody can open the file by a name, and it is gone when
the volume is, however the process ends.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctiqa_node.errors import RetryLater

LARGE_BYTES = 256 << 20
"""From here on a volume lies in a file: some 250 slices of 512 × 512."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LONG_LIVED = Path("/var/tmp")  # noqa: S108  # a folder, not a name in it; /tmp is memory on many systems


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where large volumes lie (None: where the system keeps large temporary files), and how much stays free there."""

    folder: Path | None = None
    keep_free_bytes: int = 0


def new_volume(shape: tuple[int, int, int], scratch: Scratch, what: str) -> npt.NDArray[np.float32]:
    """An array of float32 to be filled; `what` is whose, for the sentence of an error.

    Raises:
        RetryLater: it is small, and there is no memory now.
        OSError: it is large, and a file cannot be made; ENOSPC with a sentence where there is no room now.
    """
    size = 4 * int(np.prod(shape, dtype=np.int64))
    needs = f"{what} needs {size / 2**30:.1f} GiB"
    if size >= LARGE_BYTES:
        return _mapped(shape, size, scratch, needs)
    try:
        return np.empty(shape, dtype=np.float32)
    except MemoryError as error:
        raise RetryLater(f"{needs} of memory, which is not free now.") from error


def _mapped(shape: tuple[int, int, int], size: int, scratch: Scratch, needs: str) -> npt.NDArray[np.float32]:
    folder = _folder(scratch)
    try:
        if shutil.disk_usage(folder).free < size + scratch.keep_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # now or never: a full disk later would be a SIGBUS
            mapping = mmap.mmap(file.fileno(), size)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        free = f"and leave {scratch.keep_free_bytes >> 20} MiB free" if scratch.keep_free_bytes else "for a while"
        sentence = f"{needs} in {folder} {free}, and there is no room now"
        raise OSError(errno.ENOSPC, sentence) from error
    return np.frombuffer(mapping, dtype=np.float32).reshape(shape)


def _folder(scratch: Scratch) -> Path:
    if scratch.folder is not None:
        return scratch.folder
    return _LONG_LIVED if os.access(_LONG_LIVED, os.W_OK) else Path(tempfile.gettempdir())


def give_pages_back(volume: npt.NDArray[np.float32]) -> None:
    """Let the system take the memory of a mapped volume; its values stay, and come back when they are read."""
    base: object = volume
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
