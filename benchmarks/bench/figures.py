"""What a benchmark finds: measured values with their spread, as ratios against others of the same run, with targets."""

from __future__ import annotations

import statistics
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

LEAST_ROUNDS = 5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(_Frozen):
    """One thing, measured several times in one run."""

    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value in the middle."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest value."""
        return max(self.values)

    def per_second(self, count: float, unit: str) -> Measured:
        """Of seconds for `count` things: how many of them a second, as `unit` (`slices/s`)."""
        if self.unit != "s":
            raise ValueError(f"only seconds become a rate, not {self.unit}")
        return Measured(unit=unit, values=tuple(count / value for value in self.values))

    def over(self, other: Measured) -> Measured:
        """The ratio of each round of ours to the same round of another: what slowed both down falls out.

        Where the rounds do not go together, to the other's median.
        """
        if len(self.values) == len(other.values):
            return Measured(unit="×", values=tuple(a / b for a, b in zip(self.values, other.values, strict=True)))
        return Measured(unit="×", values=tuple(value / other.median for value in self.values))


class Target(_Frozen):
    """What a line is to reach: its `value`, or its `ratio` against another line."""

    of: Literal["value", "ratio"]
    is_: Literal["at least", "at most"]
    limit: float

    @property
    def sentence(self) -> str:
        """The target in a table's cell."""
        sign = "≥" if self.is_ == "at least" else "≤"
        return f"{sign} {self.limit:g}{' ×' if self.of == 'ratio' else ''}"


class Point(_Frozen):
    """Where a line stands in the figure."""

    curve: str
    at: float
    """Along the horizontal axis."""


class Line(_Frozen):
    """One line of a benchmark's table."""

    what: str
    measured: Measured | None
    """None: not measured, and `note` tells why."""
    against: str | None = None
    """The `what` of another line of the same run."""
    ratio: Measured | None = None
    target: Target | None = None
    note: str = ""
    point: Point | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None where there is none, or nothing was measured."""
        found = self.ratio if self.target is not None and self.target.of == "ratio" else self.measured
        if self.target is None or found is None:
            return None
        if self.target.is_ == "at least":
            return found.median >= self.target.limit
        return found.median <= self.target.limit


class Machine(_Frozen):
    """Where it was measured."""

    processor: str
    cores: int
    """That this process may use."""
    memory_gib: float
    system: str
    gpu: str | None = None
    load_before: float
    """Processes that ran or waited in the minute before: above half a core, others were at work."""


class Run(_Frozen):
    """One run of one benchmark."""

    name: str
    title: str
    at: datetime
    seconds: float
    machine: Machine
    versions: dict[str, str]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    """Sentences below the table: what was measured how, in numbers that hold for this run."""


def compared(
    what: str, measured: Measured, against: Line | None = None, target: Target | None = None, note: str = ""
) -> Line:
    """A line, as a ratio against another where one is given.

    Raises:
        ValueError: it was measured less than five times.
    """
    if len(measured.values) < LEAST_ROUNDS:
        raise ValueError(f"{what} was measured {len(measured.values)} times; {LEAST_ROUNDS} are needed")
    ratio = None if against is None or against.measured is None else measured.over(against.measured)
    return Line(
        what=what, measured=measured, against=None if against is None else against.what, ratio=ratio, target=target,
        note=note,
    )  # fmt: skip


def counted(what: str, count: float, unit: str, target: Target | None = None, note: str = "") -> Line:
    """A line of what is the same each time: a count, a size."""
    return Line(what=what, measured=Measured(unit=unit, values=(count,)), target=target, note=note)


def not_measured(what: str, why: str, target: Target | None = None) -> Line:
    """A line of what this machine cannot tell."""
    return Line(what=what, measured=None, target=target, note=f"not measured: {why}")


def at_least(limit: float, of: Literal["value", "ratio"] = "ratio") -> Target:
    """A target from below."""
    return Target(of=of, is_="at least", limit=limit)


def at_most(limit: float, of: Literal["value", "ratio"] = "ratio") -> Target:
    """A target from above."""
    return Target(of=of, is_="at most", limit=limit)
