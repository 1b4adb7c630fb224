"""Retention of pixel data: some days after a series has come to an end its received files go; the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from ctiqa_node import audit
from ctiqa_node.db.books import AuditEvent
from ctiqa_node.db.clock import overcounted
from ctiqa_node.db.columns import now, without_index
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OPEN_DELIVERIES, JobState, SeriesState
from ctiqa_node.db.tables import Delivery, Instance, Job, Output, Series
from ctiqa_node.ledger.removal import carry_out, doom
from ctiqa_node.state import StateFolder

BATCH = 200
"""So many instances go in one transaction: reception waits for the lock no longer than that takes."""
RETENTION_SECONDS = 600.0
"""How often it is looked whether anything is due."""

FINAL = (
    SeriesState.ANALYSED,  # without deliveries, or with none that waits
    SeriesState.DELIVERED,
    SeriesState.UNDELIVERED,
    SeriesState.SKIPPED,
    SeriesState.FAILED,
)


def expire(database: Database, folder: StateFolder, days: float | None, check: Callable[[], None]) -> int:
    """Remove the pixel data of all series that ended more than `days` ago; returns how many instances lost theirs.

    `check` is called between transactions, and may raise to end it; what was decided is then carried out later.
    """
    if days is None:
        return 0
    age, count = timedelta(days=days), 0
    with database.read() as session:
        age += overcounted(session, age)  # pixel data that went because the clock was wrong would never come back
    before = now() - age
    while (series_id := _next_due(database, before)) is not None:
        check()
        with database.write() as session:
            count += _expire_some(session, series_id, before)
        carry_out(database, folder.root)
    return count + _expire_unclaimed(database, folder, before)


def is_due(before: datetime) -> tuple[ColumnElement[bool], ...]:
    """When the pixel data of a series goes: it ended long ago, has some, and nothing of it waits."""
    pixels = select(Instance.id).where(Instance.series_id == Series.id, Instance.expired_at.is_(None))
    waiting = select(Output.series_id).join(Delivery, Delivery.output_id == Output.id)
    return (
        without_index(Series.state).in_(FINAL),
        Series.state_since < before,
        Series.last_instance_at < before,
        ~select(Job.id).where(Job.series_id == Series.id, Job.state.in_((JobState.TODO, JobState.DOING))).exists(),
        # Those that wait are looked for once: they are few, and each series has many that do not.
        Series.id.not_in(waiting.where(Delivery.state.in_(OPEN_DELIVERIES))),
        pixels.correlate(Series).exists(),
    )


def _next_due(database: Database, before: datetime) -> int | None:
    with database.read() as session:
        # From the instances that have pixels and on to their series: most series have none any more.
        with_pixels = select(Series.id).select_from(Instance).join(Series).where(Instance.expired_at.is_(None))
        return session.scalar(with_pixels.where(*is_due(before)).order_by(Instance.series_id).limit(1))


def _expire_some(session: Session, series_id: int, before: datetime) -> int:
    series = session.scalars(select(Series).where(Series.id == series_id, *is_due(before))).first()
    if series is None:  # an instance came meanwhile
        return 0
    with_pixels = select(Instance).where(Instance.series_id == series_id, Instance.expired_at.is_(None))
    instances = session.scalars(with_pixels.order_by(Instance.id).limit(BATCH)).all()
    for instance in instances:
        instance.expired_at = now()
    doom(session, (f"spool/{instance.path}" for instance in instances))
    size = sum(instance.bytes for instance in instances)
    detail = {"instances": len(instances), "bytes": size}
    audit.note(session, AuditEvent.EXPIRED, audit.NODE, detail, uid=series.series_instance_uid)
    return len(instances)


def _expire_unclaimed(database: Database, folder: StateFolder, before: datetime) -> int:
    """What a crash left without a row holds pixels and a patient's name, too."""
    aside = folder.spool / "unclaimed"
    files = aside.iterdir() if aside.is_dir() else ()
    old = [path for path in files if path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    if old:
        with database.write() as session:
            audit.note(session, AuditEvent.EXPIRED, audit.NODE, {"unclaimed_files": len(old)})
    return len(old)
