"""The course of a series through our node, as its database tells it: when what was done, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bench.receivers import OurNode
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, JobState, SeriesState
from ctiqa_node.db.tables import AssessmentRow, Delivery, Heartbeat, Job, Output, Series
from ctiqa_node.worker import PROCESS

WAIT_SECONDS = 3600.0
LOOK_SECONDS = 0.1
ENDED = {SeriesState.DELIVERED, SeriesState.UNDELIVERED, SeriesState.SKIPPED, SeriesState.FAILED}


@dataclass(frozen=True, slots=True)
class Course:
    """Moments of one series that was delivered, and the seconds of each model."""

    last_instance: datetime
    queued: datetime
    started: datetime
    valued: datetime
    """The models were done, and their values written down."""
    made: datetime
    """The last object was."""
    finished: datetime
    sent: datetime
    """The archive had accepted the last object."""
    models: dict[str, float]

    def turnaround(self, quiet_seconds: float) -> float:
        """Seconds from the last instance to the last accepted object, less the quiet time."""
        return (self.sent - self.last_instance).total_seconds() - quiet_seconds

    def parts(self, quiet_seconds: float) -> dict[str, float]:
        """Where these seconds went."""
        models = sum(self.models.values())
        return {
            "until the worker had it": (self.started - self.last_instance).total_seconds() - quiet_seconds,
            "loading, and writing values down": (self.valued - self.started).total_seconds() - models,
            **{f"model {name}": seconds for name, seconds in self.models.items()},
            "making objects": (self.made - self.valued).total_seconds(),
            "delivery after the last was made": (self.sent - self.made).total_seconds(),
        }


def worker_process(node: OurNode) -> int:
    """The process ID of the worker, once its models are loaded."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with node.database.read() as session:
            pulse = session.get(Heartbeat, PROCESS)
        if pulse is not None and pulse.detail.get("device") != "starting":
            return pulse.pid
        time.sleep(LOOK_SECONDS)
    raise TimeoutError("the worker did not get ready")


def wait_for_courses(database: Database, uids: Sequence[str]) -> list[Course]:
    """The courses of series, once all have been delivered.

    Raises:
        RuntimeError: one has come to another end.
        TimeoutError: it takes too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with database.read() as session:
            found = session.scalars(select(Series).where(Series.series_instance_uid.in_(uids))).all()
            if len(found) == len(uids) and all(series.state in ENDED for series in found):
                return [_course(session, series) for series in found]
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"not all of {len(uids)} series came to an end")


def _course(session: Session, series: Series) -> Course:
    if series.state is not SeriesState.DELIVERED:
        raise RuntimeError(f"a series ended as {series.state}: {series.reason}")
    of_revision = {"series_id": series.id, "revision": series.revision}
    job = session.scalars(select(Job).filter_by(**of_revision, state=JobState.DONE)).one()
    assessments = session.scalars(select(AssessmentRow).filter_by(**of_revision)).all()
    outputs = session.scalars(select(Output).filter_by(**of_revision)).all()
    sent = select(Delivery.sent_at).join(Output).where(Delivery.state == DeliveryState.SENT)
    assert job.started_at is not None
    assert job.finished_at is not None
    return Course(
        last_instance=series.last_instance_at,
        queued=job.created_at,
        started=job.started_at,
        valued=max(row.assessed_at for row in assessments),
        made=max(output.made_at for output in outputs),
        finished=job.finished_at,
        sent=max(at for at in session.scalars(sent.where(Output.series_id == series.id)) if at is not None),
        models={row.model: row.seconds for row in assessments},
    )
