"""The wall clock, when somebody sets it: what waits goes on waiting for as long as it was to, and no longer.

Waits within a process are those of the monotonic clock. What outlasts a restart has moments of the wall clock in the
database: after a step back those lie further ahead than they may, and are pulled in; a step forward is written down, so
that nothing is deleted or given up for an age that it does not have.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ctiqa_node.config import Config
from ctiqa_node.db import columns
from ctiqa_node.db.clock import ClockStep
from ctiqa_node.db.columns import now
from ctiqa_node.db.commitments import CommitmentRequest, RequestState
from ctiqa_node.db.evidence import ArchiveCount
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, JobState
from ctiqa_node.db.tables import Delivery, Job, Series
from ctiqa_node.jobs.embedded import MEMORY_WAIT
from ctiqa_node.logs import get_logger
from ctiqa_node.series import WAITING_FOR_QUIET

log = get_logger(__name__)

STEP_SECONDS = 30.0
"""Between two looks, a second apart; less is drift, or a machine that was busy."""
SLACK = timedelta(seconds=5)


class ClockWatch:
    """Looks at both clocks. `look` is called every second or so."""

    def __init__(self, config: Config, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._database = database
        self._monotonic = monotonic
        self._before = columns.wall(), monotonic()

    def look(self) -> None:
        """Write a step down, and pull in what lies too far ahead."""
        wall, steady = columns.wall(), self._monotonic()
        step = (wall - self._before[0]) - (steady - self._before[1])
        self._before = wall, steady
        if abs(step) >= STEP_SECONDS:
            log.warning("the clock was set", seconds=round(step))
            with self._database.write() as session:
                session.add(ClockStep(at=now(), seconds=step))
        self.pull_in()

    def pull_in(self) -> int:
        """What waits for a moment further ahead than any wait is long is due now; returns how much there was."""
        with self._database.read() as session:
            if not any(session.scalars(_ahead(*rule).limit(1)).first() for rule in self._rules()):
                return 0
        with self._database.write() as session:
            return sum(_pull_in(session, *rule) for rule in self._rules())

    def _rules(self) -> list[tuple[InstrumentedAttribute[Any], timedelta, ColumnElement[bool]]]:
        """A moment, how far ahead it may lie, and in which rows that counts."""
        delivery = self._config.delivery
        retry = timedelta(seconds=max(delivery.max_retry_seconds, delivery.first_retry_seconds))
        answer = max(retry, timedelta(seconds=delivery.commitment_wait_seconds))
        attempts = MEMORY_WAIT * self._config.worker.max_attempts
        return [
            (Series.last_instance_at, timedelta(0), Series.state.in_(WAITING_FOR_QUIET)),
            (ArchiveCount.asked_at, timedelta(0), ArchiveCount.id.is_not(None)),
            (Delivery.next_try_at, retry, Delivery.state == DeliveryState.PENDING),
            (Delivery.next_try_at, answer, Delivery.state == DeliveryState.UNCOMMITTED),
            (Job.not_before, attempts, Job.state == JobState.TODO),
            (CommitmentRequest.next_try_at, retry, CommitmentRequest.state == RequestState.OPEN),
        ]


def _ahead(moment: InstrumentedAttribute[Any], most: timedelta, where: ColumnElement[bool]) -> Select[Any]:
    return select(moment.class_).where(where, moment > now() + most + SLACK)


def _pull_in(session: Session, moment: InstrumentedAttribute[Any], most: timedelta, where: ColumnElement[bool]) -> int:
    rows = session.scalars(_ahead(moment, most, where)).all()
    for row in rows:
        setattr(row, moment.key, now())
    return len(rows)
