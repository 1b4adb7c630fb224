"""Which window a convolution kernel is made for, as its name tells."""

from __future__ import annotations

import re

LUNG, SOFT_TISSUE = "lung", "soft tissue"

_SHARP = frozenset({"LUNG", "BONE", "BONEPLUS", "BONE+", "EDGE", "ULTRA", "L", "YC", "YD", "YE"})
_SMOOTH = frozenset({"STANDARD", "STND", "STAND", "SOFT", "D40S", "A", "B", "C", "YA", "YB"})
_SIEMENS = re.compile(r"(?:^|[\s.])(?:B[FLRV]?|[IJQ][FR]?)(\d{2})[A-Z]{0,2}(?:[\s\\/]|$)")
_CANON = re.compile(r"^FC(\d{2})(?:$|\D)")
_CANON_SMOOTH = frozenset(range(1, 20))
_CANON_SHARP = frozenset({*range(30, 36), *range(50, 60), *range(80, 87)})


def window_of_kernel(kernel: str) -> str | None:
    """LUNG or SOFT_TISSUE for the name of a kernel (0018,1210) of GE, Siemens, Philips or Canon; None where it is open.

    The names are those by which the training data of Chest CT-IQA were classed; a test holds both to each other.
    """
    name = kernel.strip().upper()
    if name in _SHARP:
        return LUNG
    if name in _SMOOTH:
        return SOFT_TISSUE
    if found := _SIEMENS.search(name):
        number = int(found[1])
        return SOFT_TISSUE if number < 45 else LUNG if number >= 50 else None
    if found := _CANON.match(name):
        number = int(found[1])
        return SOFT_TISSUE if number in _CANON_SMOOTH else LUNG if number in _CANON_SHARP else None
    return None
