"""The whole story of one series: who sent it, when, what was skipped and why, each try and each answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ctiqa_node.db.evidence import archive_count
from ctiqa_node.db.states import DeliveryState, InstanceState
from ctiqa_node.db.tables import Association, Delivery, Instance, Series
from ctiqa_node.result_values import SeriesResult
from ctiqa_node.results import series_result


class Happening(BaseModel):
    """One thing that happened to the series."""

    at: datetime
    what: str
    detail: str | None = None


class SeriesStory(BaseModel):
    """The series as it stands, and all that led there, in the order of time."""

    series: SeriesResult
    happenings: list[Happening]


def tell(session: Session, series: Series) -> SeriesStory:
    """Gather the story of one series."""
    happenings = [
        *_arrivals(session, series),
        *_conflicts(series),
        *(
            Happening(at=c.at, what=f"{c.event}: {c.from_state} → {c.to_state}", detail=c.detail)
            for c in series.history
        ),
        *_asked_of_an_archive(session, series),
        *_work(series),
        *_not_made(series),
        *_sending(series),
        *_removed(series),
    ]
    return SeriesStory(
        series=series_result(session, series, with_slices=False),
        happenings=sorted(happenings, key=lambda happening: happening.at),
    )


def _arrivals(session: Session, series: Series) -> list[Happening]:
    grouped = (
        select(Association, func.min(Instance.received_at), func.count(Instance.id), func.sum(Instance.copies))
        .join(Instance, Instance.association_id == Association.id)
        .where(Instance.series_id == series.id)
        .group_by(Association.id)
    )
    return [
        Happening(
            at=first,
            what=f"{count} instances from {association.calling_ae_title} at {association.address}",
            detail=f"association {association.id}, {association.outcome}"
            + (f"; {copies - count} came more than once" if copies > count else ""),
        )
        for association, first, count, copies in session.execute(grouped)
    ]


def _conflicts(series: Series) -> list[Happening]:
    return [
        Happening(
            at=instance.received_at,
            what="an instance kept apart: its SOP Instance UID came before with other content",
            detail=instance.sop_instance_uid,
        )
        for instance in series.instances
        if instance.state is InstanceState.CONFLICT
    ]


def _asked_of_an_archive(session: Session, series: Series) -> list[Happening]:
    known = archive_count(session, series.id)
    if known is None:
        return []
    said = known.trouble if known.instances is None else f"it has {known.instances} instances of the series"
    return [Happening(at=known.asked_at, what=f"{known.archive} asked how many instances there are", detail=said)]


def _work(series: Series) -> list[Happening]:
    told = []
    for job in series.jobs:
        told.append(Happening(at=job.created_at, what=f"job {job.id} queued for revision {job.revision}"))
        if job.finished_at is not None:
            detail = job.error or f"{job.attempts} attempts" * (job.attempts > 1) or None
            told.append(Happening(at=job.finished_at, what=f"job {job.id} {job.state}", detail=detail))
    told.extend(
        Happening(at=row.assessed_at, what=f"{row.model}: not scored", detail=row.reason)
        for row in series.assessments
        if row.reason is not None
    )
    return told


def _not_made(series: Series) -> list[Happening]:
    return [
        Happening(
            at=unmade.at, what=f"revision {unmade.revision} {unmade.kind}: could not be made", detail=unmade.reason
        )
        for unmade in series.unmade
        if unmade.reason is not None
    ]


def _sending(series: Series) -> list[Happening]:
    return [
        Happening(
            at=attempt.at,
            what=f"revision {output.revision} {output.kind} to {delivery.destination}: {attempt.answer}",
            detail=_next_step(delivery) if attempt is delivery.tries[-1] else None,
        )
        for output in series.outputs
        for delivery in output.deliveries
        for attempt in delivery.tries
    ]


def _next_step(delivery: Delivery) -> str | None:
    moment = f"{delivery.next_try_at:%Y-%m-%d %H:%M:%S} UTC"
    match delivery.state:
        case DeliveryState.PENDING:
            return f"next try {moment}"
        case DeliveryState.UNCOMMITTED:
            return f"sent, waiting for commitment; asks again {moment}"
        case _:
            return None


def _removed(series: Series) -> list[Happening]:
    return [
        Happening(at=output.removed_at, what=f"revision {output.revision} {output.kind} removed here")
        for output in series.outputs
        if output.removed_at is not None
    ]
