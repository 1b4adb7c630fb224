"""The life of a Series: one table (state, event) → state. A pair that is not in the table is a programming error."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.states import SeriesState
from ctiqa_node.db.tables import Series, SeriesChange
from ctiqa_node.errors import CtiqaError


class SeriesEvent(StrEnum):
    """What happens to a series."""

    INSTANCE = "instance received"
    QUIET = "quiet, to be assessed"
    NOT_ELIGIBLE = "quiet, not to be assessed"
    STARTED = "assessment started"
    INTERRUPTED = "assessment interrupted"
    ASSESSED = "assessed"
    GAVE_UP = "assessment given up"
    ALL_SENT = "all results sent"
    SENDING_ENDED = "sending given up"
    RETRY = "taken up again by an admin"
    DROPPED = "dropped by an admin"


class UnknownTransition(CtiqaError):
    """An event that cannot happen in this state."""


_S, _E = SeriesState, SeriesEvent

TRANSITIONS: dict[tuple[SeriesState, SeriesEvent], SeriesState] = {
    (_S.RECEIVING, _E.INSTANCE): _S.RECEIVING,
    (_S.RECEIVING, _E.QUIET): _S.COMPLETE,
    (_S.RECEIVING, _E.NOT_ELIGIBLE): _S.SKIPPED,
    # A slice after the quiet period: whatever was decided or computed holds no longer, and a new quiet period begins.
    (_S.COMPLETE, _E.INSTANCE): _S.STALE,
    (_S.ANALYSING, _E.INSTANCE): _S.STALE,
    (_S.ANALYSED, _E.INSTANCE): _S.STALE,
    (_S.DELIVERED, _E.INSTANCE): _S.STALE,
    (_S.UNDELIVERED, _E.INSTANCE): _S.STALE,
    (_S.SKIPPED, _E.INSTANCE): _S.STALE,
    (_S.FAILED, _E.INSTANCE): _S.STALE,
    (_S.STALE, _E.INSTANCE): _S.STALE,
    (_S.STALE, _E.QUIET): _S.COMPLETE,
    (_S.STALE, _E.NOT_ELIGIBLE): _S.SKIPPED,
    (_S.COMPLETE, _E.STARTED): _S.ANALYSING,
    (_S.COMPLETE, _E.DROPPED): _S.SKIPPED,
    (_S.ANALYSING, _E.INTERRUPTED): _S.COMPLETE,
    (_S.ANALYSING, _E.ASSESSED): _S.ANALYSED,
    (_S.ANALYSING, _E.GAVE_UP): _S.FAILED,
    (_S.ANALYSED, _E.ALL_SENT): _S.DELIVERED,
    (_S.ANALYSED, _E.SENDING_ENDED): _S.UNDELIVERED,
    (_S.UNDELIVERED, _E.RETRY): _S.ANALYSED,
    # An object that its destination had refused.
    (_S.DELIVERED, _E.RETRY): _S.ANALYSED,
    (_S.UNDELIVERED, _E.ALL_SENT): _S.DELIVERED,
    (_S.FAILED, _E.RETRY): _S.COMPLETE,
    (_S.FAILED, _E.DROPPED): _S.SKIPPED,
}

WAITING_FOR_QUIET = frozenset({SeriesState.RECEIVING, SeriesState.STALE})


def next_state(state: SeriesState, event: SeriesEvent) -> SeriesState:
    """The state after an event.

    Raises:
        UnknownTransition: the table has no such pair.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise UnknownTransition(f"A series that is {state} cannot have the event {event!r}.") from None


def apply_event(session: Session, series: Series, event: SeriesEvent, detail: str | None = None) -> SeriesState:
    """Move a series on within the caller's transaction, and write the change down with its time.

    Another instance of a series that is being received is the one event that changes nothing and is not written down.
    """
    before, after = series.state, next_state(series.state, event)
    if before is after and event is SeriesEvent.INSTANCE:
        return after
    moment = now()
    series.state, series.state_since = after, moment
    series.reason = detail
    session.add(SeriesChange(series=series, at=moment, event=event, from_state=before, to_state=after, detail=detail))
    return after
