"""Whether a drawn picture shows what was sent: found in the drawing at any size, and compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a picture lies in a drawing, in pixels of the drawing, and how well the two correlate (1: the same)."""

    left: int
    top: int
    height: int
    width: int
    correlation: float

    def cut(self, drawn: Pixels) -> Pixels:
        """This part of the drawing."""
        return drawn[self.top : self.top + self.height, self.left : self.left + self.width]


def find(sent: Pixels, drawn: Pixels, heights: tuple[float, float] = (0.97, 1.0), steps: int = 8) -> Found:
    """Look for a picture in a drawing, at heights from one share of the drawing's to the other; the best place."""
    grey, wanted = _grey(drawn), _grey(sent)
    best = Found(0, 0, 0, 0, -1.0)
    for share in np.linspace(*heights, steps):
        height = round(share * grey.shape[0])
        width = round(height * wanted.shape[1] / wanted.shape[0])
        if width > grey.shape[1]:
            continue
        scaled = cv2.resize(wanted, (width, height), interpolation=cv2.INTER_AREA)
        _, correlation, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(grey, scaled, cv2.TM_CCOEFF_NORMED))
        if correlation > best.correlation:
            best = Found(left, top, height, width, correlation)
    return best


def alike(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """The correlation of two arrays of one shape, −1 to 1; 0 where one of them is even."""
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _grey(picture: Pixels) -> Pixels:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
