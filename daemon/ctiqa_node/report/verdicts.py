"""What follows from the numbers by a rule: words only, so that reading results back needs no DICOM."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import floor


class QualityCategory(StrEnum):
    """The words that the readers of LDCTIQAC 2023 had for 0, 1, 2, 3 and 4."""

    BAD = "bad"
    POOR = "poor"
    FAIR = "fair"
    GOOD = "good"
    EXCELLENT = "excellent"


LDCTIQA_SCORES = ("tfkt_score", "tfkt_imported_score")
"""The measurements on the scale of 0 to 4."""


def quality_category(score: float) -> QualityCategory:
    """The word whose whole number lies nearest to a score of 0–4; halves go up."""
    words = list(QualityCategory)
    return words[min(max(floor(score + 0.5), 0), len(words) - 1)]


def category_of(name: str, value: float) -> QualityCategory | None:
    """The word of a measurement by its name; None for one on another scale."""
    return quality_category(value) if name in LDCTIQA_SCORES else None


class NotScoredReason(StrEnum):
    """Why a model gave no number, for programs: `ctiqa_models.api.ReasonCode`, whose words these are."""

    TOO_LITTLE = "too-little"
    SMALL_MATRIX = "small-matrix"
    OUT_OF_RANGE = "out-of-range"
    OTHER_ANATOMY = "other-anatomy"
    UNFAMILIAR = "unfamiliar"
    NO_WEIGHTS = "no-weights"
    NO_NUMBER = "no-number"
    OTHER = "other-reason"


class CompletenessVerdict(StrEnum):
    """Whether the slices of a series are all there."""

    COMPLETE = "complete"
    PROBABLE = "probable"
    GAPS = "gaps"


@dataclass(frozen=True, slots=True)
class ArchiveAnswer:
    """How many instances of the series an archive has, and how many came here; `trouble` where it could not say."""

    archive: str
    instances: int | None
    here: int
    trouble: str | None = None

    @property
    def missing(self) -> int:
        """How many it has more than came here."""
        return 0 if self.instances is None else max(self.instances - self.here, 0)

    @property
    def sentence(self) -> str:
        """The same in words."""
        if self.instances is None:
            return f"{self.archive} could not say how many instances the series has ({self.trouble})"
        if self.instances == self.here:
            return f"{self.archive} has as many instances of the series as came here ({self.here})"
        few = "only " if self.instances < self.here else ""
        return f"{self.archive} has {few}{self.instances} instances of the series, and {self.here} came here"


@dataclass(frozen=True, slots=True)
class Completeness:
    """The verdict, and how many slices are known to be missing (0 unless there are gaps)."""

    verdict: CompletenessVerdict
    missing: int = 0
    evidence: tuple[str, ...] = ()
    """What the verdict rests on, a sentence each."""

    def __str__(self) -> str:
        """The verdict in one word: "complete", "probable", "gaps(3)"."""
        return f"{self.verdict}({self.missing})" if self.verdict is CompletenessVerdict.GAPS else str(self.verdict)
