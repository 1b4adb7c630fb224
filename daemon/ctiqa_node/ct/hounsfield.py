"""Stored values → Hounsfield units, with everything outside the reconstruction circle as air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ctiqa_node.ct import headers

AIR_HU = -1024.0
"""What padding becomes."""

OUTSIDE_BELOW_HU = -1500.0
"""Nothing measured lies below: scanners write −2000 or −3024 outside the circle, while noise in air stays above."""


@dataclass(frozen=True, slots=True)
class Rescale:
    """HU = slope · stored + intercept (DICOM PS3.3 C.11.1.1.2)."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Padding:
    """The stored values, ends included, that stand for no measurement (DICOM PS3.3 C.7.5.1.1.2)."""

    low: int
    high: int


def padding_of(header: Dataset) -> Padding | None:
    """The padding that a header declares, or None.

    Scanners write the value as US beside signed pixels (63536 for −2000) and the other way round, so its bits are read
    with the signedness of the pixels whatever its VR.
    """
    ends = [headers.integer(header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    bits = headers.integer(header, "BitsAllocated") or 16
    signed = headers.integer(header, "PixelRepresentation") == 1
    values = [_as_stored(end, bits, signed) for end in ends if end is not None]
    return Padding(min(values), max(values))


def _as_stored(value: int, bits: int, signed: bool) -> int:
    unsigned = value % (1 << bits)
    return unsigned - (1 << bits) if signed and unsigned >> (bits - 1) else unsigned


def fill_hu(
    out: npt.NDArray[np.float32],
    stored: npt.NDArray[np.integer],
    rescale: Rescale,
    padding: Padding | None,
) -> int:
    """Write the HU of `stored` [y, x] into `out` [y, x]; answer how many pixels were padding and became −1024.

    Values below −1500 HU count as padding too, declared or not.
    """
    np.multiply(stored, np.float32(rescale.slope), out=out, casting="unsafe")
    out += np.float32(rescale.intercept)
    outside = out < OUTSIDE_BELOW_HU
    if padding is not None:
        outside |= (stored >= padding.low) & (stored <= padding.high)
    out[outside] = AIR_HU
    return int(np.count_nonzero(outside))
