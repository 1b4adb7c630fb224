"""Branching trees of vessels, grown at random from a root."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctiqa_models.simulation.phantom_canvas import Point, Segment

_Vector = npt.NDArray[np.float64]
# Murray's law for two equal branches: r³ = 2 · (0.79 r)³; a little spread around it.
_BRANCH_RATIO = (0.70, 0.88)
_STEPS_PER_BRANCH = 2


@dataclass(frozen=True, slots=True)
class Root:
    """Where a tree starts, which way, how thick, and the radius below which it ends (mm)."""

    at: Point
    towards: Point
    radius: float
    least_radius: float
    reach: float
    """Length of a branch over its radius."""


def grow(root: Root, rng: np.random.Generator) -> tuple[Segment, ...]:
    """Grow a tree: each branch bends, then splits in two at about 35° until it is thin."""
    segments: list[Segment] = []
    heading = np.subtract(root.towards, root.at)
    tips = [(np.asarray(root.at, dtype=np.float64), heading / np.linalg.norm(heading), root.radius)]
    while tips:
        place, direction, radius = tips.pop()
        length = root.reach * radius**0.6 * rng.uniform(0.7, 1.3)
        for _ in range(_STEPS_PER_BRANCH):
            direction = _bend(direction, 0.14, rng)
            end = place + direction * length / _STEPS_PER_BRANCH
            thinner = radius * 0.975
            segments.append(Segment(_point(place), _point(end), radius, thinner))
            place, radius = end, thinner
        for _ in range(2):
            branch = radius * rng.uniform(*_BRANCH_RATIO)
            if branch >= root.least_radius:
                tips.append((place, _bend(direction, 0.5, rng), branch))
    return tuple(segments)


def scatter(middle: Point, half: Point, away_from: Point, count: int, rng: np.random.Generator) -> tuple[Segment, ...]:
    """Short thin vessels all over a box, pointing away from one place: the twigs that trees are too few to draw."""
    segments = []
    for place in np.asarray(middle) + rng.uniform(-1.0, 1.0, (count, 3)) * np.asarray(half):
        heading = place - np.asarray(away_from)
        end = place + _bend(heading / np.linalg.norm(heading), 0.3, rng) * rng.uniform(8.0, 22.0)
        radius = float(rng.uniform(0.6, 1.3))
        segments.append(Segment(_point(place), _point(end), radius, 0.7 * radius))
    return tuple(segments)


def _bend(direction: _Vector, by: float, rng: np.random.Generator) -> _Vector:
    bent = direction + by * rng.normal(size=3)
    return np.asarray(bent / np.linalg.norm(bent), dtype=np.float64)


def _point(place: _Vector) -> Point:
    return float(place[0]), float(place[1]), float(place[2])
