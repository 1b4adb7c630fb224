"""From the rows of instances to their files: each has one fate, and its file is there unharmed while it must be.

Rows are read in pages of short transactions, files without any: hours of reading must not keep SQLite from emptying
its write-ahead log. So a file that is not as its row said is held against the row as it is by then before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import select

from ctiqa_node.db.books import FileRemoval
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState, SeriesState
from ctiqa_node.db.tables import Instance, Series
from ctiqa_node.ledger.account import AnyRow, AnySelect, Fate, Findings, TroubleKind
from ctiqa_node.ledger.digests import Read, read_dataset
from ctiqa_node.spool import Spool

PAGE = 1000

_BY_SERIES = {
    SeriesState.RECEIVING: Fate.WAITING,
    SeriesState.STALE: Fate.WAITING,
    SeriesState.COMPLETE: Fate.WAITING,
    SeriesState.ANALYSING: Fate.WAITING,
    SeriesState.SKIPPED: Fate.SKIPPED,
    SeriesState.FAILED: Fate.FAILED,
}

_LOOK = "restore the file from a backup of the spool, or let its sender send the series again"


class InstanceReading:
    """Reads the instances that were received at `since` or later, and their files."""

    def __init__(self, database: Database, spool: Spool, findings: Findings, check: Callable[[], None]) -> None:
        self._database = database
        self._spool = spool
        self._findings = findings
        self._check = check

    def run(self, since: datetime | None) -> None:
        """Read them all; `check` is called before each file and may raise to end it."""
        for page in self._pages(since):
            for row in page:
                self._findings.counts["instances"] += 1
                self._findings.counts["answers"] += row.copies
                self._findings.fates[fate_of(row)] += 1
                self._check()
                if row.expired_at is None:
                    self._hold_against_file(row)
                else:
                    self._require_absence(row)

    def _pages(self, since: datetime | None) -> Iterator[Sequence[AnyRow]]:
        last = 0
        while True:
            query = _instances().where(Instance.id > last).order_by(Instance.id).limit(PAGE)
            if since is not None:
                query = query.where(Instance.received_at >= since)
            with self._database.read() as session:
                page = session.execute(query).all()
            if not page:
                return
            yield page
            last = page[-1].id

    def _hold_against_file(self, row: AnyRow) -> None:
        found = read_dataset(self._spool.path(row.path))
        if not _agree(row, found):
            # The row may have changed meanwhile: a file that had gone came again, or the patient was purged.
            with self._database.read() as session:
                again = session.execute(_instances().where(Instance.id == row.id)).one_or_none()
            if again is None:
                return
            if again.expired_at is not None:
                return
            found = read_dataset(self._spool.path(again.path))
            if not _agree(again, found):
                self._tell(again, found)
        self._findings.counts["files_read"] += not found.missing
        self._findings.counts["bytes_read"] += found.size

    def _require_absence(self, row: AnyRow) -> None:
        if not self._spool.path(row.path).exists():
            return
        with self._database.read() as session:
            if session.get(FileRemoval, f"spool/{row.path}") is not None:
                return
        what = f"the file {self._spool.path(row.path)} is there, though it expired on {row.expired_at:%Y-%m-%d}"
        self._findings.trouble(TroubleKind.UNCLAIMED, row.series_instance_uid, what, "remove it")

    def _tell(self, row: AnyRow, found: Read) -> None:
        who = f"instance {row.sop_instance_uid}, received {row.received_at:%Y-%m-%d %H:%M:%S} UTC"
        uid, path = row.series_instance_uid, self._spool.path(row.path)
        if found.missing:
            self._findings.trouble(TroubleKind.MISSING, uid, f"{who}: its file {path} is gone", _LOOK)
        elif found.sha256 is None:
            what = f"{who}: its file {path} cannot be read ({found.problem})"
            self._findings.trouble(TroubleKind.UNREADABLE, uid, what, "check the disk and the file's owner")
        else:
            what = f"{who}: its file {path} is not what was received ({found.size} bytes, {row.bytes} were kept)"
            self._findings.trouble(TroubleKind.CHANGED, uid, what, f"check the disk; {_LOOK}")


def fate_of(row: AnyRow) -> Fate:
    """The one fate of an instance, by its row and that of its series."""
    if row.expired_at is not None:
        return Fate.EXPIRED
    if row.state is InstanceState.CONFLICT:
        return Fate.QUARANTINED
    fate = _BY_SERIES.get(row.series_state)
    if fate is not None:
        return fate
    return Fate.ASSESSED if row.assessed_in == row.revision else Fate.LEFT_OUT


def _instances() -> AnySelect:
    return select(
        Instance.id, Instance.sop_instance_uid, Instance.path, Instance.sha256, Instance.bytes, Instance.state,
        Instance.received_at, Instance.copies, Instance.assessed_in, Instance.expired_at,
        Series.series_instance_uid, Series.revision, Series.state.label("series_state"),
    ).join(Series, Instance.series_id == Series.id)  # fmt: skip


def _agree(row: AnyRow, found: Read) -> bool:
    return found.sha256 == row.sha256 and found.size == row.bytes
