"""The steps of the wall clock that the node has seen, and by how much an age in the database may be wrong for them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from ctiqa_node.db.columns import now
from ctiqa_node.db.tables import Base


class ClockStep(Base):
    """The wall clock was set while the node ran: by so many seconds, forward where positive."""

    __tablename__ = "clock_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    seconds: Mapped[float]


def overcounted(session: Session, age: timedelta) -> timedelta:
    """By how much at most what seems to be of this age seems older than it is, since the clock was set forward.

    What must not happen too early waits so much longer. Steps cancel each other only in the order in which they came.
    """
    steps = session.scalars(select(ClockStep).order_by(ClockStep.id.desc())).all()
    reach = now() - age - timedelta(seconds=sum(abs(step.seconds) for step in steps))
    most, after = 0.0, 0.0
    for step in steps:
        if step.at >= reach:
            after += step.seconds
            most = max(most, after)
    return timedelta(seconds=most)
