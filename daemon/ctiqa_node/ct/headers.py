"""Reading values from headers as peers send them: what can't be read as what it should be counts as missing."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence as DicomSequence

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    RuntimeError,  # NotImplementedError and RecursionError too
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and its plug-ins raise for bytes that are not what they should be (OSError is not among them)."""

_INTEGER_END = 1 << 31


class UnreadableFileError(ValueError):
    """A file that can't be read as a CT image at all; the message says why, to stand inside a sentence."""


def read_header(path: Path) -> tuple[Dataset, int]:
    """The dataset of one DICOM file up to its pixels, and at which byte of the file reading ended.

    Raises UnreadableFileError for its content, OSError when it can't be opened.
    """
    with path.open("rb") as file, _unreadable():
        return pydicom.dcmread(file, stop_before_pixels=True), file.tell()


def read_file(path: Path) -> Dataset:
    """The dataset of one DICOM file. Raises UnreadableFileError for its content, OSError when it can't be opened."""
    with _unreadable():
        return pydicom.dcmread(path)


@contextmanager
def _unreadable() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise UnreadableFileError(f"it is not a readable DICOM file ({error})") from error
    except OSError as error:
        if error.errno is not None:  # the system's; pydicom raises bare OSError for broken sequences
            raise
        raise UnreadableFileError(f"it is not a readable DICOM file ({error})") from error


def value_of(dataset: Dataset, keyword: str) -> object:
    """The value of one attribute, None when it is missing, empty or unreadable."""
    try:
        return dataset.get(keyword)
    except (*UNREADABLE, OSError):  # no file is touched: pydicom raises OSError for broken sequences
        return None


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of a text attribute, stripped; empty when missing."""
    return tuple(str(part).strip() for part in _several(value_of(dataset, keyword)))


def text(dataset: Dataset, keyword: str) -> str:
    """The value of a text attribute as one string, several values joined by backslashes; "" when missing."""
    return "\\".join(texts(dataset, keyword))


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, else None."""
    parts = _several(value_of(dataset, keyword))
    try:
        values = tuple(float(part) for part in parts)  # type: ignore[arg-type]  # what float() refuses is caught
    except UNREADABLE:
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """One finite number, else None."""
    values = numbers(dataset, keyword, 1)
    return values[0] if values else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """One whole number of those that an Integer String may hold (PS3.5 6.2), else None."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value.is_integer() and abs(value) < _INTEGER_END else None


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; empty when missing."""
    value = value_of(dataset, keyword)
    return tuple(value) if isinstance(value, DicomSequence) else ()


def functional_group(dataset: Dataset, frame_index: int, keyword: str) -> Dataset | None:
    """The first item of one functional group macro of a frame (from 0): its own, else the shared one.

    DICOM PS3.3 C.7.6.16.
    """
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    groups = (*per_frame[frame_index : frame_index + 1], *items(dataset, "SharedFunctionalGroupsSequence")[:1])
    for group in groups:
        macro = items(group, keyword)
        if macro:
            return macro[0]
    return None


def _several(value: object) -> tuple[object, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return tuple(value)
    return (value,)
