"""Which results go to which destination, and what goes there instead of an object that it does not take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.config import Destination
from ctiqa_node.db.columns import now, without_index
from ctiqa_node.db.states import DeliveryState, OutputKind, OutputState
from ctiqa_node.db.tables import Delivery, DeliveryTry, Output

STANDARD = frozenset({OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE})
"""Made of every series, whether any destination wants them or not."""

LAST_ANSWERS = 1000
"""So many answers of a destination tell what it takes: dozens of series, each with a few objects."""

_INSTEAD = {OutputKind.PARAMETRIC_MAP: OutputKind.QUALITY_MAPS}


@dataclass(frozen=True, slots=True)
class RefusedClass:
    """A SOP Class that a destination did not take when it was last offered, and the kind of output that had it."""

    sop_class_uid: str
    kind: OutputKind


def wanted(destination: Destination) -> frozenset[OutputKind]:
    """The outputs that are sent to a destination."""
    return frozenset(OutputKind(name) for name in destination.wanted)


def instead_of(destination: Destination, kind: OutputKind) -> OutputKind | None:
    """What a destination gets in place of a kind that it refuses; None: nothing, or what takes its place is off."""
    other = _INSTEAD.get(kind)
    if other is None or getattr(destination.objects, other.value) is False:
        return None
    return other


def to_make(destinations: Iterable[Destination]) -> frozenset[OutputKind]:
    """The kinds to make of each series: the standard ones, what anyone wants, and what would take its place."""
    kinds = set(STANDARD)
    for destination in destinations:
        for kind in wanted(destination):
            other = instead_of(destination, kind)
            kinds |= {kind} if other is None else {kind, other}
    return frozenset(kinds)


def fall_back(session: Session, destination: Destination, refused: Delivery) -> OutputKind | None:
    """Queue what goes in place of a refused object, unless it goes there anyway; tells its kind, None for nothing."""
    kind = instead_of(destination, refused.output.kind)
    if kind is None:
        return None
    source = refused.output
    output = session.scalars(
        select(Output).where(
            Output.series_id == source.series_id,
            Output.revision == source.revision,
            Output.kind == kind,
            Output.state == OutputState.KEPT,
        )
    ).first()
    if output is None:
        return None
    if all(delivery.destination != destination.name for delivery in output.deliveries):
        output.deliveries.append(new_delivery(destination))
    return kind


def new_delivery(destination: Destination) -> Delivery:
    """A delivery that waits to be sent, now."""
    moment = now()
    return Delivery(destination=destination.name, state=DeliveryState.PENDING, created_at=moment, next_try_at=moment)


def refused_classes(session: Session, destination: str) -> list[RefusedClass]:
    """The SOP Classes that a destination refused when they were last offered.

    What is sent to a destination is offered with every series. So the last answers tell, and not all of years are read.
    """
    at_destination = Delivery.destination == destination
    ever = select(Delivery.id).where(at_destination, Delivery.state == DeliveryState.REFUSED).limit(1)
    if session.scalar(ever) is None:
        return []
    newest = (
        select(Output.sop_class_uid, Output.kind, Delivery.state)
        .select_from(DeliveryTry)
        .join(Delivery)
        .join(Output, Delivery.output_id == Output.id)
        .where(
            # So that SQLite goes through the tries from the last one backwards.
            without_index(Delivery.destination) == destination,
            without_index(Delivery.state).in_((DeliveryState.REFUSED, DeliveryState.UNCOMMITTED, DeliveryState.SENT)),
        )
        .order_by(DeliveryTry.id.desc())
        .limit(LAST_ANSWERS)
    )
    last: dict[str, tuple[OutputKind, DeliveryState]] = {}
    for sop_class, kind, state in session.execute(newest):
        last.setdefault(sop_class, (kind, state))
    refused = [RefusedClass(uid, kind) for uid, (kind, state) in last.items() if state is DeliveryState.REFUSED]
    return sorted(refused, key=lambda each: each.kind)
