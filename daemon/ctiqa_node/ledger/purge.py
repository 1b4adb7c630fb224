"""Removing everything of one patient or study: rows, files, backups. What is kept says how much it was, and no more.

The rows go in one transaction, which also writes down the files that are to go: a crash leaves either all rows, or none
and the notes by which the next start removes the files.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Select, Table, delete, func, select
from sqlalchemy.orm import Session

from ctiqa_node import audit
from ctiqa_node.db.books import AuditEvent
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import JobState
from ctiqa_node.db.tables import Base, Instance, Job, Output, Series
from ctiqa_node.errors import CtiqaError
from ctiqa_node.ledger.backup import copies_of
from ctiqa_node.ledger.removal import carry_out, doom
from ctiqa_node.state import StateFolder, sync_folder

SAMPLE = 100
"""Of so many instances the UIDs are searched for afterwards: all went in the same statement."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whose data is to go: a patient's, or that of one study."""

    patient_id: str | None = None
    study_uid: str | None = None

    def of_series(self) -> ColumnElement[bool]:
        """The condition on the table of series."""
        if self.study_uid is not None:
            return Series.study_instance_uid == self.study_uid
        return Series.patient_id == self.patient_id

    def is_of(self, path: Path) -> bool:
        """Whether a file without a row is of it; one that is no DICOM file is of nobody."""
        from pydicom import dcmread  # only where there is such a file: commands start without pydicom
        from pydicom.errors import InvalidDicomError

        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "StudyInstanceUID"])
        except (InvalidDicomError, OSError, ValueError, AttributeError, KeyError, TypeError, EOFError):
            return False
        if self.study_uid is not None:
            return str(header.get("StudyInstanceUID", "")) == self.study_uid
        return str(header.get("PatientID", "")).strip() == self.patient_id


@dataclass(frozen=True, slots=True)
class Holding:
    """What there is of a target."""

    series: int
    instances: int
    answers: int
    results: int
    unclaimed: tuple[Path, ...]
    """Files that a crash left without a row."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of it."""
        return self.series == 0 and not self.unclaimed


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What names the target in rows and files, for the search afterwards."""

    uids: frozenset[str]
    """Of studies, series, and some of the instances."""
    texts: frozenset[str]
    """Patient IDs, names and accession numbers."""


def holding(session: Session, folder: StateFolder, target: Target) -> Holding:
    """Look what there is of a target."""
    found = target.of_series()
    instances = select(func.count(Instance.id), func.coalesce(func.sum(Instance.copies), 0)).join(Series).where(found)
    count, answers = session.execute(instances).one()
    return Holding(
        series=session.scalar(select(func.count(Series.id)).where(found)) or 0,
        instances=count,
        answers=answers,
        results=session.scalar(select(func.count(Output.id)).join(Series).where(found)) or 0,
        unclaimed=tuple(path for path in unclaimed_files(folder) if target.is_of(path)),
    )


def unclaimed_files(folder: StateFolder) -> Iterator[Path]:
    """The files that a crash left without a row."""
    aside = folder.spool / "unclaimed"
    yield from sorted(aside.iterdir()) if aside.is_dir() else ()


def identifiers(session: Session, target: Target) -> Identifiers:
    """What names a target: to be gathered before it goes."""
    uids, texts = set(), {target.patient_id} if target.patient_id else set()
    columns = (Series.series_instance_uid, Series.study_instance_uid, Series.patient_id, Series.patient_name)
    rows = session.execute(select(*columns, Series.accession_number).where(target.of_series()))
    for series_uid, study_uid, *named in rows:
        uids |= {series_uid, study_uid}
        texts |= set(named)
    instances = select(Instance.sop_instance_uid).join(Series).where(target.of_series()).limit(SAMPLE)
    uids |= set(session.scalars(instances))
    return Identifiers(frozenset(uids), frozenset(text for text in texts if text))


def purge(database: Database, folder: StateFolder, target: Target) -> Holding:
    """Remove all rows and files of a target; returns what there was.

    Raises:
        CtiqaError: a job of it is running; nothing was changed.
    """
    with database.write() as session:
        _refuse_running(session, target)
        found = holding(session, folder, target)
        ids = list(session.scalars(select(Series.id).where(target.of_series())))
        paths = session.scalars(select(Instance.path).where(Instance.series_id.in_(ids), Instance.expired_at.is_(None)))
        doom(session, (f"spool/{path}" for path in paths))
        doom(session, (str(path.relative_to(folder.root)) for path in found.unclaimed))
        doom(session, _outputs_set_aside(folder, ids))
        doom(session, copies_of(folder))
        studies = set(session.scalars(select(Series.study_instance_uid).where(Series.id.in_(ids))))
        _delete_rows(session, ids)
        _note(session, target, found, studies)
    carry_out(database, folder.root)
    return found


def _refuse_running(session: Session, target: Target) -> None:
    running = select(Job.id).join(Series).where(target.of_series(), Job.state == JobState.DOING)
    job = session.scalars(running.limit(1)).first()
    if job is not None:
        raise CtiqaError(f"Job J{job} is assessing a series of it just now; purge again when it has ended.")


def _outputs_set_aside(folder: StateFolder, ids: list[int]) -> Iterator[str]:
    """Take the results out of the way under names that no later series can have: SQLite gives numbers again."""
    for series_id in ids:
        results = folder.outputs / str(series_id)
        if results.is_dir():
            aside = folder.outputs / f"purged-{uuid.uuid4().hex}"
            results.rename(aside)
            sync_folder(folder.outputs)
            yield str(aside.relative_to(folder.root))


def _delete_rows(session: Session, ids: list[int]) -> None:
    """Delete the series and whatever hangs on them, by the foreign keys that the tables declare."""
    series = Base.metadata.tables[Series.__tablename__]
    owned: dict[Table, Select[int]] = {series: select(series.c.id).where(series.c.id.in_(ids))}
    for table in Base.metadata.sorted_tables:  # parents first
        for key in table.foreign_keys:
            if table is not series and key.column.table in owned:
                owned[table] = select(table.c.id).where(key.parent.in_(owned[key.column.table]))
    for table in reversed(list(owned)):
        session.execute(delete(table).where(table.c.id.in_(owned[table])))


def _note(session: Session, target: Target, found: Holding, studies: set[str]) -> None:
    whole: dict[str, str | int] = {
        "answers": found.answers,
        "series": found.series,
        "instances": found.instances,
        "results": found.results,
        "unclaimed_files": len(found.unclaimed),
    }
    scope: dict[str, str | int] = {"scope": "study" if target.study_uid is not None else "patient"}
    for number, study in enumerate(sorted(studies) or [target.study_uid]):
        detail = scope | whole if number == 0 else scope
        audit.note(session, AuditEvent.PURGED, audit.user(), detail, uid=study)
