"""How the sending to each destination fares, for `status`."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ctiqa_node.config import Destination
from ctiqa_node.db.commitments import CommitmentAsk, CommitmentRequest, RequestState
from ctiqa_node.db.states import DeliveryState, OutputKind
from ctiqa_node.db.tables import Delivery, Output, Series
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


def destination_status(session: Session, destination: Destination) -> DestinationStatus:
    """What waits, was sent, given up and refused."""
    name = destination.name
    grouped = (
        select(Delivery.state, func.count(Delivery.id)).where(Delivery.destination == name).group_by(Delivery.state)
    )
    counts = {row[0]: row[1] for row in session.execute(grouped)}
    pending = [Delivery.destination == name, Delivery.state == DeliveryState.PENDING]
    oldest, next_try = session.execute(
        select(func.min(Delivery.created_at), func.min(Delivery.next_try_at)).where(*pending)
    ).one()
    return DestinationStatus(
        name=name,
        pending=counts.get(DeliveryState.PENDING, 0),
        uncommitted=counts.get(DeliveryState.UNCOMMITTED, 0),
        failed=_not_replaced(session, name, DeliveryState.FAILED),
        sent=counts.get(DeliveryState.SENT, 0),
        refused=_not_replaced(session, name, DeliveryState.REFUSED),
        does_not_take=_refusals(session, destination),
        oldest_pending_at=oldest,
        next_try_at=next_try,
        last_trouble=_trouble_sending(session, name) or _trouble_committing(session, name),
    )


def _trouble_sending(session: Session, destination: str) -> str | None:
    tried = select(Delivery).where(
        Delivery.destination == destination, Delivery.state == DeliveryState.PENDING, Delivery.attempts > 0
    )
    delivery = session.scalars(tried.limit(1)).first()
    return delivery.tries[-1].answer if delivery is not None and delivery.tries else None


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


def _not_replaced(session: Session, destination: str, state: DeliveryState) -> int:
    """How many deliveries ended so, and no newer revision has taken their place."""
    ended = (
        select(func.count(Delivery.id))
        .join(Output, Delivery.output_id == Output.id)
        .join(Series, Output.series_id == Series.id)
        .where(Delivery.destination == destination, Delivery.state == state, Output.revision == Series.revision)
    )
    return session.scalar(ended) or 0


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
