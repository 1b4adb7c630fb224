"""What a reading of the books tells: fates, counts, and what does not add up."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, computed_field
from sqlalchemy import Row, Select

AnySelect = Select[*tuple[Any, ...]]
AnyRow = Row[*tuple[Any, ...]]
"""Of columns picked one by one: rows of objects would cost ten times as much."""

SHOWN = 1000
"""So many troubles are told one by one; all are counted."""


class Fate(StrEnum):
    """What became of an instance that was answered with Success; each has exactly one."""

    WAITING = "waiting"
    """Its series is not decided yet, or not assessed yet in its present revision."""
    ASSESSED = "assessed"
    """Part of the volume of its series' present revision."""
    LEFT_OUT = "left out"
    """Its series was assessed without it: a localizer, a slice at a taken position, pixels that cannot be decoded."""
    SKIPPED = "skipped"
    """Its series is not assessed; the series has the reason."""
    FAILED = "failed"
    """Its series could not be assessed; the series has the reason."""
    EXPIRED = "expired"
    """Its pixel data was given up by retention, after its series had come to an end."""
    QUARANTINED = "quarantined"
    """Its SOP Instance UID came before with other content: kept apart, never assessed."""


class TroubleKind(StrEnum):
    """What does not add up."""

    MISSING = "file missing"
    CHANGED = "file changed"
    UNREADABLE = "file unreadable"
    UNCLAIMED = "file without a row"
    LOST = "answers without a row"
    BROKEN = "row without a parent"
    STUCK = "no next step"
    CONTRADICTION = "contradiction"


class Trouble(BaseModel):
    """One thing that does not add up: what happened, to which series, and what to do."""

    kind: TroubleKind
    series_instance_uid: str | None
    what: str
    to_do: str


class Account(BaseModel):
    """The result of reading the books."""

    started_at: datetime
    finished_at: datetime
    since: datetime | None
    instances: int = 0
    answers: int = 0
    """Answers with Success: an instance that came three times was answered three times."""
    fates: dict[Fate, int] = {}
    series: int = 0
    jobs: int = 0
    outputs: int = 0
    deliveries: int = 0
    files_read: int = 0
    bytes_read: int = 0
    in_flight: int = 0
    """Files that were seen being written, and had their row in time."""
    purged: int = 0
    """Answers with Success whose instances were purged since; the audit has them."""
    to_be_removed: int = 0
    """Files that are to go and are still there."""
    set_aside: int = 0
    """Files in `spool/unclaimed`: a crash left them, their senders were never told Success."""
    troubles: list[Trouble] = []
    """The first of them."""
    trouble_count: int = 0

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it; mypy knows no decorated property
    @property
    def adds_up(self) -> bool:
        """Whether everything has its place."""
        return self.trouble_count == 0


class Findings:
    """What the readings gather; of troubles no more than `SHOWN` are kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """By the names of `Account`'s fields."""
        self.fates: Counter[Fate] = Counter()
        self.troubles: list[Trouble] = []

    def trouble(self, kind: TroubleKind, series_uid: str | None, what: str, to_do: str) -> None:
        """Write down one thing that does not add up."""
        self.counts["trouble_count"] += 1
        if len(self.troubles) < SHOWN:
            self.troubles.append(Trouble(kind=kind, series_instance_uid=series_uid, what=what, to_do=to_do))
