"""When a series has come to its end: all its results are where they were to go, or sending them was given up."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.db.states import OPEN_DELIVERIES, DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import Delivery, Output, Series
from ctiqa_node.series import SeriesEvent, apply_event


def settle(session: Session, series: Series) -> None:
    """When all deliveries of the series' present revision have ended, the series has, too."""
    session.flush()
    if series.state not in {SeriesState.ANALYSED, SeriesState.UNDELIVERED}:
        return
    present = (Output.series_id == series.id, Output.revision == series.revision)
    rows = session.execute(select(Delivery.destination, Output.kind, Delivery.state).join(Output).where(*present))
    deliveries = [(destination, kind, state) for destination, kind, state in rows]
    if not deliveries or any(state in OPEN_DELIVERIES for _, _, state in deliveries):
        return
    shortfall = _shortfall(deliveries)
    if shortfall is None:
        apply_event(session, series, SeriesEvent.ALL_SENT)
    elif series.state is SeriesState.ANALYSED:
        apply_event(session, series, SeriesEvent.SENDING_ENDED, shortfall)


def _shortfall(deliveries: Sequence[tuple[str, OutputKind, DeliveryState]]) -> str | None:
    """What is missing somewhere, in a sentence. What a destination does not take is not missing, save the report."""
    if {state for _, _, state in deliveries} & {DeliveryState.FAILED, DeliveryState.DROPPED}:
        return "not every result reached its destination"
    for destination, kind, state in deliveries:
        if state is DeliveryState.REFUSED and kind is OutputKind.STRUCTURED_REPORT:
            return f"{destination} does not take the structured report"
    for destination in sorted({each[0] for each in deliveries}):
        if all(state is DeliveryState.REFUSED for name, _, state in deliveries if name == destination):
            return f"{destination} takes none of the results"
    return None
