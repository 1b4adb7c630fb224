"""What happens when memory runs out: fewer slices at once, down to one, and then a plain error."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ctiqa_models.memory import Batch, OutOfMemory, memory_errors


def _look_that_fits(most: int, seen: list[tuple[int, int]]) -> object:
    def look(start: int, size: int) -> None:
        if size > most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 GB")
        seen.append((start, size))

    return look


def test_with_too_little_memory_there_are_half_as_many_slices_at_once_from_then_on() -> None:
    batch, seen, shares = Batch(8), [], []
    batch.over(11, _look_that_fits(3, seen), shares.append)
    assert seen == [(0, 2), (2, 2), (4, 2), (6, 2), (8, 2), (10, 1)]
    assert shares[-1] == 1
    assert batch.size == 2


def test_a_last_rest_that_does_not_fit_is_halved_too() -> None:
    batch, seen = Batch(4), []

    def look(start: int, size: int) -> None:
        if start == 4 and size > 1:
            raise MemoryError
        seen.append((start, size))

    batch.over(7, look, lambda share: None)
    assert [start for start, _ in seen] == [0, 4, 5, 6]
    assert sum(size for _, size in seen) == 7


def test_one_slice_that_does_not_fit_is_told() -> None:
    with pytest.raises(OutOfMemory, match="can't allocate"):
        Batch(4).over(9, _look_that_fits(0, []), lambda share: None)


def test_every_slice_is_looked_at_once_when_memory_suffices() -> None:
    seen: list[tuple[int, int]] = []
    Batch(4).over(9, _look_that_fits(9, seen), lambda share: None)
    assert seen == [(0, 4), (4, 4), (8, 1)]


@pytest.mark.parametrize("wanted", [lambda: np.empty(2**50, np.uint8), lambda: torch.empty(2**50, dtype=torch.uint8)])
def test_numpy_and_torch_are_understood(wanted: object) -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        wanted()


@pytest.mark.parametrize("sentence", ["(-4:Insufficient memory) Failed to allocate 4 bytes", "can't start new thread"])
def test_libraries_without_a_class_for_it_are_understood(sentence: str) -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        raise cv2.error(sentence)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shape") as caught, memory_errors():
        raise RuntimeError("the shape is wrong")
    assert not isinstance(caught.value, MemoryError)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
def test_a_full_gpu_is_understood() -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
