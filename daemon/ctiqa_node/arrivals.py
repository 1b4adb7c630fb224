"""Rows of instances that arrive: those that wait at the same time share a transaction, and so one sync of the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState, SeriesState
from ctiqa_node.db.tables import Association, Instance, Series
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.received_header import Header


class Outcome(StrEnum):
    """What became of an instance that was received."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance whose file is on disk: what it is, the SHA-256 of its dataset, and its path in the spool."""

    received: ReceivedInstance
    header: Header
    sha256: str
    path: str


Enter = Callable[[Session, Arrival], Outcome]
"""Writes down an arrival of any kind, within the caller's transaction."""


class _Waiting:
    """An arrival until it is written down, or could not be."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.outcome: Outcome | None = None
        self.error: Exception | None = None


class Arrivals:
    """Writes arrivals down, for many threads at once.

    What comes while a transaction is under way waits for its turn, and whoever has the turn writes down all that wait.
    """

    def __init__(self, database: Database, enter: Enter) -> None:
        self._database = database
        self._enter = enter
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def record(self, arrival: Arrival) -> Outcome:
        """Write one down; it is on disk when this returns. Raises what writing it raised."""
        mine = _Waiting(arrival)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if mine.outcome is None and mine.error is None:
                with self._lock:
                    group, self._waiting = self._waiting, []
                self._write(group)
        if mine.error is not None:
            raise mine.error
        assert mine.outcome is not None
        return mine.outcome

    def _write(self, group: list[_Waiting]) -> None:
        try:
            with self._database.write() as session:
                outcomes = [self._outcome(session, each.arrival) for each in group]
        except OperationalError as error:  # nobody can write now: asking for each of them would take as long again
            for each in group:
                each.error = error
        except Exception as error:  # noqa: BLE001  # one of them: it fails alone, and its caller gets the error
            if len(group) == 1:
                group[0].error = error
                return
            for each in group:
                self._write([each])
        else:
            for each, outcome in zip(group, outcomes, strict=True):
                each.outcome = outcome

    def _outcome(self, session: Session, arrival: Arrival) -> Outcome:
        if _enter_usual(session.connection(), arrival):
            return Outcome.KEPT
        outcome = self._enter(session, arrival)
        session.flush()
        session.expire_all()  # the usual way changes rows behind the session's back
        return outcome


_KNOWN = select(Instance.id).where(Instance.sop_instance_uid == bindparam("uid")).limit(1)
_TOUCH = (
    update(Series)
    .where(Series.series_instance_uid == bindparam("uid"), Series.state == SeriesState.RECEIVING)
    .values(last_instance_at=bindparam("at"))
    .returning(Series.id)
)
_ADD = insert(Instance)
_COUNT = update(Association).where(Association.id == bindparam("association")).values(stored=Association.stored + 1)


def _enter_usual(connection: Connection, arrival: Arrival) -> bool:
    """Write down another instance of a series that is being received, if it is that: the usual case, in few words.

    What the session's objects would do takes four times as long, and a scanner sends a thousand of these.
    """
    received = arrival.received
    if connection.execute(_KNOWN, {"uid": received.sop_instance_uid}).first() is not None:
        return False
    series = connection.execute(_TOUCH, {"uid": arrival.header.series_instance_uid, "at": now()}).first()
    if series is None:
        return False
    connection.execute(_ADD, {"series_id": series.id, **row_values(arrival, InstanceState.KEPT)})
    if received.association_id is not None:
        connection.execute(_COUNT, {"association": received.association_id})
    return True


def row_values(arrival: Arrival, state: InstanceState) -> dict[str, object]:
    """The columns of an instance's row, but for its series."""
    received, summary = arrival.received, arrival.header.summary
    return {
        "association_id": received.association_id,
        "sop_instance_uid": received.sop_instance_uid,
        "sop_class_uid": received.sop_class_uid,
        "transfer_syntax_uid": received.transfer_syntax_uid,
        "sha256": arrival.sha256,
        "bytes": len(received.part10),
        "path": arrival.path,
        "state": state,
        "received_at": now(),
        "copies": 1,
        "modality": summary.modality,
        "image_type": list(summary.image_type),
        "orientation": list(summary.orientation) if summary.orientation is not None else None,
        "frames": summary.frames,
        "own_result": summary.is_own_result,
    }
