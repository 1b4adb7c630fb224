"""How the sending to each destination fares, for `status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import Select, func, literal_column, select
from sqlalchemy.orm import Session

from ctiqa_node.config import Destination
from ctiqa_node.db.columns import without_index
from ctiqa_node.db.commitments import CommitmentAsk, CommitmentRequest, RequestState
from ctiqa_node.db.states import DeliveryState, OutputKind
from ctiqa_node.db.tables import Delivery, DeliveryTry, Output, Series
from ctiqa_node.routing import RefusedClass, instead_of, refused_classes, wanted


class Refusal(BaseModel):
    """A SOP Class that a destination did not take when it was last offered."""

    sop_class_uid: str
    sop_class: str
    kind: OutputKind
    sends_instead: OutputKind | None

    @property
    def sentence(self) -> str:
        """The same in words, after the destination's name."""
        instead = self.sends_instead and f"; sends {self.sends_instead.replace('_', ' ')} instead"
        return f"does not take {self.sop_class}{instead or ''}"


class DestinationStatus(BaseModel):
    """What waits for one destination, its last trouble, and what it does not take."""

    name: str
    pending: int
    uncommitted: int
    """Stored, and asked to be committed."""
    failed: int
    sent: int
    refused: int
    """Of the series' present revisions, as `failed`."""
    does_not_take: list[Refusal]
    oldest_pending_at: datetime | None
    next_try_at: datetime | None
    last_trouble: str | None


def destinations_status(session: Session, destinations: Sequence[Destination]) -> list[DestinationStatus]:
    """What waits, was sent, given up and refused at each destination."""
    if not destinations:
        return []
    counts, replaced, waiting = _counts(session), _replaced(session), _waiting(session)
    return [
        DestinationStatus(
            name=(name := destination.name),
            pending=counts[name, DeliveryState.PENDING],
            uncommitted=counts[name, DeliveryState.UNCOMMITTED],
            failed=counts[name, DeliveryState.FAILED] - replaced[name, DeliveryState.FAILED],
            sent=counts[name, DeliveryState.SENT],
            refused=counts[name, DeliveryState.REFUSED] - replaced[name, DeliveryState.REFUSED],
            does_not_take=_refusals(session, destination),
            oldest_pending_at=waiting[name][0] if name in waiting else None,
            next_try_at=waiting[name][1] if name in waiting else None,
            last_trouble=(_last_trouble(session, name) if name in waiting else None)
            or _trouble_committing(session, name),
        )
        for destination in destinations
    ]


def _trouble_committing(session: Session, destination: str) -> str | None:
    """Why what was stored is not committed yet, where the destination had to be asked more than once."""
    repeatedly = (
        select(Delivery)
        .join(CommitmentAsk, CommitmentAsk.delivery_id == Delivery.id)
        .where(Delivery.destination == destination, Delivery.state == DeliveryState.UNCOMMITTED)
        .group_by(Delivery.id)
        .having(func.count(CommitmentAsk.id) > 1)
        .limit(1)
    )
    delivery = session.scalars(repeatedly).first()
    if delivery is None:
        return None
    return next((each.answer for each in reversed(delivery.tries) if each.status != 0), None)


_Counts = Counter[tuple[str, DeliveryState]]


def _counts(session: Session) -> _Counts:
    """How many deliveries of each destination are in each state."""
    names = Delivery.destination, Delivery.state
    return _counted(session, select(*names, func.count()).group_by(*names))


def _replaced(session: Session) -> _Counts:
    """The same of those whose series has a newer revision: these are few, so they are counted, and not all others."""
    older = (
        select(Output.id).join(Series).where(Series.revision > literal_column("1"), Output.revision < Series.revision)
    )
    names = without_index(Delivery.destination), without_index(Delivery.state)
    return _counted(session, select(*names, func.count()).where(Delivery.output_id.in_(older)).group_by(*names))


def _counted(session: Session, query: Select[str, DeliveryState, int]) -> _Counts:
    return Counter({(name, state): count for name, state, count in session.execute(query)})


def _waiting(session: Session) -> dict[str, tuple[datetime, datetime]]:
    """Since when the oldest waits for each destination, and the next try."""
    waiting = (
        select(Delivery.destination, func.min(Delivery.created_at), func.min(Delivery.next_try_at))
        .where(Delivery.state == DeliveryState.PENDING)
        .group_by(Delivery.destination)
    )
    return {name: (oldest, next_try) for name, oldest, next_try in session.execute(waiting)}


def _last_trouble(session: Session, destination: str) -> str | None:
    tried = select(Delivery.id).where(
        Delivery.destination == destination, Delivery.state == DeliveryState.PENDING, Delivery.attempts > 0
    )
    delivery_id = session.scalar(tried.limit(1))
    last = select(DeliveryTry.answer).where(DeliveryTry.delivery_id == delivery_id).order_by(DeliveryTry.id.desc())
    return None if delivery_id is None else session.scalar(last.limit(1))


def _refusals(session: Session, destination: Destination) -> list[Refusal]:
    """What a destination refused of that which it would still get."""
    refused = refused_classes(session, destination.name)
    kinds = {each.kind for each in refused}
    still_sent = wanted(destination) | {instead_of(destination, kind) for kind in wanted(destination)}
    return [_refusal(destination, each, kinds) for each in refused if each.kind in still_sent]


def _refusal(destination: Destination, refused: RefusedClass, kinds: Set[OutputKind]) -> Refusal:
    from pydicom.uid import UID  # only where there is something to name: commands start without pydicom

    instead = instead_of(destination, refused.kind)
    return Refusal(
        sop_class_uid=refused.sop_class_uid,
        sop_class=UID(refused.sop_class_uid).name,
        kind=refused.kind,
        sends_instead=None if instead in kinds else instead,
    )


def sender_complaints(session: Session) -> list[str]:
    """Which senders wait to hear what we commit to, and could not be told yet."""
    query = select(CommitmentRequest.calling_ae_title, CommitmentRequest.last_trouble).where(
        CommitmentRequest.state == RequestState.OPEN, CommitmentRequest.last_trouble.is_not(None)
    )
    troubles = {row.calling_ae_title: row.last_trouble for row in session.execute(query.order_by(CommitmentRequest.id))}
    return [f"{title} waits for what we commit to; {trouble}" for title, trouble in troubles.items()]


def destination_complaints(destinations: Sequence[DestinationStatus]) -> list[str]:
    """What an admin should know of them, a sentence each."""
    complaints = []
    for destination in destinations:
        if destination.last_trouble is not None:
            waiting = f"{destination.pending + destination.uncommitted} waiting"
            complaints.append(f"{destination.name}: {waiting}; {destination.last_trouble}")
        if destination.failed:
            complaints.append(f"{destination.name}: {destination.failed} given up; `ctiqa-node queue retry` resends")
        complaints.extend(
            f"{destination.name} {refusal.sentence}: the structured report does not reach it"
            for refusal in destination.does_not_take
            if refusal.kind is OutputKind.STRUCTURED_REPORT
        )
    return complaints
