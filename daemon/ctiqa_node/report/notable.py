"""Which slices a person should look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ctiqa_node.report.content import Report, SliceChoice
from ctiqa_node.report.quantities import RANKED_BY, Better, quantity

WORST_SLICES = 3


class Role(StrEnum):
    """Why a slice was chosen."""

    WORST = "worst"
    BEST = "best"
    MIDDLE = "middle"
    ONLY = "only"
    OTHER = "other"
    """One of all slices, where all are wanted."""


@dataclass(frozen=True, slots=True)
class NotableSlice:
    """A slice by its index along z, why it was chosen, and by which measurement (None: by its place alone).

    `rank` counts the worst slices from 1.
    """

    slice_index: int
    role: Role
    rank: int
    ranked_by: str | None = None

    @property
    def sentence(self) -> str:
        """The reason in words."""
        if self.role is Role.OTHER:
            return "one of all slices"
        if self.ranked_by is None:
            return "middle slice"
        if self.role is Role.ONLY:
            return f"only slice with {quantity(self.ranked_by).title}"
        return f"{self.place} slice by {quantity(self.ranked_by).title}"

    @property
    def place(self) -> str:
        """The place in words: "worst", "second worst", "best"."""
        if self.role is not Role.WORST:
            return self.role.value
        return ("worst", "second worst", "third worst")[self.rank - 1]


def ranking(report: Report) -> tuple[str, dict[int, float]] | None:
    """The measurement that ranks the slices, and its values by slice; None when no model scored slices.

    Values of slices that the volume does not have are left out.
    """
    return _ranking(len(report.volume.sources), report.slice_values)


def _ranking(slices: int, values_of: Callable[[str], dict[int, float]]) -> tuple[str, dict[int, float]] | None:
    for name in RANKED_BY:
        values = {z: value for z, value in values_of(name).items() if 0 <= z < slices}
        if values:
            return name, values
    return None


def notable_slices(report: Report) -> tuple[NotableSlice, ...]:
    """The worst three slices (the worst first), the best, and the middle one where it is none of them.

    Equal values rank by position, so that a repeat chooses the same slices. With fewer than four ranked slices the best
    keeps its place and the worst are fewer. When no model ranks them, the middle slice stands alone.
    """
    return choose_notable(len(report.volume.sources), report.slice_values)


def shown_slices(report: Report) -> tuple[NotableSlice, ...]:
    """The notable slices that the summary page shows: the worst and the best, the middle one only in want of them."""
    notable = notable_slices(report)
    return tuple(n for n in notable if n.role is not Role.MIDDLE) or notable


def choose_notable(slices: int, values_of: Callable[[str], dict[int, float]]) -> tuple[NotableSlice, ...]:
    """The notable ones of so many slices; `values_of` gives a measurement's values by index along z."""
    middle = NotableSlice(slices // 2, Role.MIDDLE, 1)
    ranked = _ranking(slices, values_of)
    if ranked is None:
        return (middle,)
    chosen = _extremes(*ranked)
    return chosen if middle.slice_index in {n.slice_index for n in chosen} else (*chosen, middle)


def _extremes(name: str, values: dict[int, float]) -> tuple[NotableSlice, ...]:
    sign = -1.0 if quantity(name).better is Better.LOWER else 1.0
    order = sorted(values, key=lambda z: (sign * values[z], z))
    if len(order) == 1:
        return (NotableSlice(order[0], Role.ONLY, 1, name),)
    worst = order[: min(WORST_SLICES, len(order) - 1)]
    return (
        *(NotableSlice(z, Role.WORST, place, name) for place, z in enumerate(worst, 1)),
        NotableSlice(order[-1], Role.BEST, 1, name),
    )


def grouped_slices(report: Report) -> tuple[NotableSlice, ...]:
    """The slices with a measurement group of their own: the notable ones first, then the others if all are wanted."""
    notable = notable_slices(report)
    if report.slice_groups is SliceChoice.NOTABLE:
        return notable
    had = {n.slice_index for n in notable}
    others = (z for z in range(len(report.volume.sources)) if z not in had)
    return (*notable, *(NotableSlice(z, Role.OTHER, 1) for z in others))
