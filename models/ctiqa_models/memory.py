"""What to do when memory runs out: fewer slices at once, and a plain error when one is too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ctiqa_models.api import Progress

# torch is imported where it is needed: who only wants to catch OutOfMemory need not wait for it.

_SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "could not create a memory",
    "Insufficient memory",
    "can't start new thread",
)
"""What CUDA, torch's CPU allocator, OpenVINO, oneDNN, OpenCV and Python say in errors of no class of their own."""


class OutOfMemory(MemoryError):
    """Memory ran out, of the CPU or of the GPU, though only one slice was looked at."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn whatever the libraries raise when memory runs out into OutOfMemory; let other errors pass."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(str(error)) from error
    except Exception as error:
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        raise OutOfMemory(str(error)) from error


class Batch:
    """How many slices a model looks at together. When memory runs out there are half as many, from then on."""

    def __init__(self, size: int) -> None:
        self._size = size

    @property
    def size(self) -> int:
        """Slices at once, 1 or more."""
        return self._size

    def over(self, count: int, look: Callable[[int, int], None], progress: Progress) -> None:
        """Call `look(start, size)` until all of `count` slices were looked at; `progress` gets the share, 0–1.

        `look` is called for the same slices again when memory ran out in it. Raises OutOfMemory when it did for one.
        """
        start = 0
        while start < count:
            size = min(self._size, count - start)
            if not self._fits(look, start, size):
                continue
            start += size
            progress(start / count)

    def _fits(self, look: Callable[[int, int], None], start: int, size: int) -> bool:
        try:
            with memory_errors():
                look(start, size)
        except OutOfMemory:
            if size == 1:
                raise
            self._size = size // 2
            _free_cached()
            return False
        return True


def _free_cached() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
