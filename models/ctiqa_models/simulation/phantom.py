"""A made-up patient: chest and upper abdomen in Hounsfield units, drawn by formula, different for every seed.

It has what image quality measures look at (organs of known contrast, fine vessels, bone, gas, fat and textures) and no
patient's data. Positions and sizes are those of an average adult; Hounsfield units are textbook values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ctiqa_models.api import FloatArray
from ctiqa_models.simulation.phantom_body import BODY_HEIGHT_MM, Regions, regions
from ctiqa_models.simulation.phantom_canvas import Canvas, Ellipsoid, coverage, superellipse
from ctiqa_models.simulation.phantom_organs import (
    AIR_HU,
    FAT_HU,
    LUNG_HU,
    MUSCLE_HU,
    PORTAL_VENOUS,
    UNENHANCED,
    Loop,
    Tissues,
    Trees,
    bowel,
    paint_abdomen,
    paint_great_vessels_and_airways,
    paint_heart,
    paint_lung_vessels,
    vessel_trees,
)
from ctiqa_models.simulation.phantom_skeleton import paint_skeleton

_WAVES = 4

# Muscles with fat between them: (x, y, z) on the left side, half axes, turn; the right side mirrors them.
_MUSCLE_BELLIES = tuple(
    Ellipsoid((side * x, y, z), radii, side * turn)
    for side in (-1.0, 1.0)
    for (x, y, z), radii, turn in (
        ((30.0, 96.0, 180.0), (25.0, 17.0, 260.0), 12.0),
        ((62.0, 104.0, 370.0), (50.0, 9.0, 90.0), -14.0),
        ((100.0, 60.0, 345.0), (36.0, 13.0, 55.0), -35.0),
        ((104.0, 90.0, 340.0), (34.0, 11.0, 60.0), -30.0),
        ((128.0, 66.0, 260.0), (12.0, 40.0, 90.0), 14.0),
        ((84.0, -54.0, 340.0), (60.0, 11.0, 62.0), 18.0),
        ((92.0, -30.0, 366.0), (40.0, 12.0, 36.0), 24.0),
        ((142.0, 24.0, 400.0), (32.0, 46.0, 70.0), 0.0),
        ((34.0, -84.0, 20.0), (32.0, 8.0, 90.0), 6.0),
        ((132.0, 20.0, 30.0), (10.0, 60.0, 90.0), 0.0),
    )
)


@dataclass(frozen=True, slots=True)
class _Patient:
    """What the seed decides."""

    seed: int
    scale: tuple[float, float]
    stoutness: float
    tissues: Tissues
    trees: Trees
    loops: tuple[Loop, ...]
    waves: FloatArray
    """Bends the body out of its formulas: [axis, wave, (kx, ky, kz, phase, amplitude in mm)]."""


def anatomy(
    seed: int, slices: int, size: int, field_of_view_mm: float = 400.0, slice_mm: float | None = None
) -> FloatArray:
    """Draw a patient: float32 HU [slices, size, size], the first slice lowest, rows from front to back.

    Without `slice_mm` the slices spread over the whole phantom (400 mm), from below the kidneys to the apex of the
    lungs; with it, they lie that far apart around its middle. Edges are anti-aliased in the slice plane; a slice is
    the plane at its height. Raises ValueError when there is nothing to draw or the slices would leave the phantom.
    """
    if min(slices, size) < 1 or not field_of_view_mm > 0:
        raise ValueError(f"slices, size and field_of_view_mm must be positive: {slices}, {size}, {field_of_view_mm}")
    step = slice_spacing_mm(slices, slice_mm)
    patient = _patient(seed)
    volume = np.empty((slices, size, size), dtype=np.float32)
    for index in range(slices):
        z = BODY_HEIGHT_MM / 2 + (index - (slices - 1) / 2) * step
        volume[index] = _draw(patient, z, index, size, field_of_view_mm / size)
    return volume


def slice_spacing_mm(slices: int, slice_mm: float | None) -> float:
    """The distance between slices that `anatomy` uses; ValueError when they do not fit into the phantom."""
    step = BODY_HEIGHT_MM / slices if slice_mm is None else slice_mm
    if not 0 < step * slices <= BODY_HEIGHT_MM * 1.0001:
        raise ValueError(f"{slices} slices of {step} mm do not fit into a phantom of {BODY_HEIGHT_MM} mm")
    return step


def _patient(seed: int) -> _Patient:
    rng = np.random.default_rng(seed)
    waves = np.empty((2, _WAVES, 5), dtype=np.float32)
    waves[..., :3] = 2 * np.pi / rng.uniform(110.0, 320.0, (2, _WAVES, 3)) * rng.choice([-1, 1], (2, _WAVES, 3))
    waves[..., 3] = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    waves[..., 4] = rng.uniform(0.5, 2.0, (2, _WAVES))
    return _Patient(
        seed=seed,
        scale=(float(rng.uniform(1.0, 1.09)), float(rng.uniform(1.06, 1.2))),
        stoutness=float(rng.uniform(0.6, 1.5)),
        tissues=PORTAL_VENOUS if rng.random() < 0.5 else UNENHANCED,
        trees=vessel_trees(rng),
        loops=bowel(rng),
        waves=waves,
    )


def _draw(patient: _Patient, z: float, index: int, size: int, pixel_mm: float) -> FloatArray:
    canvas = _blank(patient, z, size, pixel_mm)
    rng = np.random.default_rng((patient.seed, index))
    fine, coarse, broad = (_texture(rng, size, sigma_mm / pixel_mm) for sigma_mm in (1.2, 3.5, 7.0))
    region = regions(canvas, patient.stoutness)
    _paint_wall(canvas, region, coarse, broad)
    canvas.paint(region.cage + 2.0, FAT_HU)
    _paint_lungs(canvas, region, fine)
    paint_heart(canvas, patient.tissues)
    paint_abdomen(canvas, region, patient.tissues, patient.trees.liver, patient.loops)
    paint_great_vessels_and_airways(canvas, patient.tissues)
    paint_lung_vessels(canvas, region, patient.trees.lungs, patient.tissues)
    paint_skeleton(canvas, region.cage, 50.0 * fine)
    inside = coverage(region.skin, pixel_mm) * (canvas.hu > -300.0)
    np.add(canvas.hu, inside * (5.0 * coarse + 3.0 * fine), out=canvas.hu)
    return canvas.hu


def _paint_wall(canvas: Canvas, region: Regions, coarse: FloatArray, broad: FloatArray) -> None:
    """Skin, subcutaneous fat with its septa, and the muscles of the wall with fat between them."""
    canvas.paint(region.skin, 25.0)
    canvas.paint(region.skin + 2.0, FAT_HU + 8.0 * coarse)
    canvas.blend(coverage(_ridge(coarse, 0.05), 0.1) * coverage(region.skin + 2.0, canvas.pixel_mm), FAT_HU + 40.0)
    canvas.paint(region.muscle, MUSCLE_HU)
    muscle = coverage(region.muscle + 2.0, canvas.pixel_mm)
    strands = coverage(_ridge(broad, 0.08), 0.2) * np.clip(0.7 * coarse, 0.0, 0.8)
    canvas.blend(strands * muscle, FAT_HU)
    for belly in (belly for belly in _MUSCLE_BELLIES if belly.reaches(canvas.z)):
        window = belly.window(canvas)
        inside = np.maximum(belly.distance(canvas, window), region.muscle[window.rows, window.columns] + 2.0)
        canvas.paint(inside - 0.8, FAT_HU, window)
        canvas.paint(inside + 0.8, MUSCLE_HU, window)


def _ridge(texture: FloatArray, half_width: float) -> FloatArray:
    """Negative along the lines where a texture crosses zero."""
    return np.asarray(np.abs(texture) - half_width, dtype=np.float32)


def _paint_lungs(canvas: Canvas, region: Regions, fine: FloatArray) -> None:
    """Aerated lung, a little denser towards the back, where blood pools in a patient on the back."""
    canvas.paint(region.lungs, LUNG_HU + 0.45 * canvas.y + 16.0 * fine)


def _blank(patient: _Patient, z: float, size: int, pixel_mm: float) -> Canvas:
    """A slice of air with the patient's own coordinates: scaled and gently bent."""
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(pixel_mm)
    x, y = np.meshgrid(axis / patient.scale[0], axis / patient.scale[1])
    bends = []
    for waves in patient.waves:
        bend = np.zeros_like(x)
        for kx, ky, kz, phase, amplitude in waves:
            bend += amplitude * np.sin(kx * x + ky * y + kz * np.float32(z) + phase)
        bends.append(bend)
    hu = np.full((size, size), AIR_HU, dtype=np.float32)
    _paint_table(Canvas(hu, x * patient.scale[0], y, z, pixel_mm))
    return Canvas(hu, x + bends[0], y + bends[1], z, pixel_mm)


def _paint_table(canvas: Canvas) -> None:
    """The patient table: a thin shell around foam, curved up at its sides."""
    y = canvas.y + 0.0009 * canvas.x**2
    table = superellipse(canvas.x, y, (185.0, 12.0), 4.0, 152.0)
    canvas.paint(table, -150.0)
    canvas.paint(table + 1.6, -960.0)


def _texture(rng: np.random.Generator, size: int, sigma_pixels: float) -> FloatArray:
    """Smooth random texture of mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), sigma_pixels, mode="wrap")
    return np.asarray(noise / (noise.std() + 1e-6), dtype=np.float32)
