"""The outline of the body on a slice: what a viewer draws so that a person sees which slice is meant."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

_BODY_HU = -400.0  # between fat (about -100) and lung or foam (below -600)
_OPENING_SHARE = 1 / 170  # of the rows, 3 of 512: parts thin table plates from the skin that lies on them
_TOLERANCE_PIXELS = 1.0
_SMALLEST_SHARE = 0.01  # of the slice; below it there is nobody to outline


def body_outline(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The closed outline of the largest dense object on a slice [y, x] in HU, as points [n, 2] of (column, row).

    Image-relative coordinates as PS3.3 C.18.6.1.1 has them: 0\\0 is the upper left corner of the first pixel. The last
    point repeats the first. Without a body the outline is the frame of the slice.
    """
    body = _largest_object(hu > _BODY_HU)
    if body is None:
        return _frame(hu.shape[0], hu.shape[1])
    contours, _ = cv2.findContours(body.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=len)
    points = cv2.approxPolyDP(longest, _TOLERANCE_PIXELS, closed=True).reshape(-1, 2).astype(np.float64) + 0.5
    if len(points) < 3:
        return _frame(hu.shape[0], hu.shape[1])
    return np.vstack([points, points[:1]])


def _largest_object(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    opened = ndimage.binary_opening(mask, iterations=max(1, round(_OPENING_SHARE * mask.shape[0])))
    labels, count = ndimage.label(opened)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.max() < _SMALLEST_SHARE * mask.size:
        return None
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes))), dtype=np.bool_)


def _frame(rows: int, columns: int) -> npt.NDArray[np.float64]:
    left, top, right, bottom = 0.5, 0.5, columns - 0.5, rows - 0.5
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
