"""A node whose worker has a series in work when a benchmark wants it, and nothing to do otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, select

from bench.receivers import OurNode
from bench.sending import storescu
from bench.slices import SlicesOnDisk
from ctiqa_node.db.states import JobState, SeriesState
from ctiqa_node.db.tables import Job, Series

WAIT_SECONDS = 600.0
LOOK_SECONDS = 0.05
UNDER_WAY = 0.1
"""Progress of a job whose slices have been loaded."""


class BusyWorker:
    """Gives the worker of a node, whose quiet period is short, a series to assess."""

    def __init__(self, node: OurNode, slices: SlicesOnDisk) -> None:
        self._node = node
        self._slices = slices

    def get_to_work(self) -> None:
        """Return when the models are at a series that was sent just now."""
        self.rest()
        series = self._slices.renew()
        assert storescu(self._slices.paths, self._node.peer, 1) == 0, "a sender failed"
        self._until(lambda: (self._progress(series) or 0.0) >= UNDER_WAY, "the worker did not get to work")

    def rest(self) -> None:
        """Return when the worker has nothing to do, and nothing to come."""
        self._until(lambda: not self._open(), "the worker did not come to an end")

    def must_stay_at_work(self, action: Callable[[], None]) -> None:
        """Do something while the worker is at work, all the time.

        Raises:
            RuntimeError: the worker came to its end before.
        """
        action()
        with self._node.database.read() as session:
            if session.scalar(select(func.count(Job.id)).where(Job.state == JobState.DOING)) == 0:
                raise RuntimeError("the worker was done before the sending was: take more slices for it (--assessed)")

    def _progress(self, series: str) -> float | None:
        with self._node.database.read() as session:
            doing = select(Job.progress).join(Series).where(Series.series_instance_uid == series)
            return session.scalar(doing.where(Job.state == JobState.DOING))

    def _open(self) -> int:
        with self._node.database.read() as session:
            waiting = Series.state.in_((SeriesState.RECEIVING, SeriesState.COMPLETE, SeriesState.ANALYSING))
            return session.scalars(select(func.count(Series.id)).where(waiting)).one()

    def _until(self, happened: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(otherwise)
            time.sleep(LOOK_SECONDS)
