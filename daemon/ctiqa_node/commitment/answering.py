"""What senders ask us to commit to: written down when they ask, and judged by the books and the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ctiqa_node import audit
from ctiqa_node.config import DeliverySection
from ctiqa_node.db.books import AuditEvent
from ctiqa_node.db.clock import overcounted
from ctiqa_node.db.columns import now
from ctiqa_node.db.commitments import CommitmentReference, CommitmentRequest, RequestState
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Instance
from ctiqa_node.delivery import back_off
from ctiqa_node.dimse.access import Caller
from ctiqa_node.dimse.commitment import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    Reference,
    Report,
    Request,
)
from ctiqa_node.errors import RetryLater
from ctiqa_node.ledger.digests import read_dataset
from ctiqa_node.logs import get_logger
from ctiqa_node.spool import Spool

log = get_logger(__name__)

AT_ONCE = 500
"""So many references are looked up in one query; SQLite bounds the variables of one."""


class Requests:
    """The open requests of senders. Thread-safe; `check` is called before each file, and may raise to end it."""

    def __init__(
        self, database: Database, spool: Spool, settings: DeliverySection, check: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._spool = spool
        self._settings = settings
        self._check = check

    def note(self, caller: Caller, request: Request, wait_seconds: float) -> int:
        """Write down a request before it is answered, to be reported on after a wait; its ID.

        The same transaction again takes the first one's place.

        Raises:
            RetryLater: it cannot be written now.
        """
        try:
            with self._database.write() as session:
                row = _find(session, caller, request) or CommitmentRequest(
                    transaction_uid=request.transaction_uid, calling_ae_title=caller.calling, received_at=now()
                )
                row.called_ae_title, row.address = caller.called, caller.address
                row.state, row.attempts = RequestState.OPEN, 0
                row.next_try_at = now() + timedelta(seconds=wait_seconds)
                row.references = [
                    CommitmentReference(sop_class_uid=each.sop_class_uid, sop_instance_uid=each.sop_instance_uid)
                    for each in request.references
                ]
                session.add(row)
                session.flush()
                _name_instances(session, row)
                return row.id
        except DatabaseError as error:
            raise RetryLater(f"The database cannot be written: {error.orig}.") from error

    def due(self) -> list[CommitmentRequest]:
        """The open requests whose senders are to be told now, the oldest first."""
        with self._database.read() as session:
            query = select(CommitmentRequest).where(
                CommitmentRequest.state == RequestState.OPEN, CommitmentRequest.next_try_at <= now()
            )
            return list(session.scalars(query.order_by(CommitmentRequest.id)))

    def judge(self, request: CommitmentRequest) -> Report:
        """Whether each instance is kept: its row is there and not expired, and its file is what was received.

        Of a SOP Instance UID that came with different contents each content must be there.
        """
        with self._database.read() as session:
            of_it = select(CommitmentReference).where(CommitmentReference.request_id == request.id)
            rows = session.scalars(of_it.order_by(CommitmentReference.id)).all()
            asked = [Reference(each.sop_class_uid, each.sop_instance_uid) for each in rows]
            known: dict[str, list[Instance]] = {}
            for start in range(0, len(asked), AT_ONCE):
                uids = [each.sop_instance_uid for each in asked[start : start + AT_ONCE]]
                for instance in session.scalars(select(Instance).where(Instance.sop_instance_uid.in_(uids))):
                    known.setdefault(instance.sop_instance_uid, []).append(instance)
        committed, failed = [], {}
        for each in asked:
            reason = self._reason_against(each, known.get(each.sop_instance_uid, []))
            if reason is None:
                committed.append(each)
            else:
                failed[each] = reason
        return Report(request.transaction_uid, tuple(committed), failed)

    def _reason_against(self, asked: Reference, instances: Sequence[Instance]) -> int | None:
        if not instances or any(each.expired_at is not None for each in instances):
            return NO_SUCH_INSTANCE
        if any(each.sop_class_uid != asked.sop_class_uid for each in instances):
            return CLASS_INSTANCE_CONFLICT
        for each in instances:
            self._check()
            found = read_dataset(self._spool.path(each.path))
            if (found.sha256, found.size) != (each.sha256, each.bytes):
                log.error("a file is not what was received; it is not committed", sop_instance=asked.sop_instance_uid)
                return PROCESSING_FAILURE
        return None

    def told(self, request: CommitmentRequest, report: Report) -> None:
        """The sender has the report: the request is closed, and its references go."""
        with self._database.write() as session:
            row = session.get(CommitmentRequest, request.id)
            if row is None:
                return
            row.state, row.reported_at, row.last_trouble = RequestState.REPORTED, now(), None
            row.committed, row.not_committed = len(report.committed), len(report.failed)
            row.references = []
            detail: dict[str, str | int] = {"committed": row.committed, "not_committed": row.not_committed}
            audit.note(session, AuditEvent.COMMITMENT, row.calling_ae_title, detail)
        log.info("commitment answered", calling=request.calling_ae_title, **detail)

    def put_off(self, request: CommitmentRequest, trouble: str, *, for_ever: bool = False) -> None:
        """The sender could not be told; nor are its other requests, for as long: it would cost the others' time."""
        with self._database.write() as session:
            open_ones = select(CommitmentRequest).where(
                CommitmentRequest.state == RequestState.OPEN,
                CommitmentRequest.calling_ae_title == request.calling_ae_title,
            )
            next_try = now() + back_off(request.attempts + 1, self._settings)
            for row in session.scalars(open_ones):
                row.next_try_at = max(row.next_try_at, next_try)
                if row.id == request.id:
                    row.attempts += 1
                    row.last_trouble = trouble
                    if for_ever or self._is_given_up(session, row):
                        row.state, row.references = RequestState.FAILED, []
        log.warning("commitment not answered", calling=request.calling_ae_title, reason=trouble)

    def _is_given_up(self, session: Session, row: CommitmentRequest) -> bool:
        longest, age = timedelta(days=self._settings.give_up_after_days), now() - row.received_at
        return age >= longest and age - overcounted(session, age) >= longest


def _find(session: Session, caller: Caller, request: Request) -> CommitmentRequest | None:
    return session.scalars(
        select(CommitmentRequest).where(
            CommitmentRequest.calling_ae_title == caller.calling,
            CommitmentRequest.transaction_uid == request.transaction_uid,
        )
    ).first()


def _name_instances(session: Session, request: CommitmentRequest) -> None:
    """Point the references to their instances, so that a purge of those finds them."""
    named: dict[str, list[CommitmentReference]] = {}
    for each in request.references:
        named.setdefault(each.sop_instance_uid, []).append(each)
    uids = list(named)
    for start in range(0, len(uids), AT_ONCE):
        columns = select(Instance.sop_instance_uid, Instance.id)
        for uid, instance_id in session.execute(
            columns.where(Instance.sop_instance_uid.in_(uids[start : start + AT_ONCE]))
        ):
            for each in named[uid]:
                each.instance_id = instance_id
