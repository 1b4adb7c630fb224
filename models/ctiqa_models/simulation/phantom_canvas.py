"""A slice to paint tissue on, in millimetres of the patient, and the shapes that organs are made of.

Axes of the patient, in mm: x to the patient's left (right in the picture), y to the back (down in the picture), z to
the head. Distances are signed: negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctiqa_models.api import FloatArray

Point = tuple[float, float, float]
_WARP_MM = 9.0


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a slice: the part that a small shape can touch, so that the rest costs nothing."""

    rows: slice
    columns: slice


@dataclass(frozen=True, slots=True)
class Canvas:
    """One slice at height `z`: `hu`, and the patient's coordinates `x` and `y` of every pixel, all [rows, columns]."""

    hu: FloatArray
    x: FloatArray
    y: FloatArray
    z: float
    pixel_mm: float

    def window(self, x: float, y: float, reach: float) -> Window:
        """The rectangle that holds all pixels nearer than `reach` to (x, y)."""
        centre = (len(self.hu) - 1) / 2
        # Coordinates are warped and scaled a little against the pixel grid.
        reach_pixels = (1.1 * reach + _WARP_MM + 0.1 * max(abs(x), abs(y))) / self.pixel_mm
        row, column = centre + y / self.pixel_mm, centre + x / self.pixel_mm
        return Window(
            slice(max(0, int(row - reach_pixels)), max(0, int(row + reach_pixels) + 2)),
            slice(max(0, int(column - reach_pixels)), max(0, int(column + reach_pixels) + 2)),
        )

    def whole(self) -> Window:
        """The rectangle of all pixels."""
        return Window(slice(None), slice(None))

    def coordinates(self, window: Window) -> tuple[FloatArray, FloatArray]:
        """The patient's x and y in a window."""
        return self.x[window.rows, window.columns], self.y[window.rows, window.columns]

    def paint(self, distance: FloatArray, hu: float | FloatArray, window: Window | None = None) -> None:
        """Fill where the signed `distance` is negative; the edge is one pixel wide, as partial volume makes it."""
        self.blend(coverage(distance, self.pixel_mm), hu, window)

    def blend(self, share: FloatArray, hu: float | FloatArray, window: Window | None = None) -> None:
        """Mix `hu` into the slice, `share` 0–1 of it."""
        part = window or self.whole()
        under = self.hu[part.rows, part.columns]
        under += share * (hu - under)


def coverage(distance: FloatArray, edge_mm: float) -> FloatArray:
    """Turn a signed distance into the share of a pixel that is inside, 0–1."""
    share: FloatArray = np.clip(0.5 - distance / edge_mm, 0.0, 1.0)
    return share


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid with half axes `radii`, turned in the slice plane by `turn` degrees (positive: clockwise)."""

    centre: Point
    radii: Point
    turn: float = 0.0

    def reaches(self, z: float) -> bool:
        """Whether the ellipsoid cuts the plane at height z."""
        return abs(z - self.centre[2]) < self.radii[2]

    def window(self, canvas: Canvas) -> Window:
        """The part of the slice that the ellipsoid can touch."""
        return canvas.window(self.centre[0], self.centre[1], max(self.radii[:2]))

    def distance(self, canvas: Canvas, window: Window) -> FloatArray:
        """Signed distance of every pixel, exact on the surface and good near it."""
        x, y = canvas.coordinates(window)
        cos, sin = np.float32(np.cos(np.radians(self.turn))), np.float32(np.sin(np.radians(self.turn)))
        dx, dy = x - self.centre[0], y - self.centre[1]
        along, across = (cos * dx + sin * dy) / self.radii[0], (cos * dy - sin * dx) / self.radii[1]
        height = (canvas.z - self.centre[2]) / self.radii[2]
        inner = np.sqrt(along**2 + across**2 + height**2)
        slope = np.sqrt((along / self.radii[0]) ** 2 + (across / self.radii[1]) ** 2 + (height / self.radii[2]) ** 2)
        return np.asarray(inner * (inner - 1.0) / (slope + 1e-6), dtype=np.float32)

    def grown(self, by: float) -> Ellipsoid:
        """The same ellipsoid with every half axis longer by `by` mm."""
        rx, ry, rz = self.radii
        return Ellipsoid(self.centre, (rx + by, ry + by, rz + by), self.turn)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of tube from `start` to `end`, its radius going from `start_radius` to `end_radius`."""

    start: Point
    end: Point
    start_radius: float
    end_radius: float

    def reaches(self, z: float) -> bool:
        """Whether the tube can cut the plane at height z."""
        radius = max(self.start_radius, self.end_radius)
        return min(self.start[2], self.end[2]) - radius < z < max(self.start[2], self.end[2]) + radius

    def window(self, canvas: Canvas) -> Window:
        """The part of the slice that the tube can touch."""
        half = max(abs(self.end[0] - self.start[0]), abs(self.end[1] - self.start[1])) / 2
        x, y = (self.start[0] + self.end[0]) / 2, (self.start[1] + self.end[1]) / 2
        return canvas.window(x, y, half + max(self.start_radius, self.end_radius))

    def distance(self, canvas: Canvas, window: Window) -> FloatArray:
        """Signed distance of every pixel."""
        x, y = canvas.coordinates(window)
        vx, vy, vz = (end - start for start, end in zip(self.start, self.end, strict=True))
        dx, dy, dz = x - self.start[0], y - self.start[1], canvas.z - self.start[2]
        along = np.clip((dx * vx + dy * vy + dz * vz) / (vx * vx + vy * vy + vz * vz + 1e-9), 0.0, 1.0)
        gap = np.sqrt((dx - along * vx) ** 2 + (dy - along * vy) ** 2 + (dz - along * vz) ** 2)
        return np.asarray(gap - (self.start_radius + along * (self.end_radius - self.start_radius)), dtype=np.float32)


def tube(points: tuple[Point, ...], radii: tuple[float, ...]) -> tuple[Segment, ...]:
    """A bent tube through `points` with a radius at each."""
    ends = zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    return tuple(Segment(*end) for end in ends)


def superellipse(
    x: FloatArray, y: FloatArray, half_axes: tuple[float, float], exponent: float, centre_y: float = 0.0
) -> FloatArray:
    """Signed distance, to first order, from |x/a|ⁿ + |(y − c)/b|ⁿ = 1: an ellipse with fuller corners for n > 2."""
    a, b = half_axes
    u, v = np.abs(x) / a + 1e-4, np.abs(y - centre_y) / b + 1e-4
    norm = (u**exponent + v**exponent) ** (1 / exponent)
    slope = np.hypot((u / norm) ** (exponent - 1) / a, (v / norm) ** (exponent - 1) / b)
    return np.asarray((norm - 1.0) / slope, dtype=np.float32)
