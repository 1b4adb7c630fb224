"""From files to rows: a file that no row claims was never promised to anyone, and should not be there.

Beside a running node a received file without a row may be one that is being recorded just now: its row comes within
the time that SQLite lets a writer wait, or the file goes. So such a file is looked at again until either happened, or
until it has been there for longer than any writer waits. A result without a row is what a worker left that was killed,
or whose series moved on; `sweep_outputs` removes it, at every start and every hour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.db.books import FileRemoval
from ctiqa_node.db.session import BUSY_TIMEOUT_MS, Database
from ctiqa_node.db.states import JobState
from ctiqa_node.db.tables import Instance, Job, Output
from ctiqa_node.ledger.account import Findings, TroubleKind
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder

CHUNK = 500
PATIENCE_SECONDS = 3 * BUSY_TIMEOUT_MS / 1000
"""Longer than a writer waits for the lock, writes, and syncs."""
LOOK_AGAIN_SECONDS = 0.25
SWEEP_HOURS = 1.0
"""How often a running node removes results that no row claims."""

Claims = Callable[[Session, list[str]], set[str]]


@dataclass(frozen=True, slots=True)
class _Area:
    """A folder whose files have rows: where, which have one, and what to say of a file that has none."""

    root: Path
    claims: Claims
    what: str
    to_do: str


class FileReading:
    """Looks for files that no row claims, in the spool and among the outputs."""

    def __init__(self, database: Database, folder: StateFolder, findings: Findings, check: Callable[[], None]) -> None:
        self._database = database
        self._folder = folder
        self._findings = findings
        self._check = check

    def run(self, spool: Spool, since: datetime | None) -> None:
        """Look at all files that were changed at `since` or later."""
        received = _Area(
            spool.root, claimed_instances, "was never answered with Success",
            "restart the node: it sets such files aside in spool/unclaimed",
        )  # fmt: skip
        made = _Area(
            self._folder.outputs, claimed_outputs, "belongs to no result",
            "restart the node: it removes such files",
        )  # fmt: skip
        suspects = self._look(received, spool.objects(), since)
        self._tell(received, suspects, self._still_unclaimed(received, suspects))
        self._findings.counts["set_aside"] += spool.count_set_aside()
        suspects = self._look(made, output_files(self._folder.outputs), since)
        to_be_swept = 2 * SWEEP_HOURS * 3600 if self._folder.is_locked() else 0
        self._tell(made, suspects, [each for each in suspects if _age(made.root / each) > to_be_swept])

    def _look(self, area: _Area, relatives: Iterable[str], since: datetime | None) -> list[str]:
        found: list[str] = []
        for chunk in chunks(relatives):
            self._check()
            unclaimed = unclaimed_of(self._database, area.claims, area.root, chunk)
            found += [each for each in unclaimed if since is None or _changed_since(area.root / each, since)]
        return found

    def _still_unclaimed(self, area: _Area, suspects: list[str]) -> list[str]:
        """Give those that may be in the middle of being recorded the time for it."""
        started = time.monotonic()
        while suspects and self._folder.is_locked() and time.monotonic() - started < PATIENCE_SECONDS:
            suspects = [
                each
                for chunk in chunks(suspects)
                for each in unclaimed_of(self._database, area.claims, area.root, chunk)
            ]
            if all(_age(area.root / each) > PATIENCE_SECONDS for each in suspects):
                break
            self._check()
            time.sleep(LOOK_AGAIN_SECONDS)
        return suspects

    def _tell(self, area: _Area, suspects: list[str], convicted: list[str]) -> None:
        self._findings.counts["in_flight"] += len(suspects) - len(convicted)
        for relative in convicted:
            what = f"the file {area.root / relative} has no row: it {area.what}"
            self._findings.trouble(TroubleKind.UNCLAIMED, None, what, area.to_do)


def sweep_outputs(database: Database, outputs: Path, older_than_seconds: float) -> int:
    """Remove the results that belong to no row, nor to a series that is being assessed; returns how many."""
    removed = 0
    for chunk in chunks(output_files(outputs)):
        for relative in unclaimed_of(database, claimed_outputs, outputs, chunk):
            if _age(outputs / relative) >= older_than_seconds:
                (outputs / relative).unlink(missing_ok=True)
                removed += 1
    return removed


def chunks(relatives: Iterable[str]) -> Iterator[list[str]]:
    """As many paths at a time as one query asks for."""
    left = iter(relatives)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def unclaimed_of(database: Database, claims: Claims, root: Path, relatives: list[str]) -> list[str]:
    """Of these files those that are there and have no row."""
    with database.read() as session:
        claimed = claims(session, relatives)
    return [each for each in relatives if each not in claimed and (root / each).exists()]


def output_files(outputs: Path) -> Iterator[str]:
    """The files of all results, half-written ones included, relative to the outputs folder."""
    for folder in sorted(outputs.iterdir()) if outputs.is_dir() else ():
        with suppress(FileNotFoundError, NotADirectoryError):  # purged meanwhile
            yield from (f"{folder.name}/{path.name}" for path in sorted(folder.iterdir()))


def claimed_instances(session: Session, relatives: list[str]) -> set[str]:
    """Of these files of the spool those that have a row, or are to go."""
    doomed = select(FileRemoval.path).where(FileRemoval.path.in_([f"spool/{each}" for each in relatives]))
    going = {path.removeprefix("spool/") for path in session.scalars(doomed)}
    return going | set(session.scalars(select(Instance.path).where(Instance.path.in_(relatives))))


def claimed_outputs(session: Session, relatives: list[str]) -> set[str]:
    """Of these results those that have a row, or whose series is to be assessed: the next try writes them anew."""
    claimed = set(session.scalars(select(Output.path).where(Output.path.in_(relatives))))
    open_jobs = select(Job.series_id).where(Job.state.in_((JobState.TODO, JobState.DOING)))
    folders = {str(each) for each in session.scalars(open_jobs)}
    doomed = session.scalars(select(FileRemoval.path).where(FileRemoval.path.like("outputs/%")))
    folders |= {path.removeprefix("outputs/") for path in doomed}
    return claimed | {each for each in relatives if each.split("/")[0] in folders}


def _changed_since(path: Path, since: datetime) -> bool:
    try:
        return path.stat().st_mtime >= since.timestamp()
    except FileNotFoundError:
        return False


def _age(path: Path) -> float:
    """Seconds since a file was written; none for one that has gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
