"""The life of a Delivery: one table (state, event) → state. A pair that is not in the table cannot happen."""

from __future__ import annotations

from enum import StrEnum

from ctiqa_node.db.states import DeliveryState
from ctiqa_node.db.tables import Delivery
from ctiqa_node.errors import CtiqaError


class DeliveryEvent(StrEnum):
    """What happens to a delivery."""

    SENT = "stored by its destination"
    STORED = "stored by its destination, which is asked to commit"
    COMMITTED = "its destination has committed"
    NOT_COMMITTED = "its destination does not commit"
    UNASKED = "its destination is no longer asked to commit"
    REFUSED = "its destination does not take the SOP Class"
    GAVE_UP = "given up"
    SUPERSEDED = "a newer revision took its place"
    RETRY = "taken up again by an admin"
    DROPPED = "dropped by an admin"


class UnknownDelivery(CtiqaError):
    """An event that cannot happen to a delivery in this state."""


_S, _E = DeliveryState, DeliveryEvent

TRANSITIONS: dict[tuple[DeliveryState, DeliveryEvent], DeliveryState] = {
    (_S.PENDING, _E.SENT): _S.SENT,
    (_S.PENDING, _E.STORED): _S.UNCOMMITTED,
    (_S.PENDING, _E.REFUSED): _S.REFUSED,
    (_S.PENDING, _E.GAVE_UP): _S.FAILED,
    (_S.PENDING, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.PENDING, _E.RETRY): _S.PENDING,
    (_S.PENDING, _E.DROPPED): _S.DROPPED,
    (_S.UNCOMMITTED, _E.COMMITTED): _S.SENT,
    (_S.UNCOMMITTED, _E.NOT_COMMITTED): _S.PENDING,
    (_S.UNCOMMITTED, _E.UNASKED): _S.SENT,
    (_S.UNCOMMITTED, _E.GAVE_UP): _S.FAILED,
    (_S.UNCOMMITTED, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.UNCOMMITTED, _E.RETRY): _S.UNCOMMITTED,
    (_S.UNCOMMITTED, _E.DROPPED): _S.DROPPED,
    (_S.FAILED, _E.COMMITTED): _S.SENT,  # an answer that came after we had stopped waiting for it
    (_S.FAILED, _E.RETRY): _S.PENDING,
    (_S.FAILED, _E.DROPPED): _S.DROPPED,
    (_S.REFUSED, _E.RETRY): _S.PENDING,
    (_S.REFUSED, _E.DROPPED): _S.DROPPED,
    (_S.DROPPED, _E.RETRY): _S.PENDING,
}


def can_happen(delivery: Delivery, event: DeliveryEvent) -> bool:
    """Whether the table has the pair of the delivery's state and the event."""
    return (delivery.state, event) in TRANSITIONS


def move(delivery: Delivery, event: DeliveryEvent) -> DeliveryState:
    """Move a delivery on, within the caller's transaction; returns its new state.

    Raises:
        UnknownDelivery: the table has no such pair.
    """
    if not can_happen(delivery, event):
        raise UnknownDelivery(f"A delivery that is {delivery.state} cannot have the event {event!r}.")
    delivery.state = TRANSITIONS[delivery.state, event]
    return delivery.state
