"""Which slices a person should look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ctiqa_node.report.codes import RANKED_BY, Better, quantity
from ctiqa_node.report.content import Report

WORST_SLICES = 3


class Role(StrEnum):
    """Why a slice was chosen."""

    WORST = "worst"
    BEST = "best"
    MIDDLE = "middle"
    ONLY = "only"


@dataclass(frozen=True, slots=True)
class NotableSlice:
    """A slice by its index along z, why it was chosen, and by which measurement (None for the middle slice).

    `rank` counts the worst slices from 1.
    """

    slice_index: int
    role: Role
    rank: int
    ranked_by: str | None = None

    @property
    def sentence(self) -> str:
        """The reason in words."""
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
    slices = len(report.volume.sources)
    for name in RANKED_BY:
        values = {z: value for z, value in report.slice_values(name).items() if 0 <= z < slices}
        if values:
            return name, values
    return None


def notable_slices(report: Report) -> tuple[NotableSlice, ...]:
    """The worst three slices (the worst first) and the best, or the middle slice when no model ranks them.

    Equal values rank by position, so that a repeat chooses the same slices. With fewer than four ranked slices the best
    keeps its place and the worst are fewer.
    """
    ranked = ranking(report)
    if ranked is None:
        return (NotableSlice(len(report.volume.sources) // 2, Role.MIDDLE, 1),)
    name, values = ranked
    sign = -1.0 if quantity(name).better is Better.LOWER else 1.0
    order = sorted(values, key=lambda z: (sign * values[z], z))
    if len(order) == 1:
        return (NotableSlice(order[0], Role.ONLY, 1, name),)
    worst = order[: min(WORST_SLICES, len(order) - 1)]
    return (
        *(NotableSlice(z, Role.WORST, place, name) for place, z in enumerate(worst, 1)),
        NotableSlice(order[-1], Role.BEST, 1, name),
    )
