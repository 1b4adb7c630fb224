"""Pictures that are no CT slices at all, in Hounsfield clothing: photographs, MR, localizers, noise, test objects."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom

from ctiqa_models.api import FloatArray
from ctiqa_models.resample import resize
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.phantom_body import BODY_HEIGHT_MM
from ctiqa_models.simulation.phantom_canvas import Canvas, coverage, superellipse
from ctiqa_models.simulation.strangers_anatomy import Frame

_AIR_HU = -1000.0
_PATIENTS = 8
_MATERIALS_HU = (-1000.0, -200.0, -100.0, -35.0, 120.0, 340.0, 950.0)
"""Air, PMP, LDPE, polystyrene, acrylic, Delrin and Teflon, the inserts of a Catphan's sensitometry module."""
# Signal of what has these HU: air, lung or a table, fat, water, liquor, white and grey matter, muscle, organ, bone.
_HU = (-1000.0, -140.0, -115.0, -60.0, 0.0, 12.0, 28.0, 40.0, 60.0, 150.0, 400.0, 1200.0)
_T1 = (0.0, 0.05, 1.0, 0.7, 0.2, 0.2, 0.75, 0.55, 0.45, 0.55, 0.3, 0.05)
_T2 = (0.0, 0.05, 0.7, 0.6, 1.0, 1.0, 0.35, 0.5, 0.3, 0.45, 0.25, 0.05)


def photograph(picture: FloatArray, frame: Frame, rng: np.random.Generator) -> FloatArray:
    """A square part of `picture` (grey 0–1 [y, x]) as [size, size] in HU.

    In turn it fills the whole range −1024 … 1500, the soft-tissue window, or its own 0–255; is a negative; and fills
    the outline of a trunk in air, which is as much like CT as a photograph can be.
    """
    side = int(min(picture.shape) * rng.uniform(0.6, 1.0))
    top, left = (int(rng.integers(0, length - side + 1)) for length in picture.shape)
    part = torch.from_numpy(np.ascontiguousarray(picture[None, top : top + side, left : left + side]))
    grey = resize(part, (frame.size, frame.size))[0].numpy()
    if rng.random() < 0.3:
        grey = 1.0 - grey
    low, high = ((-1024.0, 1500.0), (-160.0, 240.0), (0.0, 255.0), (-1000.0, 400.0))[int(rng.integers(4))]
    hu = np.asarray(low + grey * (high - low), dtype=np.float32)
    return in_trunk(hu, frame, rng) if rng.random() < 0.5 else hu


def texture_picture(rng: np.random.Generator, size: int) -> FloatArray:
    """A made-up picture, grey 0–1 [size, size]: leaves that fall on each other, as in natural scenes, with shading.

    Leaves of radius r, r⁻³ distributed, bring the statistics of photographs (Lee, Mumford & Huang 2001).
    """
    axis = np.arange(size, dtype=np.float32)
    grey = np.full((size, size), 0.5, dtype=np.float32)
    shade = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), size / 20)
    grain = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), 1.0)
    for radius in np.sort(np.clip(size * 0.02 * rng.uniform(0.004, 1.0, 400) ** -0.5, 2, size / 3))[::-1]:
        x, y, tone = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0.05, 0.95)
        leaf = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2 < radius**2
        grey[leaf] = tone
    lit = grey * (1 + 0.2 * shade / shade.std()) + 0.03 * grain / grain.std()
    return np.asarray(np.clip(lit, 0.0, 1.0), dtype=np.float32)


def in_trunk(hu: FloatArray, frame: Frame, rng: np.random.Generator) -> FloatArray:
    """`hu` within the outline of a trunk, air around it."""
    canvas = frame.canvas(0.0, rng)
    outline = _trunk_outline(canvas, rng)
    inside = coverage(outline, frame.pixel_mm)
    return np.asarray(_AIR_HU + inside * (hu - _AIR_HU), dtype=np.float32)


def magnetic_resonance(hu: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What MR might show of the slices `hu` [z, y, x], its numbers taken for HU.

    T1- or T2-like contrast by tissue, a bias field over the slice, and Rician noise (Gudbjartsson & Patz 1995). Some
    systems' numbers start at 0, so that air looks like water; others are told here to start at −1024.
    """
    signal = np.interp(hu, _HU, _T1 if rng.random() < 0.5 else _T2)
    size = hu.shape[-1]
    field = gaussian_filter(rng.standard_normal((size, size)), size / 5, mode="reflect")
    signal = signal * np.exp(0.35 * field / field.std())
    noise = rng.uniform(0.01, 0.06)
    real, imaginary = rng.normal(0.0, noise, (2, *hu.shape))
    magnitude = np.hypot(signal + real, imaginary)
    low, span = ((0.0, 400.0), (-1024.0, 1300.0), (-1024.0, 1700.0))[int(rng.integers(3))]
    return np.asarray(low + span * magnitude, dtype=np.float32)


def localizer(frame: Frame, slices: int, seed: int, rng: np.random.Generator) -> FloatArray:
    """CT localizer radiographs of made-up patients, from the front and from the side, [slices, size, size].

    Line integrals through the phantom, with an edge filter and stripes of single detectors, in numbers between those
    of air (−1000) and a few hundred.
    """
    views = []
    trunk = _patient(seed % _PATIENTS)
    for index in range(slices):
        along = 1 if rng.random() < 0.6 else 2
        path = (np.maximum(trunk, _AIR_HU) / 1000.0 + 1.0).sum(axis=along) * BODY_HEIGHT_MM / trunk.shape[2]
        factors = (frame.size / path.shape[0], frame.size / path.shape[1])
        grown = zoom(path, factors, order=1, mode="nearest", grid_mode=True)
        sharp = grown + rng.uniform(0.5, 2.0) * (grown - gaussian_filter(grown, 3.0))
        stripes = rng.normal(0.0, 0.6, (1, frame.size)) + rng.normal(0.0, 1.0, grown.shape)
        top = rng.uniform(100.0, 700.0)
        thickest = np.percentile(grown, 99)
        hu = _AIR_HU + (sharp + stripes) / thickest * (top - _AIR_HU)
        views.append(np.flipud(hu) if index % 4 == 3 else hu)
    return np.asarray(views, dtype=np.float32)


def only_noise(frame: Frame, rng: np.random.Generator) -> FloatArray:
    """Noise of any grain about any level, everywhere or within the outline of a trunk."""
    grain = gaussian_filter(rng.standard_normal((frame.size, frame.size), dtype=np.float32), rng.uniform(0.0, 4.0))
    level, deviation = rng.uniform(-100.0, 150.0), np.exp(rng.uniform(np.log(20.0), np.log(400.0)))
    hu = np.asarray(level + deviation * grain / grain.std(), dtype=np.float32)
    return in_trunk(hu, frame, rng) if rng.random() < 0.5 else hu


def test_object(frame: Frame, rng: np.random.Generator) -> FloatArray:
    """A water phantom, or a disc of plastic with rods of other materials and line pairs, on a table."""
    canvas = frame.canvas(0.0, rng)
    radius, flat = rng.uniform(95.0, 165.0), rng.uniform(0.7, 1.0) if rng.random() < 0.4 else 1.0
    table = superellipse(canvas.x, canvas.y, (190.0, 10.0), 4.0, radius * flat + 12.0)
    canvas.paint(table, -150.0)
    canvas.paint(table + 1.6, -960.0)
    disc = superellipse(canvas.x, canvas.y, (radius, radius * flat), 2.0)
    canvas.paint(disc, 120.0)
    water = rng.random() < 0.4
    canvas.paint(disc + 6.0, 0.0 if water else rng.uniform(40.0, 110.0))
    if not water:
        _paint_rods(canvas, 0.6 * radius, flat, rng)
        bars = np.sin(canvas.x * np.float32(rng.uniform(0.6, 2.5))) > 0
        inside = np.maximum(np.abs(canvas.x) - 0.25 * radius, np.abs(canvas.y) - 0.1 * radius)
        canvas.paint(np.asarray(inside, dtype=np.float32), np.where(bars, 900.0, 60.0).astype(np.float32))
    return canvas.hu


@lru_cache(maxsize=_PATIENTS)
def _patient(seed: int) -> FloatArray:
    """A made-up patient from head to feet, [heights, y, x]: a second's work, which is why there are few of them."""
    return anatomy(seed, slices=56, size=96, field_of_view_mm=BODY_HEIGHT_MM)[::-1]


def _paint_rods(canvas: Canvas, circle: float, flat: float, rng: np.random.Generator) -> None:
    for index, hu in enumerate(_MATERIALS_HU):
        angle = 2 * np.pi * index / len(_MATERIALS_HU) + rng.uniform(0, 0.3)
        x, y = circle * np.cos(angle), circle * flat * np.sin(angle)
        rod = np.hypot(canvas.x - np.float32(x), canvas.y - np.float32(y)) - np.float32(rng.uniform(5.0, 12.0))
        canvas.paint(np.asarray(rod, dtype=np.float32), hu)


def _trunk_outline(canvas: Canvas, rng: np.random.Generator) -> FloatArray:
    return superellipse(canvas.x, canvas.y, (rng.uniform(140.0, 185.0), rng.uniform(95.0, 130.0)), 2.4)
