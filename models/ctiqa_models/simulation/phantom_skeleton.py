"""Bones: spine, ribs with their cartilage, sternum, scapulae, clavicles."""

from __future__ import annotations

import math

import numpy as np

from ctiqa_models.api import FloatArray
from ctiqa_models.simulation.phantom_body import SPINE_Y, cage_angle, cage_front
from ctiqa_models.simulation.phantom_canvas import Canvas, Ellipsoid, Segment, tube

_MARROW_HU, _CORTEX_HU, _CARTILAGE_HU, _DISC_HU, _CORD_HU = 210.0, 750.0, 110.0, 85.0, 35.0
_RIB_SPACING_MM, _LOWEST_RIB_MM, _RIBS = 26.0, 96.0, 12
_VERTEBRA_MM, _DISC_MM = 27.0, 5.0

_SCAPULAE = tuple(
    piece
    for side in (-1.0, 1.0)
    for piece in (
        Segment((side * 70.0, 92.0, 285.0), (side * 122.0, 62.0, 372.0), 3.5, 5.0),
        Segment((side * 84.0, 90.0, 330.0), (side * 126.0, 58.0, 372.0), 3.5, 6.0),
        Segment((side * 78.0, 86.0, 372.0), (side * 128.0, 52.0, 378.0), 4.0, 8.0),
        Segment((side * 72.0, 93.0, 300.0), (side * 118.0, 68.0, 300.0), 3.0, 5.0),
    )
)
_CLAVICLES = tuple(
    piece
    for side in (-1.0, 1.0)
    for piece in tube(
        ((side * 18.0, -46.0, 366.0), (side * 70.0, -38.0, 380.0), (side * 128.0, 8.0, 392.0)), (9.0, 6.5, 7.5)
    )
)
_HUMERI = tuple(Ellipsoid((side * 138.0, 24.0, 396.0), (20.0, 20.0, 26.0)) for side in (-1.0, 1.0))


def paint_skeleton(canvas: Canvas, cage: FloatArray, trabeculae: FloatArray) -> None:
    """Paint all bones of one slice; `cage` is the distance from the chest wall, `trabeculae` a texture around 0 HU."""
    marrow = _MARROW_HU + trabeculae
    _paint_ribs(canvas, cage, marrow)
    _paint_spine(canvas, marrow)
    sternum = Ellipsoid((0.0, cage_front(canvas.z) - 4.0, 262.0), (21.0, 7.0, 92.0))
    bones: tuple[Ellipsoid | Segment, ...] = (sternum, *_SCAPULAE, *_CLAVICLES, *_HUMERI)
    for bone in bones:
        if bone.reaches(canvas.z):
            window = bone.window(canvas)
            part = marrow[window.rows, window.columns]
            distance = bone.distance(canvas, window)
            canvas.paint(distance, _CORTEX_HU, window)
            canvas.paint(distance + 1.8, part, window)


def _paint_ribs(canvas: Canvas, cage: FloatArray, marrow: FloatArray) -> None:
    """All ribs at once: each winds down and forward around the cage, so a slice cuts several, each obliquely."""
    angle = cage_angle(canvas)
    down = 66.0 * np.sin(np.minimum(angle, 2.4) / 2.4 * math.pi / 2) - 45.0 * np.maximum(angle - 2.4, 0.0)
    place = (canvas.z + down - _LOWEST_RIB_MM) / _RIB_SPACING_MM
    number = np.rint(place)
    height = (place - number) * _RIB_SPACING_MM
    rib = (np.hypot(height / 6.5, (cage - 3.0) / 4.0) - 1.0) * 4.0
    rib = np.where((number >= 0) & (number < _RIBS) & (angle > 0.13), rib, np.float32(9.0)).astype(np.float32)
    bony = np.clip((2.5 - angle) / 0.04, 0.0, 1.0)
    # The lowest ribs end free at the side.
    ends = np.where(number < 2, 1.3, 3.0)
    rib = np.maximum(rib, (angle - ends) * 40.0)
    canvas.paint(rib, _CARTILAGE_HU + bony * (_CORTEX_HU - _CARTILAGE_HU))
    canvas.paint(rib + 1.6, _CARTILAGE_HU + bony * (marrow - _CARTILAGE_HU))


def _paint_spine(canvas: Canvas, marrow: FloatArray) -> None:
    x, y = canvas.x, canvas.y
    phase = canvas.z % _VERTEBRA_MM
    body = np.hypot(x / 1.22, y - SPINE_Y) - 16.5
    back = y - SPINE_Y - 13.0
    # The rear wall of a vertebral body is hollowed by the canal.
    body = np.maximum(body, back + 0.02 * x * x * np.sign(-back))
    if phase < _DISC_MM:
        canvas.paint(body, _DISC_HU)
    else:
        canvas.paint(body, _CORTEX_HU * 0.75)
        canvas.paint(body + 1.4, marrow)
    _paint_arch(canvas, phase, marrow)
    canal = np.hypot(x / 1.15, y - SPINE_Y - 24.0) - 8.5
    canvas.paint(canal, 5.0)
    canvas.paint(canal + 3.5, _CORD_HU)


def _paint_arch(canvas: Canvas, phase: float, marrow: FloatArray) -> None:
    """The bony ring around the canal, with the transverse and the spinous processes at their heights."""
    x, y = np.abs(canvas.x), canvas.y - SPINE_Y
    arch = np.abs(np.hypot(x / 1.15, y - 24.0) - 11.5) - 2.6
    if phase < 11.0:
        # The gap between two arches at the side, where the nerves leave.
        arch = np.maximum(arch, 27.0 - y)
    if 9.0 < phase < 20.0:
        arch = np.minimum(arch, _bar(x, y, (13.0, 22.0), (36.0, 30.0), 3.6))
    if phase < 15.0:
        arch = np.minimum(arch, _bar(x, y, (0.0, 36.0), (0.0, 50.0), 3.4))
    canvas.paint(arch, _CORTEX_HU * 0.8)
    canvas.paint(arch + 1.7, marrow)


def _bar(
    x: FloatArray, y: FloatArray, start: tuple[float, float], end: tuple[float, float], radius: float
) -> FloatArray:
    vx, vy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * vx + (y - start[1]) * vy) / (vx * vx + vy * vy), 0.0, 1.0)
    return np.asarray(np.hypot(x - start[0] - along * vx, y - start[1] - along * vy) - radius, dtype=np.float32)
