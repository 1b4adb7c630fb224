"""The convolution kernel that tags name, as the window class that it is made for.

| names | class | whose |
| --- | --- | --- |
| LUNG, BONE, BONEPLUS, BONE+, EDGE, ULTRA | lung | GE |
| STANDARD, STND, SOFT, STAND | soft tissue | GE |
| B10f … B44, I, J, Q and Br, Bf, Bl likewise: number below 45 | soft tissue | Siemens |
| D40s | soft tissue | Siemens; by its noise, which is like that of STANDARD |
| B50s, B60f, I70f, Bl57, …: number from 50 on | lung | Siemens |
| L, YC, YD, YE | lung | Philips |
| A, B, C, YA, YB | soft tissue | Philips |
| FC01–FC19 | soft tissue | Canon, Toshiba |
| FC30–FC35, FC50–FC59, FC80–FC86 | lung | Canon, Toshiba |

Anything else says nothing (None): numbers 45–49, DETAIL, CHST, D, kernels for heads, names within which a
number does not follow its letter at once ("59 .10.AB50"). Case does not matter.
"""

from __future__ import annotations

import re
from enum import IntEnum

_LUNG = frozenset({"LUNG", "BONE", "BONEPLUS", "BONE+", "EDGE", "ULTRA", "L", "YC", "YD", "YE"})
_SOFT = frozenset({"STANDARD", "STND", "STAND", "SOFT", "D40S", "A", "B", "C", "YA", "YB"})
_SIEMENS = re.compile(r"(?:^|[\s.])(?:B[FLRV]?|[IJQ][FR]?)(\d{2})[A-Z]{0,2}(?:[\s\\/]|$)")
_CANON = re.compile(r"^FC(\d{2})(?:$|\D)")
_BELOW_SOFT, _FROM_SHARP = 45, 50


class Window(IntEnum):
    """What a series was reconstructed to show; the number is the network's class and X of the fit."""

    LUNG = 0
    SOFT_TISSUE = 1

    @property
    def words(self) -> str:
        """As results name it."""
        return "lung" if self is Window.LUNG else "soft tissue"


def window_of_kernel(kernel: str) -> Window | None:
    """The window class of a convolution kernel (0018,1210) as scanners write it; None where the name tells nothing."""
    name = kernel.strip().upper()
    if name in _LUNG:
        return Window.LUNG
    if name in _SOFT:
        return Window.SOFT_TISSUE
    if found := _SIEMENS.search(name):
        return _by_number(int(found[1]))
    if found := _CANON.match(name):
        number = int(found[1])
        if 1 <= number <= 19:
            return Window.SOFT_TISSUE
        return Window.LUNG if number in {*range(30, 36), *range(50, 60), *range(80, 87)} else None
    return None


def _by_number(number: int) -> Window | None:
    if number < _BELOW_SOFT:
        return Window.SOFT_TISSUE
    return Window.LUNG if number >= _FROM_SHARP else None
