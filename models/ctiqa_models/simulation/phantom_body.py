"""The regions that everything else lies in: body, thoracic cage, lungs, diaphragm, as functions of height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctiqa_models.api import FloatArray
from ctiqa_models.simulation.phantom_canvas import Canvas, Ellipsoid, superellipse

BODY_HEIGHT_MM = 400.0
"""From below the kidneys (z = 0) to the apex of the lungs."""

SPINE_Y = 60.0
HEART = Ellipsoid((26.0, -24.0, 222.0), (66.0, 46.0, 52.0), turn=28.0)

_HEIGHTS = (0.0, 60.0, 120.0, 200.0, 280.0, 335.0, 370.0, 400.0)
_BODY_A = (146.0, 152.0, 157.0, 160.0, 164.0, 172.0, 176.0, 172.0)
_BODY_B = (106.0, 109.0, 113.0, 117.0, 116.0, 107.0, 100.0, 94.0)
_BODY_Y = (12.0, 11.0, 9.0, 8.0, 10.0, 17.0, 23.0, 28.0)
_FAT = (26.0, 24.0, 20.0, 15.0, 12.0, 10.0, 9.0, 8.0)
_CAGE_A = (118.0, 122.0, 128.0, 132.0, 126.0, 104.0, 76.0, 44.0)
_CAGE_B = (76.0, 80.0, 86.0, 90.0, 86.0, 68.0, 52.0, 34.0)
_CAGE_Y = (0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 14.0, 20.0)
_MEDIASTINUM = (18.0, 20.0, 22.0, 24.0, 30.0, 30.0, 28.0, 26.0)
_DOMES = ((-68.0, -8.0, 186.0), (66.0, -8.0, 170.0))


@dataclass(frozen=True, slots=True)
class Regions:
    """Signed distances in mm, negative inside, over one slice."""

    skin: FloatArray
    muscle: FloatArray
    """Inside of the subcutaneous fat."""
    cage: FloatArray
    """Inside of the ribs and of the abdominal wall."""
    lungs: FloatArray
    abdomen: FloatArray
    """Below the diaphragm and inside the wall."""


def _at_height(values: tuple[float, ...], z: float) -> float:
    """Interpolate values that are given at the eight heights of this module."""
    return float(np.interp(z, _HEIGHTS, values))


def regions(canvas: Canvas, stoutness: float) -> Regions:
    """Lay out one slice. `stoutness` scales the subcutaneous fat: 0.5 thin, 1 average, 1.6 stout."""
    x, y, z = canvas.x, canvas.y, canvas.z
    usual = _at_height(_FAT, z)
    fat = usual * stoutness
    a, b = _at_height(_BODY_A, z) + fat - usual, _at_height(_BODY_B, z) + fat - usual
    middle = _at_height(_BODY_Y, z)
    skin = superellipse(x, y, (a, b), 2.4, middle)
    # More fat in front than behind, so the muscles' outline lies farther back.
    muscle = superellipse(x, y, (a - fat, b - fat), 2.3, middle + 0.25 * fat)
    cage = cage_distance(canvas)
    below = _above_diaphragm(canvas)
    lungs = np.maximum(np.maximum(cage + 3.5, -below), -_mediastinum(canvas))
    return Regions(skin, muscle, cage, lungs, np.maximum(cage + 3.0, below + 1.5))


def cage_distance(canvas: Canvas) -> FloatArray:
    """Signed distance from the middle of the chest wall, which is where the ribs run."""
    half_axes = (_at_height(_CAGE_A, canvas.z), _at_height(_CAGE_B, canvas.z))
    return superellipse(canvas.x, canvas.y, half_axes, 2.2, _at_height(_CAGE_Y, canvas.z))


def cage_front(z: float) -> float:
    """y of the middle of the chest wall in front."""
    return _at_height(_CAGE_Y, z) - _at_height(_CAGE_B, z)


def cage_angle(canvas: Canvas) -> FloatArray:
    """Angle around the cage from the spine (0) to the sternum (π), the same on both sides."""
    a, b = _at_height(_CAGE_A, canvas.z), _at_height(_CAGE_B, canvas.z)
    angle: FloatArray = np.abs(np.arctan2(canvas.x / a, (canvas.y - _at_height(_CAGE_Y, canvas.z)) / b))
    return angle


def _above_diaphragm(canvas: Canvas) -> FloatArray:
    """Height over the nearer dome, roughly perpendicular to it; positive is thorax."""
    above: FloatArray | None = None
    for x, y, top in _DOMES:
        u, v = (canvas.x - x) / 96.0, (canvas.y - y) / 84.0
        dome = top - 78.0 * (u * u + v * v)
        slope = 2 * 78.0 * np.hypot(u / 96.0, v / 84.0)
        height = (canvas.z - dome) / np.sqrt(1.0 + slope * slope)
        above = height if above is None else np.minimum(above, height)
    assert above is not None
    return above


def _mediastinum(canvas: Canvas) -> FloatArray:
    """What lies between the lungs: a strip that is thin in front, the heart, and the spine."""
    x, y, z = canvas.x, canvas.y, canvas.z
    width = 4.0 + _at_height(_MEDIASTINUM, z) * np.exp(-(((y - 5.0) / 42.0) ** 2))
    strip = np.abs(x - 4.0) - width
    spine = np.hypot(x / 1.25, y - SPINE_Y - 4.0) - 24.0
    descending_aorta = np.hypot(x - 24.0, y - 42.0) - 15.0
    between = np.minimum(np.minimum(strip, spine), descending_aorta if z < 320.0 else strip)
    if HEART.reaches(z):
        between = np.minimum(between, HEART.grown(5.0).distance(canvas, canvas.whole()))
    return np.asarray(between, dtype=np.float32)
