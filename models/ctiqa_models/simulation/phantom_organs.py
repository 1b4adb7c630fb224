"""Organs of the chest and the upper abdomen, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctiqa_models.api import FloatArray
from ctiqa_models.simulation.phantom_body import HEART, Regions
from ctiqa_models.simulation.phantom_canvas import Canvas, Ellipsoid, Segment, tube
from ctiqa_models.simulation.phantom_vessels import Root, grow, scatter

FAT_HU, MUSCLE_HU, AIR_HU, LUNG_HU = -102.0, 56.0, -1000.0, -865.0


@dataclass(frozen=True, slots=True)
class Tissues:
    """Hounsfield units that contrast medium changes."""

    blood: float
    myocardium: float
    liver: float
    liver_vessels: float
    spleen: float
    kidney: float
    pancreas: float


UNENHANCED = Tissues(42.0, 46.0, 60.0, 40.0, 50.0, 32.0, 40.0)
PORTAL_VENOUS = Tissues(145.0, 95.0, 108.0, 150.0, 118.0, 175.0, 88.0)


@dataclass(frozen=True, slots=True)
class Trees:
    """The branching vessels of one patient."""

    lungs: tuple[Segment, ...]
    liver: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A piece of bowel or the stomach: a wall, contents, and gas that rises to the front."""

    shape: Ellipsoid
    contents_hu: float
    gas_share: float
    """Share of its depth that gas fills, from the front: 0–1."""


_TRACHEA = tube(
    ((0.0, -2.0, 420.0), (1.0, 2.0, 340.0), (2.0, 10.0, 284.0)),
    (9.5, 9.0, 9.0),
)
_BRONCHI = (
    *tube(((2.0, 10.0, 284.0), (-22.0, 13.0, 264.0), (-40.0, 14.0, 246.0), (-52.0, 22.0, 220.0)), (7.5, 7.0, 5.0, 3.0)),
    *tube(((2.0, 10.0, 284.0), (30.0, 16.0, 258.0), (48.0, 20.0, 244.0), (62.0, 30.0, 220.0)), (7.0, 6.0, 4.5, 3.0)),
    *tube(((-28.0, 13.0, 260.0), (-54.0, 6.0, 274.0)), (4.5, 2.5)),
    *tube(((40.0, 17.0, 250.0), (58.0, 4.0, 268.0)), (4.0, 2.5)),
)
_OESOPHAGUS = tube(
    ((4.0, 26.0, 420.0), (8.0, 30.0, 280.0), (16.0, 28.0, 190.0), (30.0, 0.0, 160.0)), (6.0, 7.0, 8.0, 9.0)
)
_GREAT_VESSELS = (
    *tube(((12.0, -20.0, 232.0), (-14.0, -26.0, 268.0), (-10.0, -22.0, 300.0)), (14.0, 15.5, 15.0)),
    *tube(((-10.0, -22.0, 300.0), (6.0, 0.0, 316.0), (24.0, 30.0, 304.0)), (15.0, 14.0, 12.5)),
    *tube(((24.0, 30.0, 304.0), (25.0, 43.0, 270.0), (22.0, 40.0, 170.0), (8.0, 30.0, -20.0)), (12.5, 12.0, 11.0, 9.0)),
    *tube(((-26.0, -6.0, 226.0), (-30.0, -14.0, 290.0), (-27.0, -18.0, 350.0)), (11.0, 9.5, 9.0)),
    *tube(((26.0, -34.0, 236.0), (22.0, -30.0, 264.0), (16.0, -14.0, 274.0)), (14.0, 14.0, 12.0)),
    *tube(((16.0, -14.0, 274.0), (-12.0, -4.0, 266.0), (-42.0, 2.0, 258.0)), (11.0, 10.5, 8.0)),
    *tube(((16.0, -14.0, 274.0), (34.0, 4.0, 272.0), (52.0, 14.0, 262.0)), (11.0, 10.0, 8.0)),
    *tube(((-10.0, -14.0, 312.0), (-20.0, -12.0, 350.0), (-30.0, -6.0, 400.0)), (7.0, 6.0, 5.0)),
    *tube(((4.0, -4.0, 320.0), (14.0, -6.0, 350.0), (22.0, 2.0, 410.0)), (5.0, 4.5, 4.5)),
    *tube(((16.0, 14.0, 314.0), (24.0, 10.0, 350.0), (52.0, 6.0, 392.0)), (5.5, 5.0, 5.0)),
    *tube(((-27.0, -18.0, 350.0), (4.0, -26.0, 340.0), (34.0, -18.0, 372.0)), (6.0, 6.0, 5.5)),
    *tube(
        ((-20.0, 8.0, 206.0), (-22.0, 16.0, 170.0), (-18.0, 26.0, 90.0), (-16.0, 28.0, -20.0)), (12.0, 12.0, 11.0, 10.0)
    ),
    *tube(((-34.0, 0.0, 108.0), (-8.0, 4.0, 88.0), (30.0, 12.0, 82.0), (74.0, 34.0, 100.0)), (7.0, 7.0, 5.5, 4.0)),
)
_CHAMBERS = (
    Ellipsoid((50.0, -18.0, 214.0), (36.0, 20.0, 34.0), turn=32.0),
    Ellipsoid((14.0, -48.0, 214.0), (36.0, 15.0, 34.0), turn=20.0),
    Ellipsoid((-18.0, -16.0, 224.0), (19.0, 25.0, 34.0), turn=10.0),
    Ellipsoid((14.0, 12.0, 236.0), (30.0, 15.0, 26.0), turn=5.0),
)
_LIVER = (
    Ellipsoid((-64.0, -6.0, 110.0), (82.0, 84.0, 92.0)),
    Ellipsoid((-4.0, -50.0, 132.0), (66.0, 28.0, 48.0), turn=-6.0),
)
_SPLEEN = Ellipsoid((92.0, 40.0, 122.0), (26.0, 44.0, 52.0), turn=-28.0)
_GALLBLADDER = Ellipsoid((-40.0, -44.0, 66.0), (15.0, 22.0, 26.0), turn=25.0)
_PANCREAS = (
    *tube(
        ((-26.0, -6.0, 62.0), (-14.0, -16.0, 82.0), (22.0, -12.0, 92.0), (70.0, 26.0, 106.0)), (15.0, 10.0, 10.0, 8.0)
    ),
)
_KIDNEYS = (
    Ellipsoid((-58.0, 42.0, 42.0), (26.0, 30.0, 58.0), turn=35.0),
    Ellipsoid((60.0, 42.0, 56.0), (26.0, 30.0, 60.0), turn=-35.0),
)
_STOMACH = (
    Loop(Ellipsoid((60.0, -8.0, 132.0), (36.0, 48.0, 46.0), turn=-15.0), 22.0, 0.42),
    Loop(Ellipsoid((30.0, -48.0, 84.0), (50.0, 22.0, 26.0), turn=-12.0), 20.0, 0.3),
)
_LUNG_SEGMENTS = (
    (60.0, 0.0, 330.0),
    (70.0, -40.0, 310.0),
    (70.0, 40.0, 310.0),
    (95.0, -30.0, 262.0),
    (95.0, 30.0, 268.0),
    (75.0, -45.0, 225.0),
    (85.0, 10.0, 205.0),
    (70.0, 55.0, 200.0),
    (55.0, 60.0, 235.0),
    (60.0, 30.0, 170.0),
)
_PSOAS = tuple(Ellipsoid((side * 36.0, 58.0, 0.0), (14.0, 17.0, 60.0), turn=side * 20.0) for side in (-1.0, 1.0))


def vessel_trees(rng: np.random.Generator) -> Trees:
    """Grow this patient's vessels."""
    hila = [
        Root((side * 44.0 + 4.0, 8.0, 258.0), (side * x, y, z), 5.4, 0.65, 9.0)
        for side in (-1.0, 1.0)
        for x, y, z in _LUNG_SEGMENTS
    ]
    liver = [
        Root((-34.0, 0.0, 110.0), (-80.0, 0.0, 120.0), 6.0, 1.3, 9.0),
        Root((-34.0, 0.0, 110.0), (10.0, -45.0, 135.0), 5.0, 1.3, 9.0),
        Root((-22.0, 16.0, 172.0), (-90.0, -10.0, 130.0), 6.0, 1.3, 9.0),
        Root((-22.0, 16.0, 172.0), (-40.0, -50.0, 120.0), 5.0, 1.3, 9.0),
    ]
    twigs = [
        twig
        for side in (-1.0, 1.0)
        for twig in scatter((82.0 * side, 8.0, 258.0), (43.0, 78.0, 138.0), (44.0 * side, 8.0, 258.0), 900, rng)
    ]
    lungs = (*(segment for root in hila for segment in grow(root, rng)), *twigs)
    return Trees(lungs, tuple(segment for root in liver for segment in grow(root, rng)))


def bowel(rng: np.random.Generator) -> tuple[Loop, ...]:
    """Lay this patient's loops of bowel below the stomach, and the flexures of the colon."""
    flexures = [
        Loop(Ellipsoid((-78.0, -30.0, 26.0), (26.0, 28.0, 34.0)), 15.0, 0.5),
        Loop(Ellipsoid((88.0, -18.0, 82.0), (22.0, 26.0, 36.0)), -20.0, 0.6),
        Loop(Ellipsoid((8.0, -58.0, 36.0), (74.0, 16.0, 17.0)), 10.0, 0.55),
    ]
    for _ in range(46):
        x = float(rng.uniform(-70, 100))
        # On the right the liver leaves room only low down.
        top = 48.0 if x < 0 else 100.0
        centre = (x, float(rng.uniform(-62, 22)), float(rng.uniform(-15, top)))
        radii = (float(rng.uniform(11, 24)), float(rng.uniform(9, 14)), float(rng.uniform(11, 22)))
        gas = max(0.0, float(rng.uniform(-0.9, 0.4)))
        flexures.append(Loop(Ellipsoid(centre, radii, float(rng.uniform(-60, 60))), float(rng.uniform(10, 40)), gas))
    return tuple(flexures)


def paint_abdomen(
    canvas: Canvas, region: Regions, tissues: Tissues, liver_vessels: tuple[Segment, ...], loops: tuple[Loop, ...]
) -> None:
    """Paint what lies below the diaphragm, back to front where organs touch."""
    cavity = region.abdomen
    canvas.paint(cavity, FAT_HU)
    for loop in (*loops, *_STOMACH):
        _paint_loop(canvas, loop, cavity)
    for psoas in _PSOAS:
        _paint_shape(canvas, psoas, MUSCLE_HU, cavity)
    for segment in _PANCREAS:
        _paint_shape(canvas, segment, tissues.pancreas, cavity)
    for kidney in _KIDNEYS:
        _paint_shape(canvas, kidney, tissues.kidney, cavity)
        x, y, z = kidney.centre
        _paint_shape(canvas, Ellipsoid((x * 0.72, y - 6.0, z), (17.0, 9.0, 30.0), kidney.turn), FAT_HU + 40.0, cavity)
    _paint_shape(canvas, _SPLEEN, tissues.spleen, cavity)
    for lobe in _LIVER:
        _paint_shape(canvas, lobe, tissues.liver, cavity)
    liver = _union(canvas, _LIVER)
    if liver is not None:
        within = np.maximum(liver + 3.0, cavity)
        for segment in liver_vessels:
            _paint_shape(canvas, segment, tissues.liver_vessels, within)
    _paint_shape(canvas, _GALLBLADDER, 8.0, cavity)


def paint_heart(canvas: Canvas, tissues: Tissues) -> None:
    """Paint the heart in its fat."""
    _paint_shape(canvas, HEART.grown(3.0), FAT_HU + 10.0)
    _paint_shape(canvas, HEART, tissues.myocardium)
    for chamber in _CHAMBERS:
        _paint_shape(canvas, chamber, tissues.blood)


def paint_great_vessels_and_airways(canvas: Canvas, tissues: Tissues) -> None:
    """Paint oesophagus, great vessels down to the kidneys, trachea and main bronchi."""
    for segment in _OESOPHAGUS:
        _paint_shape(canvas, segment, 40.0)
    for segment in _GREAT_VESSELS:
        _paint_shape(canvas, segment, tissues.blood)
    for wall in (1.5, 0.0):
        for segment in (*_TRACHEA, *_BRONCHI):
            grown = Segment(segment.start, segment.end, segment.start_radius + wall, segment.end_radius + wall)
            _paint_shape(canvas, grown, 20.0 if wall else AIR_HU + 10.0)


def paint_lung_vessels(canvas: Canvas, region: Regions, vessels: tuple[Segment, ...], tissues: Tissues) -> None:
    """Paint the vessels of the lungs, where there is lung."""
    for segment in vessels:
        _paint_shape(canvas, segment, tissues.blood, region.lungs)


def _paint_shape(canvas: Canvas, shape: Ellipsoid | Segment, hu: float, inside: FloatArray | None = None) -> None:
    if not shape.reaches(canvas.z):
        return
    window = shape.window(canvas)
    distance = shape.distance(canvas, window)
    if inside is not None:
        distance = np.maximum(distance, inside[window.rows, window.columns])
    canvas.paint(distance, hu, window)


def _paint_loop(canvas: Canvas, loop: Loop, cavity: FloatArray) -> None:
    _paint_shape(canvas, loop.shape, 45.0, cavity)
    inner = loop.shape.grown(-2.5)
    if not inner.reaches(canvas.z):
        return
    window = inner.window(canvas)
    lumen = np.maximum(inner.distance(canvas, window), cavity[window.rows, window.columns] + 2.5)
    canvas.paint(lumen, loop.contents_hu, window)
    level = inner.centre[1] + (2.0 * loop.gas_share - 1.0) * inner.radii[1]
    _, y = canvas.coordinates(window)
    canvas.paint(np.maximum(lumen, y - level), AIR_HU + 15.0, window)


def _union(canvas: Canvas, shapes: tuple[Ellipsoid, ...]) -> FloatArray | None:
    parts = [shape.distance(canvas, canvas.whole()) for shape in shapes if shape.reaches(canvas.z)]
    return np.minimum.reduce(parts) if parts else None
