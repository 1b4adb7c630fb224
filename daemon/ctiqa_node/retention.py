"""Removing result objects once they are where they were to go, and the configured days have passed.

A row says that its file goes before the file goes, and that it has gone afterwards: a crash in between leaves a row
whose file the next sweep removes, and never a file that nobody knows of, or a row that points to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from ctiqa_node.db.clock import overcounted
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OPEN_DELIVERIES, DeliveryState, OutputKind, OutputState, SeriesState
from ctiqa_node.db.tables import Delivery, DeliveryTry, Output, Series
from ctiqa_node.logs import get_logger
from ctiqa_node.spool import remove_durably

log = get_logger(__name__)

BATCH = 50
_BEING_MADE = (SeriesState.COMPLETE, SeriesState.ANALYSING)


class Retention:
    """Keeps the outputs for `keep_days` (None: for ever) after the last of their series' revision has come to its end.

    The objects of a revision are kept together, as one may take the place of another. None is removed while a delivery
    of the revision waits, has failed, or is of a structured report that was refused: an admin sends or drops those. Of
    a revision that a newer one has replaced nothing is sent any more, so only what waits holds it.
    """

    def __init__(self, database: Database, outputs: Path, keep_days: float | None) -> None:
        self._database = database
        self._outputs = outputs
        self._keep_days = keep_days

    def sweep(self) -> int:
        """Remove what is due, some of it in each call; returns how many objects."""
        if self._keep_days is not None:
            age = timedelta(days=self._keep_days)
            with self._database.read() as session:
                age += overcounted(session, age)
            self._mark_due(now() - age)
        return self._remove_marked()

    def _mark_due(self, before: datetime) -> None:
        with self._database.read() as session:
            due = session.execute(_due(before).limit(BATCH)).all()
        for series_id, revision in [(row.series_id, row.revision) for row in due]:
            with self._database.write() as session:
                # Asked again: an admin may have taken a delivery up in the meantime.
                if session.execute(_due(before).where(*_of(series_id, revision))).first() is None:
                    continue
                for output in session.scalars(
                    select(Output).where(*_of(series_id, revision), Output.state == OutputState.KEPT)
                ):
                    output.state, output.removed_at = OutputState.REMOVING, now()

    def _remove_marked(self) -> int:
        with self._database.read() as session:
            marked = session.scalars(select(Output).where(Output.state == OutputState.REMOVING).limit(BATCH)).all()
        removed = [output for output in marked if self._remove_file(output)]
        if removed:
            self._record(removed)
            log.info("results removed", objects=len(removed))
        return len(removed)

    def _remove_file(self, output: Output) -> bool:
        path = self._outputs / output.path
        try:
            remove_durably(path)
        except OSError as error:
            log.error("result not removed", path=str(path), error=error.strerror)
            return False
        return True

    def _record(self, removed: Sequence[Output]) -> None:
        with self._database.write() as session:
            for output in removed:
                row = session.get(Output, output.id)
                if row is not None:  # purged meanwhile
                    row.state = OutputState.REMOVED


def _due(before: datetime) -> Select[int, int]:
    """Series and revisions with objects to be removed: nothing happened to them since, and nothing is to."""
    holds = or_(
        Delivery.state.in_(OPEN_DELIVERIES),
        and_(Output.revision == Series.revision, Delivery.state == DeliveryState.FAILED),
        and_(
            Output.revision == Series.revision,
            Delivery.state == DeliveryState.REFUSED,
            Output.kind == OutputKind.STRUCTURED_REPORT,
        ),
    )
    return (
        select(Output.series_id, Output.revision)
        .join(Series)
        .outerjoin(Delivery, Delivery.output_id == Output.id)
        .outerjoin(DeliveryTry)
        .where(
            Output.state == OutputState.KEPT,
            or_(Output.revision < Series.revision, Series.state.not_in(_BEING_MADE)),
        )
        .group_by(Output.series_id, Output.revision)
        .having(
            func.max(Output.made_at) <= before,
            or_(func.max(DeliveryTry.at).is_(None), func.max(DeliveryTry.at) <= before),
            func.sum(case((holds, 1), else_=0)) == 0,
        )
    )


def _of(series_id: int, revision: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Output.series_id == series_id, Output.revision == revision
