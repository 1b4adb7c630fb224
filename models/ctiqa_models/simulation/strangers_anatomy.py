"""Heads, necks and thighs in Hounsfield units, drawn by formula: CT, but not of an adult's trunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ctiqa_models.api import FloatArray
from ctiqa_models.simulation.phantom_canvas import Canvas, Ellipsoid, coverage, superellipse

_AIR_HU, _FAT_HU, _MUSCLE_HU = -1000.0, -100.0, 55.0
_SKULL_LEVELS = (-60.0, -45.0, -20.0, 10.0, 35.0, 65.0, 85.0)
_HEAD_A = (64.0, 68.0, 72.0, 76.0, 76.0, 60.0, 35.0)
_HEAD_B = (88.0, 92.0, 96.0, 97.0, 96.0, 76.0, 45.0)


@dataclass(frozen=True, slots=True)
class Frame:
    """The field of view of a slice; `stretch` enlarges what is drawn, so that a head can be as large as a trunk."""

    size: int
    field_of_view_mm: float
    stretch: float

    def canvas(self, z: float, rng: np.random.Generator) -> Canvas:
        """A slice of air at the body's own height z, the body a little off its middle."""
        axis = (np.arange(self.size, dtype=np.float32) - (self.size - 1) / 2) * self.pixel_mm
        x, y = np.meshgrid(axis + np.float32(rng.uniform(-6, 6)), axis + np.float32(rng.uniform(-6, 6)))
        hu = np.full((self.size, self.size), _AIR_HU, dtype=np.float32)
        return Canvas(hu, x, y, z, self.pixel_mm)

    @property
    def pixel_mm(self) -> float:
        """Side of a pixel in millimetres of what is drawn, before it is enlarged."""
        return self.field_of_view_mm / self.size / self.stretch


Painter = Callable[[Frame, float, np.random.Generator], FloatArray]
"""Draws one slice, [size, size] in HU, at a share 0–1 of the body part's height."""


def head(frame: Frame, height: float, rng: np.random.Generator) -> FloatArray:
    """A head in its holder: from the maxillary sinuses (0) to above the lateral ventricles (1)."""
    canvas = frame.canvas(-45.0 + 115.0 * height, rng)
    fine, coarse = _texture(rng, frame, 1.2), _texture(rng, frame, 4.0)
    a, b = (float(np.interp(canvas.z, _SKULL_LEVELS, values)) for values in (_HEAD_A, _HEAD_B))
    skin = superellipse(canvas.x, canvas.y, (a * rng.uniform(0.95, 1.05), b * rng.uniform(0.95, 1.05)), 2.2)
    _paint_holder(canvas)
    canvas.paint(skin, 30.0)
    canvas.paint(skin + 2.0, -70.0 + 30.0 * coarse)
    thickness = rng.uniform(5.0, 8.0)
    for depth, hu in ((6.0, 1100.0), (8.0, 550.0 + 150.0 * fine), (4.5 + thickness, 1200.0)):
        canvas.paint(skin + depth, hu)
    _paint_brain(canvas, skin + 6.5 + thickness, fine, coarse, rng.uniform(0.7, 1.5))
    _paint_skull_base(canvas, fine)
    canvas.hu[...] += coverage(skin, frame.pixel_mm) * (canvas.hu > -300.0) * (3.0 * coarse + 3.0 * fine)
    return canvas.hu


def neck(frame: Frame, height: float, rng: np.random.Generator) -> FloatArray:
    """A neck: larynx (0) to mandible (1)."""
    canvas = frame.canvas(0.0, rng)
    fine, coarse = _texture(rng, frame, 1.2), _texture(rng, frame, 4.0)
    fat = rng.uniform(3.0, 12.0)
    skin = superellipse(canvas.x, canvas.y, (56.0 + fat, 60.0 + fat), 2.2)
    _paint_holder(canvas)
    canvas.paint(skin, 25.0)
    canvas.paint(skin + 2.0, _FAT_HU + 10.0 * coarse)
    canvas.paint(skin + 2.0 + fat, _MUSCLE_HU)
    planes = coverage(np.abs(coarse) - np.float32(0.12), 0.2) * coverage(skin + 2.0 + fat, frame.pixel_mm)
    canvas.blend(planes, _FAT_HU)
    blood = rng.uniform(40.0, 260.0)
    for side in (-1.0, 1.0):
        _oval(canvas, side * 26.0, -6.0, 3.8, 3.8, blood)
        _oval(canvas, side * 34.0, 0.0, 6.5, 5.0, blood - 10.0)
        _oval(canvas, side * 13.0, -24.0, 6.0, 11.0, 115.0 if height < 0.5 else 50.0)
    _oval(canvas, 0.0, 14.0, 14.0, 10.0, 420.0 + 90.0 * fine)
    _oval(canvas, 0.0, 38.0, 18.0, 8.0, 480.0 + 90.0 * fine)
    _oval(canvas, 0.0, 28.0, 9.0, 7.0, 30.0)
    _oval(canvas, 0.0, -24.0, 12.0, 13.0, 140.0)
    _oval(canvas, 0.0, -24.0, 9.0, 10.0, _AIR_HU)
    if height > 0.5:
        jaw = superellipse(canvas.x, canvas.y, (46.0, 54.0), 2.0, 0.0)
        canvas.paint(np.maximum(np.abs(jaw) - 5.0, canvas.y + 5.0), 1100.0 + 150.0 * fine)
    canvas.hu[...] += coverage(skin, frame.pixel_mm) * (canvas.hu > -300.0) * (4.0 * coarse + 3.0 * fine)
    return canvas.hu


def thighs(frame: Frame, height: float, rng: np.random.Generator) -> FloatArray:
    """Both thighs on a table, thinner towards the knees (0)."""
    canvas = frame.canvas(0.0, rng)
    fine, coarse = _texture(rng, frame, 1.2), _texture(rng, frame, 4.0)
    radius, fat = 62.0 + 18.0 * height, rng.uniform(5.0, 20.0)
    _paint_table(canvas)
    for side in (-1.0, 1.0):
        x = canvas.x - np.float32(side * (radius + 6.0))
        skin = superellipse(x, canvas.y, (radius, radius * 1.05), 2.1)
        canvas.paint(skin, 25.0)
        canvas.paint(skin + 2.0, _FAT_HU + 8.0 * coarse)
        canvas.paint(skin + 2.0 + fat, _MUSCLE_HU)
        angle, distance = np.arctan2(canvas.y, x), np.hypot(x, canvas.y)
        seams = np.abs(np.sin(3.5 * angle + 1.3 * coarse + side)) * distance - 2.5
        canvas.paint(np.maximum(seams, skin + 2.0 + fat), _FAT_HU)
        canvas.paint(distance - 14.0, 1300.0)
        canvas.paint(distance - 8.0, -40.0 + 20.0 * fine)
        vessel = np.hypot(x + side * 22.0, canvas.y + 18.0)
        canvas.paint(np.asarray(vessel - 4.5, dtype=np.float32), 90.0)
    canvas.hu[...] += (canvas.hu > -300.0) * (4.0 * coarse + 3.0 * fine)
    return canvas.hu


def _paint_brain(canvas: Canvas, inner: FloatArray, fine: FloatArray, coarse: FloatArray, ventricles: float) -> None:
    """Grey and white matter, sulci, ventricles, basal ganglia and falx inside the skull."""
    canvas.paint(inner, 37.0)
    canvas.paint(inner + 5.0 + 2.0 * coarse, 28.0)
    sulci = coverage(np.abs(coarse) - np.float32(0.12), 0.2) * coverage(inner, canvas.pixel_mm)
    canvas.blend(sulci * coverage(-(inner + 14.0), 2.0), 12.0)
    for side in (-1.0, 1.0):
        _ball(canvas, Ellipsoid((side * 22.0, 4.0, 20.0), (10.0, 18.0, 14.0), side * -15.0), 39.0)
        horn = (6.0 * ventricles, 32.0, 13.0)
        _ball(canvas, Ellipsoid((side * 13.0, -2.0, 35.0), horn, side * -12.0), 6.0)
    _ball(canvas, Ellipsoid((0.0, 6.0, 14.0), (2.5 * ventricles, 12.0, 12.0)), 6.0)
    _ball(canvas, Ellipsoid((0.0, 40.0, -16.0), (8.0, 7.0, 9.0)), 6.0)
    if canvas.z > 25.0:
        canvas.paint(np.maximum(np.abs(canvas.x) - np.float32(0.8), inner), 55.0 + 3.0 * fine)


def _paint_skull_base(canvas: Canvas, fine: FloatArray) -> None:
    """Orbits, paranasal sinuses, petrous bones and mastoid cells."""
    cells = np.where(fine > 0, np.float32(-600.0), np.float32(900.0))
    _ball(canvas, Ellipsoid((0.0, 2.0, -28.0), (12.0, 11.0, 15.0)), 550.0)
    _ball(canvas, Ellipsoid((0.0, -64.0, -38.0), (15.0, 26.0, 22.0)), np.where(fine > 0.8, 150.0, _AIR_HU))
    for side in (-1.0, 1.0):
        _ball(canvas, Ellipsoid((side * 42.0, 18.0, -25.0), (30.0, 9.0, 11.0), side * 35.0), 1100.0 + 200.0 * fine)
        _ball(canvas, Ellipsoid((side * 57.0, 38.0, -30.0), (10.0, 13.0, 16.0)), cells)
        orbit = Ellipsoid((side * 33.0, -62.0, -19.0), (18.0, 25.0, 16.0))
        maxillary = Ellipsoid((side * 29.0, -58.0, -48.0), (15.0, 17.0, 17.0))
        for cavity, hu in ((orbit, -80.0), (maxillary, _AIR_HU)):
            _ball(canvas, cavity.grown(2.0), 800.0)
            _ball(canvas, cavity, hu)
        _ball(canvas, Ellipsoid((side * 33.0, -72.0, -19.0), (12.0, 12.0, 12.0)), 15.0)
        _ball(canvas, Ellipsoid((side * 9.0, -84.0, -4.0), (10.0, 6.0, 10.0)), _AIR_HU)


def _ball(canvas: Canvas, shape: Ellipsoid, hu: float | FloatArray) -> None:
    if shape.reaches(canvas.z):
        canvas.paint(shape.distance(canvas, canvas.whole()), hu)


def _oval(canvas: Canvas, x: float, y: float, a: float, b: float, hu: float | FloatArray) -> None:
    canvas.paint(superellipse(canvas.x - np.float32(x), canvas.y, (a, b), 2.0, y), hu)


def _paint_holder(canvas: Canvas) -> None:
    """The shell that a head lies in, open in front."""
    shell = np.hypot(canvas.x, canvas.y) - np.float32(112.0)
    canvas.paint(np.maximum(np.abs(shell) - 2.0, 20.0 - canvas.y), -150.0)


def _paint_table(canvas: Canvas) -> None:
    table = superellipse(canvas.x, canvas.y, (190.0, 10.0), 4.0, 105.0)
    canvas.paint(table, -150.0)
    canvas.paint(table + 1.6, -960.0)


def _texture(rng: np.random.Generator, frame: Frame, sigma_mm: float) -> FloatArray:
    """Smooth random texture of mean 0 and standard deviation 1, its grain `sigma_mm` wide."""
    white = rng.standard_normal((frame.size, frame.size), dtype=np.float32)
    smooth = gaussian_filter(white, sigma_mm / frame.pixel_mm, mode="wrap")
    return np.asarray(smooth / (smooth.std() + 1e-6), dtype=np.float32)
